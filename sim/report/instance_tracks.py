"""An instance on a timeline: its passes between preemptions, hand-overs, decisions, and arrows to what is resumed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from flowsim.core.events import (
    Completed,
    Decided,
    Event,
    Launched,
    Rejected,
    Resumed,
    Signalled,
    Stopped,
    Thought,
)
from flowsim.core.ledger import NEVER
from flowsim.report.timeline_bounds import Bounds
from flowsim.report.trace_events import TraceEvent, Track, flow, instant, track, whole

MOST_NAMED = 4
"""Requests that the name of a pass names."""
PASSES, SCHEDULER = 1, 2


def named(members: Sequence[int]) -> str:
    """A pass by its requests."""
    more = len(members) - MOST_NAMED
    return ", ".join(map(str, members[:MOST_NAMED])) + (f" and {more:,} more" if more > 0 else "")


def instance_tracks(process: int, events: Iterable[Event], bounds: Bounds) -> Iterator[TraceEvent]:
    """The tracks of an instance: what its device and what its scheduler does.

    Args:
        process: the number of the instance's process in the trace.
        events: what happened on it.
        bounds: what is shown.
    """
    passes, scheduler = Track(process, PASSES), Track(process, SCHEDULER)
    yield from track(passes, "passes")
    yield from track(scheduler, "scheduler")
    on_device = _Passes(passes, bounds)
    for event in events:
        yield from on_device.events_of(event)
        yield from (mark for mark in _scheduler(scheduler, event) if _shown(mark, bounds))


class _Passes:
    """Slices of a device: stretches of passes, and the hand-overs between them."""

    def __init__(self, place: Track, bounds: Bounds) -> None:
        self._place, self._bounds = place, bounds
        self._tokens: dict[int, tuple[int, ...]] = {}
        self._segment: dict[int, int] = {}
        self._left: dict[int, tuple[float, float]] = {}
        """Begin and end of the latest stretch of each pass that is paused and shown."""
        self._ordered_s = NEVER
        self._heard_s = 0.0
        self._flows = 0

    def events_of(self, event: Event) -> Iterator[TraceEvent]:
        """What an event adds."""
        if isinstance(event, Launched):
            self._ordered_s = event.time_s
            self._tokens[event.execution], self._segment[event.execution] = event.tokens, 0
        elif isinstance(event, Resumed):
            self._ordered_s = event.time_s
        elif isinstance(event, Stopped | Completed):
            if self._bounds.keeps(event.began_s, event.time_s):
                yield from self._stretch(event)
            self._heard_s = event.time_s

    def _stretch(self, event: Stopped | Completed) -> Iterator[TraceEvent]:
        place, began_s, ended_s = self._place, event.began_s, event.ended_s
        ordered_s = max(self._ordered_s, self._heard_s)
        if began_s > ordered_s:
            yield whole(place, "order on its way", "hand-over", ordered_s, began_s)
        self._segment[event.execution] = segment = self._segment.get(event.execution, 0) + 1
        done = isinstance(event, Completed)
        yield whole(
            place,
            named(event.members),
            "pass",
            began_s,
            ended_s,
            requests=list(event.members),
            tokens=list(self._tokens.get(event.execution, ())),
            segment=segment,
            end="completed" if done else "stopped",
            **({"finished": list(event.finished)} if isinstance(event, Completed) else {}),
        )
        if left := self._left.pop(event.execution, None):
            self._flows += 1
            yield from flow(place, "resumed", place.process << 32 | self._flows, left, began_s)
        if not done:
            self._left[event.execution] = began_s, ended_s
        if event.time_s > ended_s:
            yield whole(place, "word of the pass", "hand-over", ended_s, event.time_s)


def _scheduler(place: Track, event: Event) -> Iterator[TraceEvent]:
    if isinstance(event, Thought) and event.control_s > 0:
        yield whole(place, "decision", "scheduler", event.time_s, event.time_s + event.control_s)
    elif isinstance(event, Decided):
        what = "no change" if event.chosen in (None, event.running) else f"chose {event.chosen}"
        counts = {"waiting": event.waiting, "started": event.started, "paused": event.paused}
        yield instant(place, what, "scheduler", event.time_s, running=event.running, **counts)
    elif isinstance(event, Signalled):
        yield instant(place, f"signalled {event.execution}", "scheduler", event.time_s)
    elif isinstance(event, Rejected):
        yield instant(place, f"rejected {event.request}", "scheduler", event.time_s, by=event.by)


def _shown(mark: TraceEvent, bounds: Bounds) -> bool:
    began_s = mark["ts"] / 1e6
    return bounds.keeps(began_s, began_s + mark.get("dur", 0.0) / 1e6)
