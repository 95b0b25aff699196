"""Why requests missed their SLOs: one reason for each, from the parts of its time to first token."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flowsim.errors import InputError
from flowsim.io.counts import number_of
from flowsim.rendering.explain_figure import misses_by_class
from flowsim.rendering.html import explanation_html
from flowsim.results.device_pieces import HOST
from flowsim.results.fairness import Fairness, fairness_of
from flowsim.results.metrics import REJECTED
from flowsim.results.quantiles import Floats
from flowsim.results.result import RunResult
from flowsim.results.story import Span, Story
from flowsim.results.waits import PARTS, DeviceHistory, Times, hindsight

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

REASONS = ("hopeless", "rejected", *PARTS)
SERVABLE = ("yes", "instead", "no")
"""Whether a perfect scheduler could have served a request: see `Explanation.servable`."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why the counted requests of a run that missed their SLO did. Made by `flowsim.explain`.

    A request is "hopeless" as the clairvoyant bound has it: no scheduler could serve it in time. Else it is late
    "alone" if its time alone, with the stack's before and after, exceeds its SLO. Else it was perhaps "rejected", which
    is "mispredicted" if the policy serves it in time when it knows what everything takes from the start. Else the
    reason is the largest part of its TTFT other than "alone".

    Attributes:
        result: the run.
        devices: what each instance did.
        missed: the ids of these requests, shape [m].
        parts_s: seconds of each of PARTS, shape [m, len(PARTS)]; a row adds up to the TTFT or, without a first token,
            to the wait until the rejection or the end of the replay.
        reasons: one of REASONS for each.
    """

    result: RunResult
    devices: Sequence[DeviceHistory]
    missed: NDArray[np.int64]
    parts_s: Floats
    reasons: Sequence[str]

    @property
    def counts(self) -> Mapping[str, int]:
        """How many missed for each reason, in the order of REASONS."""
        return _counts(self.reasons, REASONS)

    @property
    def by_class(self) -> Mapping[str, Mapping[str, int]]:
        """The same for each class."""
        return self._by_class(self.reasons, REASONS)

    @cached_property
    def servable(self) -> Sequence[str] | None:
        """Whether a perfect scheduler could have served each in time; None where the run states no bound.

        "yes": a schedule that serves it was found (`Clairvoyant.served`), and serves no fewer than this run. "no": it
        is hopeless, or late alone. Else "instead": as far as is known, only in place of another.
        """
        if not callable(self.result.bounding):
            return None
        served = hindsight(self.result).workload.served
        no_fewer = served.sum() >= (self.result.attained & self.result.counted).sum()
        late = ["no" if reason in ("hopeless", "alone") else "instead" for reason in self.reasons]
        yes = (served[self.missed] & no_fewer).tolist()
        return ["yes" if could else otherwise for could, otherwise in zip(yes, late, strict=True)]

    @property
    def servable_by_class(self) -> Mapping[str, Mapping[str, int]] | None:
        """How many of each class, in the order of SERVABLE."""
        return None if self.servable is None else self._by_class(self.servable, SERVABLE)

    def plot(self) -> Figure:
        """A figure: the share of each class that missed, divided by reason."""
        counted = {name: values["counted"] for name, values in self.result.summary["classes"].items()}
        servable = None if self.servable is None else _counts(self.servable, SERVABLE)
        return misses_by_class(self.by_class, counted, self.result.policy, servable)

    @property
    def misses(self) -> pd.DataFrame:
        """One row per miss: id, class, reason, servable (if known), TTFT SLO and the seconds of each part."""
        import pandas as pd  # slow to import, and only tables need it

        slo = self.result.slo
        names = np.array(slo.class_names, object)[slo.class_code[self.missed]]
        head = {"id": self.missed, "class": names, "reason": list(self.reasons)}
        head |= {} if self.servable is None else {"servable": list(self.servable)}
        parts = {f"{part}_s": self.parts_s[:, place] for place, part in enumerate(PARTS)}
        return pd.DataFrame(head | {"ttft_slo_s": slo.ttft_slo_s[self.missed]} | parts)

    def to_dict(self) -> dict[str, Any]:
        """All of this as plain values, for JSON."""
        summary, fairness = self.result.summary, self.fairness._asdict()
        about = {"policy": self.result.policy, "counted": summary["counted"], "attainment": summary["attainment"]}
        counts = {"reasons": self.by_class, "servable": self.servable_by_class}
        return about | counts | {"fairness": fairness, "misses": self.misses.to_dict("records")}

    @cached_property
    def fairness(self) -> Fairness:
        """How evenly waiting is spread."""
        return fairness_of(self.result)

    def story(self, request: int) -> Story:
        """What a request waited for and when it ran.

        Raises:
            InputError: there is no such request.
        """
        result, n = self.result, len(self.result.trace)
        if not 0 <= request < n:
            raise InputError("request", found=request, expected=f"an id from 0 to {n - 1}")
        missed = self.missed.tolist()
        place = missed.index(request) if request in missed else None
        device, slo, trace = self.devices[result.outcome.ledger.instance[request]], result.slo, result.trace
        parts_s = dict(zip(PARTS, device.parts_s(request).tolist(), strict=True))
        sent_s, finished_s = float(trace.arrival_s[request]), float(result.metrics.finished_s[request])
        before = Span(sent_s, sent_s + parts_s["frontend"], "frontend", parts_s["frontend"], ())
        after = Span(finished_s - parts_s["return"], finished_s, "return", parts_s["return"], ())
        return Story(
            request,
            slo.class_names[slo.class_code[request]],
            int(trace.input_length[request]),
            sent_s,
            float(slo.ttft_slo_s[request]),
            float(hindsight(result).alone_s[request]),
            finished_s,
            bool(result.metrics.state[request] == REJECTED),
            None if place is None else self.reasons[place],
            None if place is None or self.servable is None else self.servable[place],
            parts_s,
            [span for span in (before, *_spans(device, request), after) if span.lasted_s > 0],
        )

    def __repr__(self) -> str:
        """One line."""
        counted = number_of(self.result.summary["counted"], "request")
        return f"Explanation({self.result.policy}: {len(self.missed):,} of {counted} missed)"

    def _repr_html_(self) -> str:
        return explanation_html(self.result.policy, self.result.summary, self.by_class, self.servable_by_class)

    def _by_class(self, found: Sequence[str], known: Sequence[str]) -> Mapping[str, Mapping[str, int]]:
        slo = self.result.slo
        codes = slo.class_code[self.missed].tolist()
        groups: dict[str, list[str]] = {name: [] for name in slo.class_names}
        for code, one in zip(codes, found, strict=True):
            groups[slo.class_names[code]].append(one)
        return {name: _counts(ones, known) for name, ones in groups.items()}


def explain(result: RunResult) -> Explanation:
    """Why each counted request that missed its TTFT SLO did.

    Args:
        result: a run with `events=True`.

    Raises:
        InputError: it is not a run, or was made without `events=True`.
    """
    if not isinstance(result, RunResult):
        raise InputError("result", found=result, expected="a run, as flowsim.run gives it")
    times = Times.of(result)
    devices = [DeviceHistory(result, instance, times) for instance in range(len(result.events))]
    missed = np.flatnonzero(result.counted & ~result.attained)
    instances = result.outcome.ledger.instance
    rows = [devices[instances[id]].parts_s(id) for id in missed.tolist()]
    parts_s = np.array(rows, float).reshape(-1, len(PARTS))
    return Explanation(result, devices, missed, parts_s, _reasons(result, times, missed, parts_s))


def _reasons(result: RunResult, times: Times, missed: NDArray[np.int64], parts_s: Floats) -> list[str]:
    known, return_s = hindsight(result), result.outcome.return_s
    largest = parts_s[:, 1:].argmax(axis=1) if len(missed) else missed
    named = np.array(PARTS[1:], object)[largest]
    rejected = result.metrics.state[missed] == REJECTED
    if rejected.any():
        named[rejected] = np.where(known.exactly_in_time[missed[rejected]], "mispredicted", "rejected")
    alone_s = times.came_s - times.sent_s + known.alone_s + return_s
    named[alone_s[missed] > result.slo.ttft_slo_s[missed]] = "alone"
    named[known.workload.hopeless[missed]] = "hopeless"
    return [str(name) for name in named]


def _counts(found: Sequence[str], known: Sequence[str]) -> dict[str, int]:
    counted = Counter(found)
    return {one: counted[one] for one in known}


def _spans(device: DeviceHistory, id: int) -> Iterator[Span]:
    wait, span = device.wait(id), None
    for place, (began_s, ended_s, part) in enumerate(zip(*(column.tolist() for column in wait[1:]), strict=True)):
        piece = device.pieces[wait.first + place]
        if piece.kind == HOST:
            continue
        others = tuple(member for member in piece.members if member != id)
        if span is not None and span.part == PARTS[part]:
            requests = tuple(dict.fromkeys((*span.requests, *others)))
            span = Span(span.began_s, ended_s, span.part, span.lasted_s + ended_s - began_s, requests)
            continue
        if span is not None:
            yield span
        span = Span(began_s, ended_s, PARTS[part], ended_s - began_s, others)
    if span is not None:
        yield span
