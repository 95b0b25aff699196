"""Events of the Chrome trace format, which Perfetto (ui.perfetto.dev) and chrome://tracing open.

Source: "Trace Event Format" (Chromium project). Times are microseconds there, here rounded to nanoseconds; a duration
is the difference of rounded times, so slices that touch do not overlap. A process of a trace is a group of tracks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

TraceEvent = dict[str, Any]


class Track(NamedTuple):
    """A track: its process, and its number there from 1."""

    process: int
    track: int = 0


def microseconds(time_s: float) -> float:
    """A time of the trace."""
    return round(time_s * 1e6, 3)


def process(place: Track, name: str) -> Iterator[TraceEvent]:
    """The name of a process, which is listed in order of its number."""
    yield _about(place, "process_name", {"name": name})
    yield _about(place, "process_sort_index", {"sort_index": place.process})


def track(place: Track, name: str) -> Iterator[TraceEvent]:
    """The name of a track, which is listed in order of its number."""
    yield _about(place, "thread_name", {"name": name})
    yield _about(place, "thread_sort_index", {"sort_index": place.track})


def whole(place: Track, name: str, category: str, began_s: float, ended_s: float, **args: Any) -> TraceEvent:
    """A slice of a track; slices of a track nest."""
    ts = microseconds(began_s)
    return {**_event(place, "X", name, category, ts), "dur": round(microseconds(ended_s) - ts, 3), "args": args}


def instant(place: Track, name: str, category: str, time_s: float, **args: Any) -> TraceEvent:
    """A mark on a track."""
    return {**_event(place, "i", name, category, microseconds(time_s)), "s": "t", "args": args}


def overlapping(
    place: Track, name: str, category: str, id: int, began_s: float, ended_s: float, **args: Any
) -> tuple[TraceEvent, TraceEvent]:
    """The begin and the end of a slice that may overlap others; those of one category and `id` nest."""
    begin, end = (
        _event(place, kind, name, category, microseconds(at)) for kind, at in (("b", began_s), ("e", ended_s))
    )
    return {**begin, "id": hex(id), "args": args}, {**end, "id": hex(id)}


def flow(
    place: Track, name: str, id: int, left: tuple[float, float], entered_s: float
) -> tuple[TraceEvent, TraceEvent]:
    """An arrow from the end of a slice, of which `left` is the begin and the end, to the slice begun at `entered_s`."""
    began, ended = map(microseconds, left)
    inside = round(max(ended - 1, (began + ended) / 2), 3)  # at its very end the slice is over
    start = {**_event(place, "s", name, "preemption", inside), "id": id}
    return start, {**_event(place, "f", name, "preemption", microseconds(entered_s)), "id": id, "bp": "e"}


def counter(place: Track, name: str, time_s: float, values: Mapping[str, float]) -> TraceEvent:
    """Numbers that hold from `time_s` on."""
    return {**_event(place, "C", name, "state", microseconds(time_s)), "args": dict(values)}


def _event(place: Track, kind: str, name: str, category: str, ts: float) -> TraceEvent:
    return {"ph": kind, "name": name, "cat": category, "ts": ts, "pid": place.process, "tid": place.track}


def _about(place: Track, what: str, args: Mapping[str, Any]) -> TraceEvent:
    return {"ph": "M", "name": what, "pid": place.process, "tid": place.track, "args": dict(args)}
