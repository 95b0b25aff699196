"""What a device did, piece by piece: passes, decisions and hand-overs, idle; a fold over the events."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from operator import itemgetter
from typing import NamedTuple

from flowsim.clairvoyant.hindsight import Judged
from flowsim.core.events import Completed, Event, Launched, Resumed, Signalled, Stopped, Thought
from flowsim.core.ledger import NEVER

PASS, HOST, IDLE = range(3)


class Piece(NamedTuple):
    """A stretch of time in which a device did one thing.

    Attributes:
        began_s: from when, seconds.
        ended_s: until when.
        kind: PASS, HOST (it stands, since the scheduler decides, or since word or an order is on its way) or IDLE.
        members: the requests of the pass.
        ordered_s: when the scheduler launched or resumed the pass.
        signalled: whether the pass has been told to stop.
        wrong_s: when the scheduler decided for the pass as it would not have, had it known what everything takes.
        completes: whether the pass completes with it.
    """

    began_s: float
    ended_s: float
    kind: int
    members: tuple[int, ...] = ()
    ordered_s: float = NEVER
    signalled: bool = False
    wrong_s: float = NEVER
    completes: bool = False


def device_pieces(events: Iterable[Event], until_s: float, judged: Sequence[Judged] = ()) -> Iterator[Piece]:
    """What a device did from 0 to `until_s`, in order, without gaps; no piece is empty.

    `judged` are its decisions, as hindsight has them.
    """
    ended_s = heard_s = 0.0
    ordered_s = signal_s = NEVER
    thoughts: list[tuple[float, float]] = []
    for event in events:
        if isinstance(event, Thought):
            thoughts.append((event.time_s, event.time_s + event.control_s))
        elif isinstance(event, Launched | Resumed):
            ordered_s, signal_s = event.time_s, NEVER
        elif isinstance(event, Signalled):
            signal_s = event.time_s
        elif isinstance(event, Stopped | Completed):
            host = [(ended_s, heard_s), *thoughts, (ordered_s, event.began_s)]
            yield from _standing(ended_s, event.began_s, host)
            yield from _passing(event, ordered_s, signal_s, _wrong_s(judged, ordered_s, event.ended_s))
            ended_s, heard_s, ordered_s = event.ended_s, event.time_s, NEVER
            thoughts = thoughts[-1:]  # which may not have come to its end
    on_its_way = [(ordered_s, until_s)] if ordered_s == ordered_s else []
    yield from _standing(ended_s, until_s, [(ended_s, heard_s), *thoughts, *on_its_way])


def _passing(event: Stopped | Completed, ordered_s: float, signal_s: float, wrong_s: float) -> Iterator[Piece]:
    began_s, ended_s = event.began_s, event.ended_s
    marks = {began_s, ended_s, *(mark for mark in (signal_s, wrong_s) if began_s < mark < ended_s)}
    for from_s, to_s in pairwise(sorted(marks)):
        wrong = wrong_s if wrong_s <= from_s else NEVER
        completes = to_s == ended_s and isinstance(event, Completed)
        yield Piece(from_s, to_s, PASS, event.members, ordered_s, signal_s <= from_s, wrong, completes)


def _wrong_s(judged: Sequence[Judged], ordered_s: float, ended_s: float) -> float:
    """When it was first decided wrongly that a pass runs, or goes on, which ended then; NEVER if it was not."""
    first = bisect_right(judged, ordered_s, key=itemgetter(0)) - 1
    for place in range(max(first, 0), len(judged)):
        decision = judged[place]
        if decision.time_s >= ended_s or not (place == first or decision.stays):
            break
        if decision.wrong:
            return decision.time_s
    return NEVER


def _standing(began_s: float, ended_s: float, host: Iterable[tuple[float, float]]) -> Iterator[Piece]:
    """The device stands from `began_s` to `ended_s`: at the times of `host` for the host, otherwise idle."""
    at_s = began_s
    for first_s, last_s in sorted(host):
        from_s, to_s = max(first_s, at_s), min(last_s, ended_s)
        if to_s > from_s:
            if from_s > at_s:
                yield Piece(at_s, from_s, IDLE)
            yield Piece(from_s, to_s, HOST)
            at_s = to_s
    if ended_s > at_s:
        yield Piece(at_s, ended_s, IDLE)
