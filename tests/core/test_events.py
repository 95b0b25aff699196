"""The stream of events of an instance: what it says, and that rows, logs, stretches and pauses follow from it alone."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.core.event_recorder import EventRecorder
from flowsim.core.events import (
    Arrived,
    Completed,
    Decided,
    Ended,
    Event,
    Launched,
    Pause,
    Preempted,
    Rejected,
    Resumed,
    Signalled,
    Stopped,
    Thought,
    Unfinished,
    fold,
    pauses,
)
from flowsim.core.ledger import Ledger, Recorder
from flowsim.core.request import Request
from flowsim.core.server import ServerOptions
from flowsim.engine.simulate import Outcome
from flowsim.policies.chunked import Chunked
from flowsim.policies.edf import EDF
from flowsim.policies.flowprefill import FlowPrefill
from support.costs import pencil
from support.timelines import replay_exactly

Row = tuple[float, int, float]  # arrival, tokens, SLO
URGENT = [(0.0, 10, 1000.0), (3.0, 1, 10.0)]
"""Ten patient tokens, and an urgent one that arrives 3 s later."""


def run(policy: Any, cost: CostModel, *rows: Row, until_s: float | None = None, **limits: Any) -> Outcome:
    server = ServerOptions(**{"block_tokens": 1, **limits})
    requests = [Request(i, *row) for i, row in enumerate(rows)]
    return replay_exactly(requests, policy, cost, server, until_s=until_s, events=True)


def events_of(outcome: Outcome) -> list[Event]:
    assert outcome.events is not None
    (events,) = outcome.events
    return list(events)


def test_a_preemption_from_arrival_to_completion() -> None:
    """Cuts lie 2 s apart; a decision takes 0.5 s, an acknowledgement or a completion 0.25 s, a hand-over 0.125 s."""
    cost = pencil(decision=lambda seen: 0.5, acknowledge_s=0.25, resume_s=0.125)
    assert events_of(run(EDF(), cost, *URGENT)) == [
        Arrived(0.0, 0),
        Thought(0.0, 0.5),
        Decided(0.5, waiting=1, started=0, paused=0, running=None, chosen=0),
        Launched(0.5, 0, members=(0,), tokens=(10,)),
        Arrived(3.0, 1),
        Thought(3.0, 0.5),
        Decided(3.5, waiting=1, started=0, paused=0, running=0, chosen=1),
        Signalled(3.5, 0),
        Stopped(4.875, 0, members=(0,), began_s=0.625, ended_s=4.625),
        Preempted(4.875, 0, members=(0,), blocking_s=1.375),
        Launched(4.875, 1, members=(1,), tokens=(1,)),
        Completed(6.25, 1, (1,), (1,), began_s=5.0, ended_s=6.0, taken_s=1.0, check_s=0.0, blocking_s=None),
        Thought(6.25, 0.5),
        Decided(6.75, waiting=0, started=0, paused=1, running=None, chosen=0),
        Resumed(6.75, 0),
        Completed(13.125, 0, (0,), (0,), began_s=6.875, ended_s=12.875, taken_s=10.0, check_s=0.0, blocking_s=None),
    ]


def test_a_pass_over_a_part_of_a_prompt_finishes_nobody() -> None:
    events = events_of(run(Chunked(4), pencil(), (0.0, 6, 9.0)))
    assert [event.finished for event in events if isinstance(event, Completed)] == [(), (0,)]
    assert [event.tokens for event in events if isinstance(event, Launched)] == [(4,), (2,)]


def test_a_rejected_request_has_arrived() -> None:
    assert events_of(run(EDF(), pencil(), (2.0, 11, 9.0), kv_tokens=10)) == [Arrived(2.0, 0), Rejected(2.0, 0)]


def test_a_run_that_ends_stops_the_running_pass_and_names_what_is_unfinished() -> None:
    events = events_of(run(EDF(), pencil(), *URGENT, until_s=4.5))
    assert events[-4:] == [
        Stopped(4.5, 1, members=(1,), began_s=4.0, ended_s=4.5),
        Unfinished(4.5, 0, taken_s=4.0),
        Unfinished(4.5, 1, taken_s=0.5),
        Ended(4.5),
    ]


def test_a_signalled_pass_that_has_no_cut_left_completes_and_has_blocked() -> None:
    events = events_of(run(EDF(cut="layer"), pencil(head_s=5.0), (0.0, 10, 1000.0), (12.0, 1, 10.0)))
    first = next(event for event in events if isinstance(event, Completed))
    assert (first.time_s, first.blocking_s) == (15.0, 3.0)


@pytest.mark.parametrize(
    "policy", [EDF(), EDF(cut="layer", wake="cuts"), FlowPrefill(), Chunked(4)], ids=lambda p: f"{p.cut}-{p.wake}"
)
@pytest.mark.parametrize("until_s", [None, 7.3])
def test_rows_and_logs_follow_from_the_stream(policy: Any, until_s: float | None) -> None:
    """To the last bit: what is folded is what was told."""
    cost = pencil(
        layers=3,
        check_s=0.1,
        acknowledge_s=0.07,
        resume_s=0.03,
        decision=lambda seen: 0.011 * seen,
        kv_capacity_tokens=40,
    )
    rows = [(0.37 * i, 1 + i * 7 % 9, 3.0 + i % 4 * 10) for i in range(20)] + [(8.0, 41, 9.0)]
    outcome = run(policy, cost, *rows, until_s=until_s, instances=2, router="least-work")
    assert outcome.events is not None
    ledger = Ledger(len(rows))
    for index, (events, log) in enumerate(zip(outcome.events, outcome.logs, strict=True)):
        recorder = Recorder(ledger, index)
        fold(events, recorder)
        assert recorder.log == log
        assert all(a.time_s <= b.time_s for a, b in pairwise(events))
    assert repr(vars(ledger)) == repr(vars(outcome.ledger))


def test_a_folded_stream_can_be_kept_again_and_written() -> None:
    events = events_of(run(EDF(), pencil(), *URGENT))
    again = EventRecorder(Ledger(2))
    fold(events, again)
    assert again.events == events
    assert msgspec.json.decode(msgspec.json.encode(events[1])) == {"event": "thought", "time_s": 0.0, "control_s": 0.0}


def test_pauses_are_told_from_signal_to_resumption() -> None:
    cost = pencil(acknowledge_s=0.25, resume_s=0.125)
    events = events_of(run(EDF(), cost, *URGENT))
    # Cuts at 2.125, 4.125, ...; the urgent pass runs from 4.5 to 5.5, which is known at 5.75.
    assert pauses(events) == [Pause(0, 3.0, 4.125, 4.375, 5.875)]
    (never,) = pauses(events_of(run(EDF(), cost, *URGENT, until_s=5.0)))
    assert never[:4] == (0, 3.0, 4.125, 4.375)
    assert math.isnan(never.resumed_s)


def test_where_nobody_signals_a_pause_begins_with_the_stop() -> None:
    events = events_of(run(EDF(cut="layer", wake="cuts"), pencil(layers=2), *URGENT))
    assert pauses(events) == [Pause(0, 10.0, 10.0, 10.0, 12.0)]
