"""Why requests missed their SLOs: one reason for each, from the parts of its time to first token."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flowsim.errors import InputError
from flowsim.results.device_pieces import PASS
from flowsim.results.metrics import FINISHED, REJECTED
from flowsim.results.quantiles import Floats
from flowsim.results.result import RunResult
from flowsim.results.waits import PARTS, DeviceHistory, device_histories, known_alone_s
from flowsim.show.explain_figure import misses_by_class

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

REASONS = ("hopeless", "rejected", *PARTS[1:])


class Span(NamedTuple):
    """A stretch of a request's wait, as its story tells it.

    Attributes:
        began_s: from when, seconds.
        ended_s: until when.
        part: which of PARTS; its own passes are "alone", whatever they take.
        lasted_s: how long these passes ran.
        requests: the other requests of these passes, in the order in which they first ran.
    """

    began_s: float
    ended_s: float
    part: str
    lasted_s: float
    requests: tuple[int, ...]


class Story(NamedTuple):
    """What became of one request.

    Attributes:
        request: its id.
        class_name: its class.
        tokens: tokens of its prompt.
        arrival_s: when it arrived, seconds.
        slo_s: its TTFT SLO; NaN for none.
        alone_s: the least TTFT that it could have alone.
        finished_s: when its first token was there; NaN for never.
        rejected: whether it was rejected.
        reason: one of REASONS if it is a counted miss; else None.
        parts_s: seconds of each part of its wait, which they add up to.
        spans: what it waited for and when it ran, in order; decisions, hand-overs and idle time are left out.
    """

    request: int
    class_name: str
    tokens: int
    arrival_s: float
    slo_s: float
    alone_s: float
    finished_s: float
    rejected: bool
    reason: str | None
    parts_s: Mapping[str, float]
    spans: Sequence[Span]


class Fairness(NamedTuple):
    """How evenly waiting is spread over counted requests; None or empty where there is nothing to tell.

    Attributes:
        longest: the request that waited longest for its first token, of those not rejected.
        longest_s: how long, as far as the replay went.
        worst_class: the class with the lowest attainment.
        jain: Jain's index (Jain, Chiu, Hawe 1984) of the slowdown, TTFT over the least TTFT alone, of requests that
            finished: (sum x)^2 / (n sum x^2), 1 if all are slowed down alike.
        clients: the mean slowdown of each client.
    """

    longest: int | None
    longest_s: float | None
    worst_class: str | None
    jain: float | None
    clients: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why the counted requests of a run that missed their SLO did. Made by `flowsim.explain`.

    A request is hopeless if its SLO is shorter than the least TTFT that it could have alone; else it was perhaps
    rejected; else the reason is the largest part of its TTFT other than "alone".

    Attributes:
        result: the run.
        missed: the ids of these requests, shape [m].
        parts_s: seconds of each of PARTS, shape [m, len(PARTS)]; a row adds up to the TTFT or, without a first token,
            to the wait until the rejection or the end of the replay.
        reasons: one of REASONS for each.
    """

    result: RunResult
    missed: NDArray[np.int64]
    parts_s: Floats
    reasons: Sequence[str]

    @property
    def counts(self) -> Mapping[str, int]:
        """How many missed for each reason, in the order of REASONS."""
        return _counts(self.reasons)

    @property
    def by_class(self) -> Mapping[str, Mapping[str, int]]:
        """The same for each class."""
        slo = self.result.slo
        codes = slo.class_code[self.missed].tolist()
        found: dict[str, list[str]] = {name: [] for name in slo.class_names}
        for code, reason in zip(codes, self.reasons, strict=True):
            found[slo.class_names[code]].append(reason)
        return {name: _counts(reasons) for name, reasons in found.items()}

    def plot(self) -> Figure:
        """A figure: the share of each class that missed, divided by reason."""
        counted = {name: values["counted"] for name, values in self.result.summary["classes"].items()}
        return misses_by_class(self.by_class, counted, self.result.policy)

    @property
    def misses(self) -> pd.DataFrame:
        """One row per miss: id, class, reason, TTFT SLO and the seconds of each part."""
        import pandas as pd  # slow to import, and only tables need it

        slo = self.result.slo
        names = np.array(slo.class_names, object)[slo.class_code[self.missed]]
        head = {"id": self.missed, "class": names, "reason": list(self.reasons)}
        parts = {f"{part}_s": self.parts_s[:, place] for place, part in enumerate(PARTS)}
        return pd.DataFrame(head | {"ttft_slo_s": slo.ttft_slo_s[self.missed]} | parts)

    @cached_property
    def fairness(self) -> Fairness:
        """How evenly waiting is spread."""
        return _fairness(self.result)

    def story(self, request: int) -> Story:
        """What a request waited for and when it ran.

        Raises:
            InputError: there is no such request.
        """
        result, n = self.result, len(self.result.trace)
        if not 0 <= request < n:
            raise InputError("request", found=request, expected=f"an id from 0 to {n - 1}")
        reasons = dict(zip(self.missed.tolist(), self.reasons, strict=True))
        device, slo, trace = self._devices[result.outcome.ledger.instance[request]], result.slo, result.trace
        return Story(
            request,
            slo.class_names[slo.class_code[request]],
            int(trace.input_length[request]),
            float(trace.arrival_s[request]),
            float(slo.ttft_slo_s[request]),
            float(known_alone_s(result)[request]),
            float(result.metrics.finished_s[request]),
            bool(result.metrics.state[request] == REJECTED),
            reasons.get(request),
            dict(zip(PARTS, device.parts_s(request).tolist(), strict=True)),
            list(_spans(device, request)),
        )

    @cached_property
    def _devices(self) -> list[DeviceHistory]:
        return device_histories(self.result)


