"""When an instance decides, and what its limits hold back."""

from __future__ import annotations

import math

import pytest

from flowsim.policies.chunked import Chunked
from flowsim.policies.edf import EDF
from flowsim.policies.fcfs import FCFS
from flowsim.policies.flowprefill import FlowPrefill
from support.costs import pencil
from support.timelines import URGENT, ran, simulated


def test_preemptions_nest() -> None:
    outcome = simulated(EDF(), pencil(), (0.0, 20, 900.0), (1.0, 10, 100.0), (5.0, 5, 10.0))
    assert ran(outcome) == [
        (0.0, 4.0, (0,), False),
        (4.0, 6.0, (1,), False),
        (6.0, 11.0, (2,), True),
        (11.0, 19.0, (1,), True),
        (19.0, 35.0, (0,), True),
    ]
    assert outcome.ledger.preemptions == [1, 1, 0]


def test_arrivals_during_a_decision_are_looked_at_by_it() -> None:
    outcome = simulated(FCFS(), pencil(decision=lambda n: 1.0), (0.0, 2, 9.0), (0.5, 3, 9.0), (4.0, 1, 9.0))
    (log,) = outcome.logs
    assert ran(outcome) == [(1.0, 6.0, (0, 1), True), (7.0, 8.0, (2,), True)]
    assert (log.decisions, log.control_s) == (2, 2.0)


def test_a_completion_during_a_decision_is_seen_by_it() -> None:
    outcome = simulated(EDF(), pencil(decision=lambda n: 4.0), (0.0, 10, 1000.0), (11.0, 1, 10.0))
    (log,) = outcome.logs
    assert ran(outcome) == [(4.0, 14.0, (0,), True), (15.0, 16.0, (1,), True)]
    assert log.blocking_s == []


def test_arrivals_before_the_acknowledgement_wait_for_it_and_share_a_decision() -> None:
    rows = [*URGENT, (4.5, 1, 5.0), (5.0, 1, 4.0)]
    outcome = simulated(EDF(), pencil(acknowledge_s=2.0), *rows)
    (log,) = outcome.logs
    # Signalled at 3, stopped at 4, acknowledged at 6, when the chosen one starts although two more urgent ones
    # are there; the next decision, at once, signals it in turn: cut at 6.2, acknowledged at 8.2. Completions are known
    # 2 s after they happen.
    assert [(round(begin, 9), round(end, 9), *rest) for begin, end, *rest in ran(outcome)] == [
        (0.0, 4.0, (0,), False),
        (6.0, 6.2, (1,), False),
        (8.2, 9.2, (3,), True),
        (11.2, 12.2, (2,), True),
        (14.2, 15.0, (1,), True),
        (17.0, 23.0, (0,), True),
    ]
    assert log.blocking_s == pytest.approx([3.0, 2.2])
    assert log.decisions == 6


def test_simultaneous_arrivals_are_decided_on_together_and_ties_go_by_id() -> None:
    outcome = simulated(EDF(), pencil(), *[(1.0, 2, 50.0)] * 3)
    (log,) = outcome.logs
    assert ran(outcome) == [(1.0, 3.0, (0,), True), (3.0, 5.0, (1,), True), (5.0, 7.0, (2,), True)]
    assert log.decisions == 3


def test_without_cuts_nothing_is_decided_while_a_pass_runs() -> None:
    outcome = simulated(FCFS(), pencil(), (0.0, 10, 99.0), (1.0, 1, 99.0), (2.0, 1, 99.0))
    (log,) = outcome.logs
    assert ran(outcome) == [(0.0, 10.0, (0,), True), (10.0, 12.0, (1, 2), True)]
    assert log.decisions == 2


def test_waking_at_cuts_decides_at_each_and_only_there() -> None:
    outcome = simulated(EDF(cut="layer", wake="cuts"), pencil(layers=3, decision=lambda n: 0.5), *URGENT)
    (log,) = outcome.logs
    # A layer takes 10 s; each cut costs a decision; the urgent request waits from 3 until the cut is decided on.
    assert ran(outcome) == [
        (0.5, 10.5, (0,), False),
        (11.0, 12.0, (1,), False),
        (12.5, 13.5, (1,), False),
        (14.0, 15.0, (1,), False),
        (15.5, 15.5, (1,), True),
        (16.0, 26.0, (0,), False),
        (26.5, 36.5, (0,), False),
        (37.0, 37.0, (0,), True),
    ]
    assert log.blocking_s == [8.0]
    assert log.decisions == 8
    assert log.busy_s == 33.0


# Limits.


def test_a_request_that_lacks_kv_blocks_is_not_overtaken_by_a_smaller_one() -> None:
    rows = [(0.0, 6, 9.0), (1.0, 8, 20.0), (2.0, 2, 90.0)]
    for policy, last_s in [(EDF(), 14.0), (FCFS(1), 14.0), (FlowPrefill(), 6.0), (Chunked(100), 6.0)]:
        outcome = simulated(policy, pencil(), *rows, kv_tokens=10)
        assert outcome.ledger.started_s == [0.0, 6.0, last_s]


def test_whole_blocks_are_counted() -> None:
    # Two prompts of 9 tokens take 3 blocks of 4 each; 5 blocks (of 23 tokens) are not enough.
    rows = [(0.0, 9, 99.0), (0.0, 9, 99.0)]
    assert simulated(FCFS(), pencil(), *rows, kv_tokens=23, block_tokens=4).ledger.started_s == [0.0, 9.0]
    assert simulated(FCFS(), pencil(), *rows, kv_tokens=24, block_tokens=4).ledger.started_s == [0.0, 0.0]


def test_paused_passes_keep_their_kv_blocks() -> None:
    outcome = simulated(EDF(), pencil(), (0.0, 10, 1000.0), (1.0, 5, 10.0), kv_tokens=14)
    assert outcome.ledger.started_s == [0.0, 10.0]


def test_slots_limit_the_passes_begun() -> None:
    rows = [(0.0, 20, 900.0), (1.0, 10, 100.0), (5.0, 5, 10.0)]
    assert simulated(EDF(), pencil(), *rows, slots=1).ledger.started_s == [0.0, 25.0, 20.0]
    assert simulated(EDF(), pencil(), *rows, slots=2).ledger.started_s == [0.0, 4.0, 14.0]
    assert simulated(EDF(), pencil(), *rows, slots=3).ledger.started_s == [0.0, 4.0, 6.0]


def test_a_prompt_that_can_never_fit_is_rejected() -> None:
    outcome = simulated(FCFS(), pencil(), (0.0, 11, 9.0), (0.0, 10, 9.0), kv_tokens=10)
    assert outcome.ledger.rejected == [True, False]
    assert outcome.ledger.finished_s[1] == 10.0
    assert math.isnan(outcome.ledger.started_s[0])
