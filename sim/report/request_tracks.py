"""Requests on a timeline: by class, when each waits, runs and is paused; and counters of what is there at a time."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flowsim.core.events import Event, Preempted, stretches
from flowsim.engine.kv import taken_tokens
from flowsim.report.timeline_bounds import Bounds, until
from flowsim.report.trace_events import TraceEvent, Track, counter, overlapping
from flowsim.results.quantiles import Floats
from flowsim.results.result import RunResult
from flowsim.results.waits import Times
from flowsim.validation.case import GpuRun, times


class Stay(NamedTuple):
    """A stretch of a request's time: from when to when, seconds, and whether it was "running" or "paused"."""

    began_s: float
    ended_s: float
    state: str


def stays_of(events: Iterable[Event]) -> dict[int, list[Stay]]:
    """When the requests of an instance ran and were paused, from its events; the time between two passes is neither."""
    found: dict[int, list[Stay]] = {}
    events = list(events)
    for stretch in stretches(events):
        for id in stretch.members:
            found.setdefault(id, []).append(Stay(stretch.began_s, stretch.ended_s, "running"))
    preempted = _preempted(events)
    return {id: list(_with_pauses(stays, preempted.get(id, []))) for id, stays in found.items()}


def stays_in(result: RunResult) -> dict[int, list[Stay]]:
    """The same of all instances of a run."""
    return {id: stays for events in result.events for id, stays in stays_of(events).items()}


def stays_on_gpu(run: GpuRun) -> dict[int, list[Stay]]:
    """The same of a run on a GPU, which tells of a pause only whose pass it was: a pass runs but for its pauses."""
    columns = zip(times(run.started_s), times(run.finished_s), strict=True)
    found = {
        id: [Stay(began_s, run.stopped_s if ended_s != ended_s else ended_s, "running")]
        for id, (began_s, ended_s) in enumerate(columns)
        if began_s == began_s
    }
    for head, _, stopped_s, _, resumed_s in run.pauses:
        stays = found[int(head or 0)]
        began_s, ended_s, _ = stays.pop()
        until_s = ended_s if resumed_s is None else resumed_s
        stays += [Stay(began_s, stopped_s or 0.0, "running"), Stay(stopped_s or 0.0, until_s, "paused")]
        if until_s < ended_s:
            stays.append(Stay(until_s, ended_s, "running"))
    return found


def request_tracks(
    process: int, result: RunResult, stays: Mapping[int, Sequence[Stay]], bounds: Bounds
) -> Iterator[TraceEvent]:
    """A track per class: each of its requests from its sending to its first token, and within what it does there.

    Args:
        process: the number of the requests' process in the trace.
        result: the run.
        stays: when each request ran and was paused.
        bounds: what is shown.
    """
    place, columns = (
        Track(process),
        (result.trace.arrival_s, Times.of(result).came_s, result.metrics.started_s, until(result)),
    )
    arrival_s, came_s, started_s, until_s = (column.tolist() for column in columns)
    names, codes = result.slo.class_names, result.slo.class_code.tolist()
    for id in range(len(result.trace)):
        if not bounds.keeps_request(id, arrival_s[id], until_s[id]):
            continue
        name = names[codes[id]]
        begin, end = overlapping(place, name, name, id, arrival_s[id], until_s[id], **_about(result, id))
        waited_until_s = started_s[id] if started_s[id] == started_s[id] else until_s[id]
        yield begin
        yield from overlapping(place, f"{id} waiting", name, id, came_s[id], min(waited_until_s, until_s[id]))
        for stay in stays.get(id, ()):
            yield from overlapping(place, f"{id} {stay.state}", name, id, stay.began_s, min(stay.ended_s, until_s[id]))
        yield end


def counters(process: int, result: RunResult, instance: int, block_tokens: int, bounds: Bounds) -> Iterator[TraceEvent]:
    """What an instance holds at a time: waiting requests, KV blocks, late requests, seconds to the next deadline.

    Requests wait from when they come to the instance. KV blocks are those of the requests between their first launch
    and their first token there; what a prefix cache shares counts for each. A request is late, and its deadline the
    next, as its client sees it: from its sending until its first token is back. Without a next deadline that is not
    missed yet, the seconds are 0.

    Args:
        process: the number of the instance's process in the trace.
        result: the run.
        instance: the number of the instance.
        block_tokens: tokens of a KV block.
        bounds: what is shown.
    """
    times = Times.of(result)
    place, count = Track(process), _Count(times.due_s, result.trace.input_length, block_tokens)
    for time_s, changes in _changes(result, times, instance):
        for kind, id in changes:
            count.change(kind, id)
        if bounds.keeps(time_s, time_s):
            yield counter(place, "queue", time_s, {"waiting": count.waiting})
            yield counter(place, "KV blocks", time_s, {"held": count.blocks})
            yield counter(place, "late requests", time_s, {"late": count.late})
            yield counter(place, "next deadline, s", time_s, {"to the next deadline": count.next_deadline_s(time_s)})


