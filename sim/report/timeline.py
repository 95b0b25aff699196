"""`flowsim.save_timeline`: what happened in a run, for Perfetto (ui.perfetto.dev) or chrome://tracing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flowsim.core.events import Event
from flowsim.errors import InputError
from flowsim.io.folders import path_of, writing_file
from flowsim.report.instance_tracks import instance_tracks
from flowsim.report.request_tracks import Stay, counters, request_tracks, stays_in
from flowsim.report.saved import Saved, Shown, shown_run
from flowsim.report.timeline_bounds import Bounds, bounds_of
from flowsim.report.trace_events import TraceEvent, Track, process
from flowsim.results.result import RunResult
from flowsim.runs.compare import Comparison
from flowsim.traces.trace import Trace

WINDOW = tuple[float, float]
MOST_PROCESSES = 1000
"""Numbers of processes of one run."""


@dataclass(frozen=True)
class Lane:
    """A run on a timeline: what is above its tracks, the run, its events by instance, and when requests ran."""

    name: str
    result: RunResult
    events: Sequence[Sequence[Event]]
    stays: Mapping[int, Sequence[Stay]]
    block_tokens: int

    @classmethod
    def of(cls, shown: Shown) -> Lane:
        """A run; one on a GPU may have left no events, but the pauses of its passes."""
        if shown.stays is not None:
            return cls(shown.name, shown.result, (), shown.stays, shown.block_tokens)
        return cls(shown.name, shown.result, shown.result.events, stays_in(shown.result), shown.block_tokens)


def timeline(lanes: Iterable[Lane], window_s: WINDOW | None = None, worst: int | None = None) -> Iterator[TraceEvent]:
    """The events of a trace with the tracks of each run; see `save_timeline`."""
    before: tuple[Trace, Bounds] | None = None
    for place, lane in enumerate(lanes):
        trace = lane.result.trace
        if before is None or not np.array_equal(before[0].arrival_s, trace.arrival_s):
            before = trace, bounds_of(lane.result, window_s, worst)
        yield from _lane(lane, 1 + place * MOST_PROCESSES, before[1])


def save_timeline(
    result: RunResult | Comparison | Sequence[Shown] | str | Path,
    path: str | Path,
    *,
    window_s: WINDOW | None = None,
    worst: int | None = None,
) -> None:
    """Write what happened in a run into a JSON file in the Chrome trace format.

    There is a track for the passes of each instance (slices between preemptions, named by their requests, with arrows
    from a preemption to the resumption) and one for its scheduler, counters of its queue, KV blocks, late requests and
    the time to the next deadline, and a track per class with its requests: waiting, running, paused. The runs of a
    comparison, and a simulation and its real runs, lie under each other.

    Args:
        result: a run or a comparison with `events=True`, or the folder of a run, a comparison or a validation; a saved
            run is replayed for its events.
        path: of the file.
        window_s: from when to when, seconds; default: all of it.
        worst: only that many requests, those that miss their SLO by most or meet it by least (of the first of several
            runs), and the passes while they wait.

    Raises:
        InputError: the result has no events, a folder holds none or its run is not what was saved, the window is empty,
            `worst` is not positive, neither is given and there are > 20,000 requests, or the file cannot be written.
    """
    target, lanes = path_of(path, "path"), list(map(Lane.of, shown_of(result)))
    with writing_file(target) as partial, partial.open("w", encoding="utf-8") as file:
        file.write('{"displayTimeUnit":"ms","traceEvents":[')
        for place, event in enumerate(timeline(lanes, window_s, worst)):
            file.write(",\n" if place else "\n")
            file.write(json.dumps(event, ensure_ascii=False, allow_nan=False, separators=(",", ":")))
        file.write("\n]}\n")


def shown_of(result: RunResult | Comparison | Sequence[Shown] | str | Path) -> Sequence[Shown]:
    """The runs of a result, each with its events. InputError: it has none."""
    if isinstance(result, RunResult):
        return [shown_run(result.policy, result)]
    if isinstance(result, Comparison):
        return [shown_run(name, run) for name, run in result.results.items()]
    if isinstance(result, str | Path):
        return Saved.read(result).replayed()
    if isinstance(result, Sequence):
        runs = [one for one in result if isinstance(one, Shown)]
        if len(runs) == len(result):
            return runs
    raise InputError("result", found=result, expected="a run or a comparison, or the folder of one")


def _lane(lane: Lane, first: int, bounds: Bounds) -> Iterator[TraceEvent]:
    result = lane.result
    for number in range(len(result.outcome.logs)):
        place = Track(first + number)
        name = f"{lane.name}: instance {number}"
        yield from process(place, name)
        if lane.events:
            yield from instance_tracks(place.process, lane.events[number], bounds)
        yield from counters(place.process, result, number, lane.block_tokens, bounds)
    requests = Track(first + len(result.outcome.logs))
    yield from process(requests, f"{lane.name}: requests")
    yield from request_tracks(requests.process, result, lane.stays, bounds)
