"""A pass operator by operator, on the clocks of the host and of the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from types import SimpleNamespace

from flowsim.calibration.costs.cost_model import CostModel, Steps
from flowsim.core.operators import LAYER_OPERATORS
from flowsim.core.pass_timeline import Launch, Slice
from flowsim.core.predictor import Predictor
from flowsim.core.request import Request

CHECKED_AFTER = {
    "none": [],
    "chunk": [],
    "layer": ["all_reduce_mlp"],
    "block": ["all_reduce_attn", "all_reduce_mlp"],
    "operator": ["qkv_proj", "attention", "all_reduce_attn", "router", "all_reduce_mlp"],
}


@dataclass(frozen=True)
class Check:
    """A point where the host waits for the device: its time, the tokens of the forwards ended, whether it is an end."""

    at_s: float
    tokens: int
    ends: bool


def forwards(slices: Sequence[Slice], max_batched_tokens: int) -> Iterator[list[Slice]]:
    """The pass token by token, split into forwards of `max_batched_tokens`."""
    tokens = [(which, one.context + i) for which, one in enumerate(slices) for i in range(one.tokens)]
    for start in range(0, len(tokens), max_batched_tokens):
        members = groupby(tokens[start : start + max_batched_tokens], key=lambda token: token[0])
        positions = [[position for _, position in member] for _, member in members]
        yield [Slice(len(position), position[0]) for position in positions]


Part = tuple[Steps, int]
"""The operators of a forward, and its tokens."""


def issued(cost: CostModel, slices: Sequence[Slice], max_batched_tokens: int, graph_tokens: int = 0) -> list[Part]:
    """What a pass runs, forward by forward."""
    parts = forwards(slices, max_batched_tokens)
    return [(_launched(cost, part, graph_tokens), sum(one.tokens for one in part)) for part in parts]


def _launched(cost: CostModel, part: Sequence[Slice], graph_tokens: int) -> Steps:
    """One forward: as a recorded graph if it is of one prompt, from its start, and short enough."""
    return cost.launches(part, recorded=[one.context for one in part] == [0] and part[0].tokens <= graph_tokens)


def walk(cost: CostModel, parts: Sequence[Part], cut: str) -> list[Check]:
    """Every check of a pass, operator by operator; the last is its completion."""
    checks: list[Check] = []
    clock, done = 0.0, 0
    for (lead, layer, head, check_s), tokens in parts:
        host = device = clock
        inner = [
            (*each(launch), name in CHECKED_AFTER[cut]) for name, launch in zip(LAYER_OPERATORS, layer, strict=True)
        ]
        before, after = [[(*each(launch), False) for launch in launches] for launches in (lead, [head])]
        for calls, host_s, device_s, is_checked in before + inner * cost.layers + after:
            for _ in range(calls):
                host += host_s
                device = (device if device > host else host) + device_s  # as max(), but faster
            if is_checked:
                host = device = device + check_s
                checks.append(Check(host, done, ends=False))
        clock = device + check_s
        done += tokens
        checks.append(Check(clock, done, ends=True))
    return checks


def each(launch: Launch) -> tuple[int, float, float]:
    """How many calls it has, and the seconds of each on the host and on the device."""
    return launch.calls, launch.host_s / launch.calls, launch.device_s / launch.calls


def device_work_s(cost: CostModel, parts: Sequence[Part]) -> float:
    """Seconds for which a pass keeps the device busy: the sum over its operators."""
    all_launches = []
    for (lead, layer, head, _), _ in parts:
        all_launches += [*lead, *layer * cost.layers, head]
    return sum(launch.device_s for launch in all_launches)


class Batch:
    """A pass that has been launched, ranked by its head."""

    def __init__(
        self, parts: tuple[tuple[Request, int], ...], checks: list[Check], unchecked_s: float, device_s: float
    ) -> None:
        head = parts[0][0]
        self.id, self.arrival_s, self.class_name = head.id, head.arrival_s, head.class_name
        self.slo_s, self.deadline_s = head.slo_s, head.deadline_s
        self.priority, self.cached, self.input_length = head.priority, head.cached, head.input_length
        self.parts = parts
        self.requests = [request for request, _ in parts]
        self.batch_tokens = self.tokens = sum(tokens for _, tokens in parts)
        self.predicted_s, self.predicted_whole_s = head.predicted_s, head.predicted_whole_s
        self.since_s = 0.0
        self.checks = checks
        self.duration_s = checks[-1].at_s
        self.unchecked_s = unchecked_s
        self.device_s = device_s
        self.recorded = 0  # tokens of the recording as which it runs
        self.timeline = SimpleNamespace(duration_s=self.duration_s)
        self.stopped = -1  # the check at which it was last stopped
        self.elapsed_s = 0.0  # how far it was then
        self.taken_s = 0.0  # how long it had run

    def measure(self, predictor: Predictor, elapsed_s: float) -> None:
        """What policies see of it after `elapsed_s`."""
        ended = [check for check in self.checks if check.ends and check.at_s <= elapsed_s]
        self.tokens = self.batch_tokens - (ended[-1].tokens if ended else 0)
        self.since_s = elapsed_s - (ended[-1].at_s if ended else 0.0)
        self.predicted_s = predictor.left(self, elapsed_s, self.tokens, self.since_s)  # type: ignore[arg-type]