def explain(result: RunResult) -> Explanation:
    """Why each counted request that missed its TTFT SLO did.

    Args:
        result: a run with `events=True`.

    Raises:
        InputError: it is no run, or was made without `events=True`.
    """
    if not isinstance(result, RunResult):
        raise InputError("result", found=result, expected="a run, as flowsim.run gives it")
    of = device_histories(result)
    missed = np.flatnonzero(result.counted & ~result.attained)
    instances = result.outcome.ledger.instance
    rows = [of[instances[id]].parts_s(id) for id in missed.tolist()]
    parts_s = np.array(rows, float).reshape(-1, len(PARTS))
    return Explanation(result, missed, parts_s, _reasons(result, missed, parts_s))


def _reasons(result: RunResult, missed: NDArray[np.int64], parts_s: Floats) -> list[str]:
    largest = parts_s[:, 1:].argmax(axis=1) if len(missed) else missed
    named = np.array(PARTS[1:], object)[largest]
    named[result.metrics.state[missed] == REJECTED] = "rejected"
    named[known_alone_s(result)[missed] > result.slo.ttft_slo_s[missed]] = "hopeless"
    return [str(name) for name in named]


def _counts(reasons: Sequence[str]) -> dict[str, int]:
    found = Counter(reasons)
    return {reason: found[reason] for reason in REASONS}


def _fairness(result: RunResult) -> Fairness:
    metrics, counted = result.metrics, result.counted
    waited_s = np.where(counted & (metrics.state != REJECTED), metrics.ttft_bound_s, -np.inf)
    longest = int(waited_s.argmax()) if len(waited_s) and waited_s.max() > -np.inf else None
    slowed = counted & (metrics.state == FINISHED)
    slowdown = metrics.ttft_s[slowed] / known_alone_s(result)[slowed]
    shares = {name: group["attainment"] for name, group in result.summary["classes"].items()}
    known = {name: share for name, share in shares.items() if share is not None}
    trace, clients = result.trace, {}
    if trace.has("client_code"):
        of = trace.client_code[slowed]
        clients = {trace.client_names[code]: float(slowdown[of == code].mean()) for code in np.unique(of).tolist()}
    return Fairness(
        longest,
        None if longest is None else float(waited_s[longest]),
        min(known, key=lambda name: known[name], default=None),
        float(slowdown.sum() ** 2 / (len(slowdown) * (slowdown**2).sum())) if len(slowdown) else None,
        clients,
    )


def _spans(device: DeviceHistory, id: int) -> Iterator[Span]:
    wait, told = device.wait(id), None
    for place, (began_s, ended_s, part) in enumerate(zip(*(column.tolist() for column in wait[1:]), strict=True)):
        piece = device.pieces[wait.first + place]
        if piece.kind != PASS:
            continue
        others = tuple(member for member in piece.members if member != id)
        if told is not None and told.part == PARTS[part]:
            requests = tuple(dict.fromkeys((*told.requests, *others)))
            told = Span(told.began_s, ended_s, told.part, told.lasted_s + ended_s - began_s, requests)
            continue
        if told is not None:
            yield told
        told = Span(began_s, ended_s, PARTS[part], ended_s - began_s, others)
    if told is not None:
        yield told