class _Count:
    """What is there, kept up to date change by change."""

    def __init__(self, due_s: Floats, input_length: NDArray[np.int64], block_tokens: int) -> None:
        self.waiting = self.blocks = self.late = 0
        self._due_s = due_s.tolist()
        self._blocks_of = (taken_tokens(input_length, block_tokens) // block_tokens).tolist()
        self._started = set[int]()
        self._open = dict[int, bool]()
        """The requests without a first token, and whether each is late."""
        self._next: list[tuple[float, int]] = []

    def change(self, kind: str, id: int) -> None:
        """A request is "sent", has "arrived", "started" and "left" the instance, is "late" or "done"."""
        if kind == "sent":
            self._open[id] = False
            heapq.heappush(self._next, (self._due_s[id], id))
        elif kind == "arrived":
            self.waiting += 1
        elif kind == "started":
            self.waiting -= 1
            self.blocks += self._blocks_of[id]
            self._started.add(id)
        elif kind == "late":
            self.late += 1
            self._open[id] = True
        elif kind == "done":
            self.late -= self._open.pop(id)
        elif id in self._started:
            self.blocks -= self._blocks_of[id]
        else:
            self.waiting -= 1

    def next_deadline_s(self, time_s: float) -> float:
        """Seconds to the next deadline of a request that is not late; 0 if there is none."""
        while self._next and self._open.get(self._next[0][1], True):
            heapq.heappop(self._next)
        return self._next[0][0] - time_s if self._next and self._next[0][0] < np.inf else 0.0


def _changes(result: RunResult, times: Times, instance: int) -> Iterator[tuple[float, list[tuple[str, int]]]]:
    """By time, what happens to the requests of an instance."""
    here = np.flatnonzero(np.array(result.outcome.ledger.instance) == instance)
    done_s = times.until_s + times.return_s
    columns = {
        "sent": times.sent_s,
        "arrived": times.came_s,
        "started": result.metrics.started_s,
        "left": times.until_s,
        "late": np.where(times.due_s < done_s, times.due_s, np.nan),
        "done": done_s,
    }
    at: dict[float, list[tuple[str, int]]] = {}
    for kind, column in columns.items():
        for id in here.tolist():
            if column[id] == column[id]:
                at.setdefault(float(column[id]), []).append((kind, id))
    for time_s in sorted(at):
        yield time_s, at[time_s]


def _about(result: RunResult, id: int) -> dict[str, object]:
    """What the slice of a request says of it."""
    slo_s, ttft_s = float(result.slo.ttft_slo_s[id]), float(result.ttft_s[id])
    return {
        "request": id,
        "input tokens": int(result.trace.input_length[id]),
        "TTFT, s": ttft_s if ttft_s == ttft_s else None,
        "TTFT SLO, s": slo_s if slo_s == slo_s else None,
        "attained": bool(result.attained[id]),
    }


def _preempted(events: Iterable[Event]) -> dict[int, list[float]]:
    """When each request was preempted, in order."""
    found: dict[int, list[float]] = {}
    for event in events:
        if isinstance(event, Preempted):
            for id in event.members:
                found.setdefault(id, []).append(event.time_s)
    return found


def _with_pauses(stays: Sequence[Stay], preempted_s: Iterable[float]) -> Iterator[Stay]:
    """Stretches of execution, and between them the pauses that began with a preemption."""
    times = iter(preempted_s)
    next_s = next(times, np.inf)
    for stay, after in zip(stays, [*stays[1:], None], strict=True):
        yield stay
        until_s = np.inf if after is None else after.began_s
        if stay.ended_s <= next_s <= until_s and next_s < np.inf:
            yield Stay(stay.ended_s, float(until_s), "paused")
            next_s = next(times, np.inf)
