"""The metrics of ten tiny traces, computed again from the stream of events alone by other code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import flowsim
from flowsim.core import events as happened
from flowsim.core.slo_mix import SLOMix
from flowsim.traces import Trace
from support.costs import pencil

NONE = float("nan")


@dataclass(frozen=True)
class Tiny:
    """A trace of a few requests, their SLOs by class, and how it is run."""

    arrival_s: Sequence[float]
    tokens: Sequence[int]
    classes: str
    slo: Mapping[str, float | None]
    policy: str = "fcfs"
    options: Mapping[str, Any] = field(default_factory=dict)


AB = {"a": 4.0, "b": 1.5}
SMALL = flowsim.ServerOptions(kv_tokens=4, block_tokens=1)
TWO = flowsim.ServerOptions(instances=2)
TINY = {
    "one request": Tiny([0], [3], "a", AB),
    "five, a second apart": Tiny([0, 1, 2, 3, 4], [1] * 5, "aabba", AB),
    "all at one instant": Tiny([0, 0, 0], [1, 2, 3], "aab", AB),
    "late in a queue": Tiny([0, 0.5, 1, 1.5, 6], [3, 2, 1, 2, 1], "abbab", AB, "sjf"),
    "preempted": Tiny([0, 0.75, 2.25, 4], [6, 1, 2, 1], "abab", AB, "flowprefill:cut=layer"),
    "chunks on two instances": Tiny(
        [0, 0.25, 0.5, 2, 2.5], [5, 4, 1, 2, 6], "aabba", AB, "chunked:2", options={"server": TWO}
    ),
    "too large for the cache": Tiny([0, 1, 2], [2, 9, 1], "aba", AB, options={"server": SMALL}),
    "stopped": Tiny([0, 1, 2, 3, 4, 5], [2, 3, 3, 1, 1, 1], "abaabb", AB, options={"until_s": 5.25}),
    "stopped, preemptive, warmed up": Tiny(
        [0, 0.5, 1, 2, 2.5, 3], [5, 1, 4, 1, 2, 2], "abaabb", AB, "flowprefill:cut=layer",
        {"until_s": 9.5, "warmup": 0.34},
    ),
    "a class without an SLO": Tiny(
        [0, 1, 2, 2.5, 6], [2, 2, 1, 1, 1], "acacb", {**AB, "c": None}, options={"warmup": 0.25}
    ),
}  # fmt: skip


class EventTotals:
    """What the events of all instances tell of each request and of the devices, in arrays and sums."""

    def __init__(self, n: int, streams: Sequence[Sequence[happened.Event]]) -> None:
        self.arrived, self.launched, self.first_token = np.full(n, NONE), np.full(n, NONE), np.full(n, NONE)
        self.rejected, self.in_passes = np.zeros(n, bool), np.zeros(n)
        self.busy = self.checks = self.deciding = 0.0
        self.decisions = self.preemptions = 0
        self.blocking: list[float] = []
        self.instances = len(streams)
        for event in (event for stream in streams for event in stream):
            self._take(event)

    def _take(self, event: happened.Event) -> None:
        match event:
            case happened.Arrived(time_s, request):
                self.arrived[request] = time_s
            case happened.Rejected(_, request):
                self.rejected[request] = True
            case happened.Thought(_, control_s):
                self.deciding, self.decisions = self.deciding + control_s, self.decisions + 1
            case happened.Launched(time_s, _, members, _):
                for member in members:
                    self.launched[member] = np.fmin(self.launched[member], time_s)
            case happened.Preempted(_, _, _, blocking_s):
                self.preemptions += 1
                self.blocking.append(blocking_s)
            case happened.Unfinished(_, _, taken_s):
                self.busy += taken_s
            case happened.Completed():
                self.busy += event.taken_s
                self.checks += event.check_s
                self.blocking += [] if event.blocking_s is None else [event.blocking_s]
                self.in_passes[list(event.members)] += event.taken_s
                self.first_token[list(event.finished)] = event.ended_s


def times(values: Any, percents: Sequence[int]) -> dict[str, float | None]:
    """Mean, percentiles and maximum by hand: sorted, and between neighbours in proportion."""
    ordered = sorted(values)
    names = ["mean", *(f"p{percent}" for percent in percents), "max"]
    if not ordered:
        return dict.fromkeys(names)
    found = [sum(ordered) / len(ordered)]
    for percent in percents:
        place = percent / 100 * (len(ordered) - 1)
        below, rest = int(place), place - int(place)
        found.append(ordered[below] if rest == 0 else ordered[below] * (1 - rest) + ordered[below + 1] * rest)
    found.append(ordered[-1])
    return {name: float(value) if np.isfinite(value) else None for name, value in zip(names, found, strict=True)}


def summary_of(tiny: Tiny, totals: EventTotals, n: int, stop_s: float | None) -> dict[str, Any]:
    """All metrics of a summary of the first n requests of a trace, from what the events told."""
    arrival = np.array(tiny.arrival_s[:n], float)
    np.testing.assert_array_equal(totals.arrived, arrival)
    slo = np.array([tiny.slo[name] or NONE for name in tiny.classes[:n]], float)
    ttft = totals.first_token - arrival
    late_s = np.inf if stop_s is None else stop_s - arrival  # what has no first token has waited as long
    bound = np.where(np.isnan(ttft), np.where(totals.rejected, np.inf, late_s), ttft)
    fine = ~np.isnan(ttft)
    asked = ~np.isnan(slo) & (np.arange(n) >= int(tiny.options.get("warmup", 0) * n))
    decided = fine | totals.rejected | (bound > slo)
    counted, met = asked & decided, ttft <= slo
    ended = totals.first_token[fine].max() if fine.any() else arrival[0]
    end = stop_s if stop_s is not None and (~fine & ~totals.rejected).any() else ended
    whole = (end - arrival[0]) * totals.instances
    rate = (n - 1) / (arrival[-1] - arrival[0]) if arrival[-1] > arrival[0] else None
    begin = arrival[np.arange(n) >= int(tiny.options.get("warmup", 0) * n)][0]
    queueing = np.where(np.isnan(totals.launched), end, totals.launched) - arrival
    good = counted & fine
    paused = ttft - queueing - totals.in_passes

    def ttfts(members: Any) -> dict[str, Any]:
        values = np.where(fine, ttft, np.inf)[members]
        known, limit = bound[members], bound[members][np.isfinite(bound[members])]
        beyond = times(np.minimum(known, limit.max()), (50, 90, 99)) if limit.size else {}
        found = times(values, (50, 90, 99))
        exceeds = {part: beyond.get(part) if time_s is None else None for part, time_s in found.items()}
        return {"ttft_s": found, "ttft_exceeds_s": exceeds}

    def attainment(members: Any) -> float | None:
        return (met & counted & members).sum() / (counted & members).sum() if (counted & members).any() else None

    def goodput(members: Any) -> float | None:
        if rate is None or not (counted & members).any():
            return None
        return (met & counted & members).sum() / counted.sum() * rate * (~np.isnan(slo)).sum() / n

    everyone = np.ones(n, bool)
    classes = {}
    for name in sorted(set(tiny.classes[:n]), key=tiny.classes.index):
        members_of_class = np.array([other == name for other in tiny.classes[:n]])
        classes[name] = {
            "requests": members_of_class.sum(),
            "undecided": (members_of_class & asked & ~decided).sum(),
            "counted": (members_of_class & counted).sum(),
            "ttft_slo_s": tiny.slo[name],
            "ttft_slo_max_s": tiny.slo[name],
            "attainment": attainment(members_of_class),
            "goodput_rps": goodput(members_of_class),
            "offered_rps": None if rate is None else rate * members_of_class.sum() / n,
            **ttfts(members_of_class & counted),
        }
    return {
        "attainment": attainment(everyone),
        "goodput_rps": goodput(everyone),
        "attained_observed_rps": (met & counted).sum() / (end - begin),
        "attained_with_drain_rps": (met & counted).sum() / (ended - begin),
        "offered_rps": rate,
        "requests": n,
        "in_warmup": int(tiny.options.get("warmup", 0) * n),
        "without_slo": (np.isnan(slo) & (arrival >= begin)).sum(),
        "undecided": (asked & ~decided).sum(),
        "counted": counted.sum(),
        "finished": fine.sum(),
        "unfinished": (~fine & ~totals.rejected).sum(),
        "rejected": totals.rejected.sum(),
        **ttfts(counted),
        "blocking_s": times(totals.blocking, (50, 99)),
        "preemptions": totals.preemptions,
        "utilization": totals.busy / whole,
        "check_share": totals.checks / whole,
        "control_share": totals.deciding / whole,
        "decisions": totals.decisions,
        "queueing_s": times(queueing[counted & ~totals.rejected], (50, 90, 99)),
        "service_s": times(totals.in_passes[good], (50, 90, 99)),
        "paused_s": times(paused[good], (50, 90, 99)),
        "queueing_share": queueing[good].sum() / ttft[good].sum(),
        "service_share": totals.in_passes[good].sum() / ttft[good].sum(),
        "paused_share": paused[good].sum() / ttft[good].sum(),
        "longest_wait_s": queueing[counted & ~totals.rejected].max(),
        "span_s": end - arrival[0],
        "classes": classes,
        "clients": {},
    }


def approx(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: approx(inner) for key, inner in value.items()}
    return None if value is None else pytest.approx(float(value), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", TINY)
def test_a_summary_is_what_the_events_add_up_to(name: str) -> None:
    tiny = TINY[name]
    trace = Trace.of(tiny.arrival_s, tiny.tokens, classes=list(tiny.classes))
    slo = SLOMix.parse(
        ",".join(f"{value}={slo_s}" for value, slo_s in tiny.slo.items() if slo_s is not None and value in tiny.classes)
    )
    result = flowsim.run(trace, tiny.policy, cost=pencil(), slo=slo, predictor="exact", events=True, **tiny.options)
    n = len(result.trace)
    assert result.outcome.events is not None
    totals = EventTotals(n, result.outcome.events)
    apart = ("policy", "inputs")
    apart += ("deciding_share", "hand_over_share", "idle_share")  # see engine/test_time_accounts.py
    summary = {key: value for key, value in result.summary.items() if key not in apart}
    assert summary == approx(summary_of(tiny, totals, n, tiny.options.get("until_s")))
