"""Keeping the events of a run: each is kept as it was told, and the run is the same as without."""

from __future__ import annotations

import pytest

from flowsim.core.event_recorder import EventRecorder
from flowsim.core.events import (
    Arrived,
    Completed,
    Decided,
    Ended,
    Event,
    Launched,
    Preempted,
    Rejected,
    Resumed,
    Reused,
    Signalled,
    Stopped,
    Thought,
    Unfinished,
    fold,
)
from flowsim.core.ledger import Ledger, Recorder
from flowsim.core.request import Request
from flowsim.engine.simulate import Outcome
from flowsim.policies.edf import EDF
from support.costs import pencil
from support.timelines import replay_exactly

EVERY_KIND = (
    Arrived(1.0, 0),
    Rejected(2.0, 1),
    Thought(3.0, 0.5),
    Decided(4.0, waiting=1, started=2, paused=3, running=None, chosen=0),
    Reused(5.0, 0, 16),
    Launched(6.0, 0, members=(0,), tokens=(10,)),
    Signalled(7.0, 0),
    Stopped(8.0, 0, members=(0,), began_s=6.5, ended_s=7.5),
    Preempted(9.0, 0, members=(0,), blocking_s=2.0),
    Resumed(10.0, 0),
    Completed(12.0, 0, (0,), (0,), began_s=10.5, ended_s=11.5, taken_s=2.0, check_s=0.25, blocking_s=None),
    Unfinished(13.0, 2, taken_s=0.5),
    Ended(14.0),
)


def test_these_are_all_kinds() -> None:
    assert {type(event) for event in EVERY_KIND} == set(Event.__subclasses__())


@pytest.mark.parametrize("event", EVERY_KIND, ids=lambda event: type(event).__name__)
def test_an_event_is_kept_as_it_was_told(event: Event) -> None:
    recorder = EventRecorder(Ledger(2))
    event.tell(recorder)
    assert recorder.events == [event]


def test_what_is_kept_is_added_up_too() -> None:
    kept, plain = EventRecorder(Ledger(2), 1), Recorder(Ledger(2), 1)
    fold(EVERY_KIND, kept)
    fold(EVERY_KIND, plain)
    assert kept.log == plain.log
    assert repr(vars(kept.ledger)) == repr(vars(plain.ledger))
    assert (kept.log.busy_s, kept.log.check_s, kept.log.preemptions, kept.ledger.cached_tokens) == (
        2.5,
        0.25,
        1,
        [16, 0],
    )


def test_keeping_events_changes_nothing() -> None:
    def replay(events: bool) -> Outcome:
        cost = pencil(acknowledge_s=0.5)
        requests = [Request(i, float(i), 1 + i % 5, 5.0 + i % 3) for i in range(30)]
        return replay_exactly(requests, EDF(), cost, events=events)

    kept, not_kept = replay(True), replay(False)
    assert not_kept.events is None
    assert repr((vars(kept.ledger), kept.logs)) == repr((vars(not_kept.ledger), not_kept.logs))
