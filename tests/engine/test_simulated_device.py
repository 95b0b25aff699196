"""Where a pass stops, and what stopping and going on take."""

from __future__ import annotations

from typing import Any

import pytest

from flowsim.policies.edf import EDF
from support.costs import pencil
from support.timelines import URGENT, ran, simulated


@pytest.mark.parametrize(
    ("cut", "stop"), [("operator", 4.0), ("block", 6.0), ("layer", 10.0), ("chunk", 8.0), ("none", None)]
)
def test_a_pass_stops_at_the_next_cut_of_its_level(cut: Any, stop: float | None) -> None:
    outcome = simulated(EDF(cut=cut), pencil(layers=2), *URGENT, max_batched_tokens=4 if cut == "chunk" else 8192)
    (log,) = outcome.logs
    if stop is None:
        assert ran(outcome) == [(0.0, 20.0, (0,), True), (20.0, 22.0, (1,), True)]
        assert (log.blocking_s, outcome.ledger.preemptions) == ([], [0, 0])
        return
    assert ran(outcome) == [
        (0.0, stop, (0,), False),
        (stop, stop + 2, (1,), True),
        (stop + 2, 22.0, (0,), True),
    ]
    assert log.blocking_s == [stop - 3]
    assert outcome.ledger.preemptions == [1, 0]
    assert outcome.ledger.started_s == [0.0, stop]
    assert outcome.ledger.finished_s == [22.0, stop + 2]
    assert outcome.ledger.service_s == [20.0, 2.0]


@pytest.mark.parametrize(("arrival", "stop"), [(3.0, 4.0), (4.0, 4.0), (9.5, 10.0), (10.0, 10.0), (10.5, 12.0)])
def test_a_cut_at_the_very_moment_of_the_signal_still_counts(arrival: float, stop: float) -> None:
    outcome = simulated(EDF(), pencil(layers=2), (0.0, 10, 1000.0), (arrival, 1, 10.0))
    assert outcome.logs[0].blocking_s == [stop - arrival]


def test_under_tensor_parallelism_one_more_whole_segment_runs() -> None:
    outcome = simulated(EDF(), pencil(layers=2, tp=2), *URGENT)
    (log,) = outcome.logs
    assert ran(outcome) == [(0.0, 6.0, (0,), False), (6.0, 8.0, (1,), True), (8.0, 22.0, (0,), True)]
    assert log.blocking_s == [3.0]


@pytest.mark.parametrize(
    ("tp", "arrival", "stop"),
    [
        (1, 2.00005, 2.25),  # signalled at 2.25005: the runner is still at its check, for the scheduler was thinking
        (1, 2.0002, 4.25),  # signalled at 2.2502: it has waited for SWITCH_S, 0.1 ms, and gone on
        (2, 2.00005, 6.25),  # ranks share no interpreter: what is left of the segment, and one more whole one
    ],
)
def test_a_runner_at_a_check_waits_for_the_scheduler_a_little(tp: int, arrival: float, stop: float) -> None:
    cost = pencil(tp=tp, decision=lambda seen: 0.25)
    outcome = simulated(EDF(), cost, (0.0, 10, 1000.0), (arrival, 1, 10.0))
    (log,) = outcome.logs
    assert ran(outcome)[0] == (0.25, stop, (0,), False)
    assert log.blocking_s == [pytest.approx(max(stop - arrival - 0.25, 0.0))]


def test_check_acknowledgement_resumption_and_decision_take_their_time() -> None:
    cost = pencil(check_s=0.5, acknowledge_s=0.25, resume_s=0.75, decision=lambda requests: 0.125 * requests)
    outcome = simulated(EDF(), cost, (0.0, 10, 1000.0), (3.0, 5, 20.0))
    (log,) = outcome.logs
    # One request looked at: told at 0.125, launched at 0.875. A segment takes 2.5 s, so cuts lie at 3.375, 5.875, ...
    # Two looked at: signalled at 3.25, stopped at 3.375, acknowledged at 3.625; launched at 4.375.
    # Five segments of 1 + 0.5 and the read-out's check: done at 12.375, known at 12.625; one looked at; 0.75 to resume.
    # Left of the first: 4 segments of 2.5 and a check.
    assert ran(outcome) == [
        (0.875, 3.375, (0,), False),
        (4.375, 12.375, (1,), True),
        (13.5, 24.0, (0,), True),
    ]
    assert log.blocking_s == [3.625 - 3.25]
    assert outcome.ledger.started_s == [0.125, 3.625]
    assert outcome.ledger.finished_s == [24.0, 12.375]
    assert (log.busy_s, log.check_s, log.control_s, log.decisions) == (21.0, 5.0, 0.5, 3)


def test_past_its_last_cut_a_pass_completes_instead() -> None:
    outcome = simulated(EDF(cut="layer"), pencil(head_s=5.0), (0.0, 10, 1000.0), (12.0, 1, 10.0))
    (log,) = outcome.logs
    assert ran(outcome) == [(0.0, 15.0, (0,), True), (15.0, 21.0, (1,), True)]
    assert log.blocking_s == [3.0]
    assert outcome.ledger.preemptions == [0, 0]


def test_a_resumed_pass_runs_at_least_one_segment() -> None:
    # The second urgent request arrives while the patient pass is being resumed.
    outcome = simulated(EDF(), pencil(resume_s=1.0), *URGENT, (5.5, 1, 10.0))
    (log,) = outcome.logs
    assert ran(outcome) == [
        (1.0, 3.0, (0,), False),
        (4.0, 5.0, (1,), True),
        (6.0, 8.0, (0,), False),
        (9.0, 10.0, (2,), True),
        (11.0, 17.0, (0,), True),
    ]
    assert log.blocking_s == [0.0, 2.5]


def test_a_pass_proceeds_at_a_cut_sooner_than_another_begins() -> None:
    """Ten tokens proceed 0.125 s after each stop, five 0.0625 s; another pass begins 0.25 + 0.25 + 0.75 s after it."""
    costs: dict[str, Any] = {"check_s": 0.5, "acknowledge_s": 0.25, "resume_s": 0.75, "proceed": lambda n: n / 80}
    cost = pencil(decision=lambda requests: 0.125 * requests, **costs)
    outcome = simulated(EDF(wake="cuts"), cost, (0.0, 10, 1000.0), (3.0, 5, 20.0))
    assert ran(outcome) == [
        (0.875, 3.375, (0,), False),
        *((4.625 + k * 1.5625, 6.125 + k * 1.5625, (1,), False) for k in range(5)),
        (12.4375, 12.9375, (1,), True),
        *((14.0625 + k * 2.625, 16.5625 + k * 2.625, (0,), False) for k in range(4)),
        (24.5625, 25.0625, (0,), True),
    ]
