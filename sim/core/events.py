"""What happens on an instance, as one stream of typed events in the order in which its scheduler learns of it.

Ledger, log, stretches and pauses are folds over the stream. All times are seconds from the start of the replay;
`time_s` is when the scheduler acts or learns. A pass is known by the id of its head (`execution`), requests by theirs.

A request's events are: arrived, perhaps rejected, then or while it waits; of the passes with it launched, then any
number of stopped, preempted and resumed, then completed; in one of these `finished` names it: its first token is there.
Once requests decode, what follows its first token are further events, of tokens of a request or of changes of the
decoding batch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from flowsim.core.ledger import NEVER, Recorder


class Event(msgspec.Struct, frozen=True, tag_field="event", tag=str.lower):
    """Something that happened on an instance at `time_s`."""

    time_s: float

    def tell(self, recorder: Recorder) -> None:
        """Call the recorder's method of this event's name, with the event's fields."""
        getattr(recorder, self.method())(*msgspec.structs.astuple(self))

    @classmethod
    def method(cls) -> str:
        """The method of a `Recorder` that is told of such events."""
        return cls.__name__.lower()


class Arrived(Event, frozen=True):
    """A request came to this instance."""

    request: int


class Rejected(Event, frozen=True):
    """A request was turned away for good.

    Attributes:
        by: who decided it: on arrival the "limits" of the KV cache or the model's context, which could never hold it,
            or the "policy".
    """

    request: int
    by: str = "limits"


class Thought(Event, frozen=True):
    """The scheduler began to think about a decision at `time_s`, which took it `control_s` seconds in all.

    In a real replay this is known, and written, once the device has its order: after what was decided.
    """

    control_s: float


class Decided(Event, frozen=True):
    """The scheduler decided.

    Attributes:
        waiting, started, paused: how many requests waited, how many were partly computed, how many passes were paused.
        running: the running pass; None if there was none.
        chosen: head of the new pass, or the paused or running pass, that was chosen; None for no change.
    """

    waiting: int
    started: int
    paused: int
    running: int | None
    chosen: int | None


class Reused(Event, frozen=True):
    """A request, whose first pass is launched next, took `tokens` of its prompt from the prefix cache."""

    request: int
    tokens: int


class Launched(Event, frozen=True):
    """A new pass was launched: `tokens` of each of its `members`."""

    execution: int
    members: tuple[int, ...]
    tokens: tuple[int, ...]


class Resumed(Event, frozen=True):
    """A pass that had stopped at a cut went on."""

    execution: int


class Signalled(Event, frozen=True):
    """The running pass was told to stop at its next cut."""

    execution: int


class Stopped(Event, frozen=True):
    """The running pass stopped at a cut, or the run ended; it had run from `began_s` to `ended_s`."""

    execution: int
    members: tuple[int, ...]
    began_s: float
    ended_s: float


class Preempted(Event, frozen=True):
    """A pass that had stopped was put aside for another, `blocking_s` after the scheduler had signalled it.

    If the policy wakes at cuts, there is no signal: then after the first event that it had not seen.
    """

    execution: int
    members: tuple[int, ...]
    blocking_s: float


class Completed(Event, frozen=True):
    """The running pass completed; its last stretch ran from `began_s` to `ended_s`.

    Attributes:
        finished: those of its members whose first token is now there.
        taken_s: how long it ran in all, pauses left out.
        check_s: the part of `taken_s` that is due to checks.
        blocking_s: seconds since it was signalled; None if it was not.
    """

    execution: int
    members: tuple[int, ...]
    finished: tuple[int, ...]
    began_s: float
    ended_s: float
    taken_s: float
    check_s: float
    blocking_s: float | None


class Unfinished(Event, frozen=True):
    """The run ended before this pass had completed; it had run for `taken_s`, pauses left out."""

    execution: int
    taken_s: float


class Ended(Event, frozen=True):
    """The simulation ended before a pass had completed, or while the scheduler was deciding."""


def fold(events: Iterable[Event], recorder: Recorder) -> None:
    """Tell a recorder what happened, event by event."""
    for event in events:
        event.tell(recorder)


class Stretch(NamedTuple):
    """Uninterrupted execution of a pass: from when to when, of which requests, and whether the pass completed."""

    began_s: float
    ended_s: float
    members: tuple[int, ...]
    completed: bool


def stretches(events: Iterable[Event]) -> list[Stretch]:
    """Every stretch of execution on an instance, in order."""
    return [
        Stretch(event.began_s, event.ended_s, event.members, isinstance(event, Completed))
        for event in events
        if isinstance(event, Stopped | Completed)
    ]


class Pause(NamedTuple):
    """One preemption of a pass, seconds: the scheduler's signal, the stop, the scheduler's knowing, the resumption.

    If the policy wakes at cuts there is no signal; then `signal_s` is `stopped_s`. `resumed_s` is when the device went
    on with the pass; NaN if it never did.
    """

    execution: int
    signal_s: float
    stopped_s: float
    acknowledged_s: float
    resumed_s: float


def pauses(events: Iterable[Event]) -> list[Pause]:
    """Every preemption on an instance, in order of acknowledgement."""
    found: list[Pause] = []
    open_at: dict[int, int] = {}
    signal_s = stopped_s = NEVER
    for event in events:
        if isinstance(event, Signalled):
            signal_s = event.time_s
        elif isinstance(event, Preempted):
            open_at[event.execution] = len(found)
            begin_s = stopped_s if signal_s != signal_s else signal_s
            found.append(Pause(event.execution, begin_s, stopped_s, event.time_s, NEVER))
            signal_s = NEVER
        elif isinstance(event, Stopped | Completed):
            if (place := open_at.pop(event.execution, None)) is not None:
                found[place] = found[place]._replace(resumed_s=event.began_s)
            stopped_s = event.ended_s
            signal_s = NEVER if isinstance(event, Completed) else signal_s
    return found
