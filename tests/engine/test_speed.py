"""Passes on a simulated GPU that is faster when it has rested, with a pencil."""

from __future__ import annotations

import math
from typing import Any

import pytest

from flowsim.calibration.costs.cost_model import CostModel, GraphCost
from flowsim.calibration.costs.power import PowerModel
from flowsim.core.events import Stretch, stretches
from flowsim.core.request import Request
from flowsim.core.server import ServerOptions
from flowsim.engine.simulate import Outcome
from flowsim.policies.edf import EDF
from flowsim.policies.fcfs import FCFS
from support.costs import pencil
from support.timelines import replay_exactly

# A token takes a second on a busy GPU, and half of it on a rested one; use halves its distance every 10 s.

HALVING = PowerModel(10 / math.log(2), 0.5, lambda tokens: 1.0)


def run(policy: Any, *rows: tuple[float, int, float], cost: Any = None, **limits: Any) -> Outcome:
    cost = cost or pencil(boost=HALVING)
    server = ServerOptions(**{"block_tokens": 1, **limits})
    requests = [Request(i, *row) for i, row in enumerate(rows)]
    return replay_exactly(requests, policy, cost, server, events=True)


def ran(outcome: Outcome) -> list[Stretch]:
    """The stretches of execution on the only instance."""
    assert outcome.events is not None
    return stretches(outcome.events[0])


def near(*expected: tuple[float, float, tuple[int, ...], bool]) -> list[tuple[Any, ...]]:
    return [(pytest.approx(begin), pytest.approx(end), ids, done) for begin, end, ids, done in expected]


def test_a_pass_on_a_idle_gpu_slows_down_when_its_use_reaches_the_threshold() -> None:
    """Use is 0.5 after 10 s, when 20 tokens are done; then the speed is 1 + 2 ** (-t / 10): in 10 s 10 + 5 / ln 2."""
    cost = pencil(boost=HALVING, head_s=5 / math.log(2))
    outcome = run(FCFS(), (0.0, 30, math.inf), cost=cost)
    assert ran(outcome) == near((0.0, 20.0, (0,), True))
    assert outcome.logs[0].busy_s == outcome.ledger.service_s[0] == pytest.approx(20.0)


def test_a_pass_after_a_pause_has_what_the_pause_gave_back() -> None:
    """Use: 0.5 at 10 s, 0.25 at 20 s; 0.5 again 10 * log2(1.5) s later; 0.75 10 s later; 0.5 after such a pause."""
    climb_s = 10 * math.log2(1.5)
    held_s = 10 + 5 / math.log(2)  # of work, in 10 s from 0.5 on
    work_s = {1: 20.0, 2: 2 * climb_s + held_s, 3: held_s}
    cost = CostModel("by label", 1, {"down_proj": work_s.__getitem__}, lambda tokens, context: 0.0, boost=HALVING)
    third_s = 30 + 2 * climb_s
    outcome = run(FCFS(), (0.0, 1, math.inf), (20.0, 2, math.inf), (third_s, 3, math.inf), cost=cost)
    assert ran(outcome) == near(
        (0.0, 10.0, (0,), True), (20.0, 30 + climb_s, (1,), True), (third_s, third_s + 10, (2,), True)
    )
    assert outcome.logs[0].busy_s == pytest.approx(30 + climb_s)


def test_a_preempted_pass_goes_on_at_the_speed_that_is_left() -> None:
    """Cuts every 2 s of a busy GPU, so every second: stopped at 2 s; the urgent token 0.5 s; the rest 3 s."""
    outcome = run(EDF(), (0.0, 10, 1000.0), (1.5, 1, 10.0))
    (log,) = outcome.logs
    assert ran(outcome) == near((0.0, 2.0, (0,), False), (2.0, 2.5, (1,), True), (2.5, 5.5, (0,), True))
    assert log.blocking_s == [pytest.approx(0.5)]
    assert outcome.ledger.service_s == [pytest.approx(5.0), pytest.approx(0.5)]
    assert log.busy_s == pytest.approx(5.5)


def test_checks_are_no_device_work_and_count_as_they_did() -> None:
    """Five segments of 1 s with a check of 1 s each, and the check of the read-out, which comes in any case.

    So the device works for 5 of 11 s, and what its use tends to is below the threshold.
    """
    boost = PowerModel(10 / math.log(2), 0.6, lambda tokens: 1.0)
    outcome = run(EDF(), (0.0, 5, math.inf), cost=pencil(boost=boost, check_s=1.0))
    (log,) = outcome.logs
    assert log.busy_s == pytest.approx(11 / (1 + 5 / 11))
    assert log.check_s == pytest.approx(5 / (1 + 5 / 11))


def test_the_gain_is_that_of_a_forward_of_the_pass() -> None:
    """Twenty tokens in forwards of five: the gain of five, though the pass is longer."""
    boost = PowerModel(1e9, 0.5, lambda tokens: tokens / 10)
    assert run(FCFS(), (0.0, 20, math.inf), cost=pencil(boost=boost), max_batched_tokens=5).ledger.finished_s == [
        pytest.approx(20 / 1.5)
    ]


def recording(seconds: float) -> GraphCost:
    """Recorded forwards that take this many seconds on a busy GPU, whatever their size."""
    return GraphCost(128, lambda tokens: seconds, lambda tokens: 0.0, lambda tokens: 0.0)


@pytest.mark.parametrize(("rows", "ends"), [([1], 5.0), ([64], 5.0), ([65], 10.0), ([129], 86.0)])
def test_a_recorded_forward_gains_what_its_recording_does(rows: list[int], ends: float) -> None:
    """Twice as fast as a recording of 64 tokens, as ever as one of 128; launched (129 tokens), half again as fast."""
    boost = PowerModel(1e9, 0.5, lambda tokens: 0.5, {64: 1.0, 128: 0.0}.__getitem__)
    cost = pencil(boost=boost, graph=recording(10.0))
    assert run(FCFS(), (0.0, rows[0], math.inf), cost=cost, graph_tokens=128).ledger.finished_s == [pytest.approx(ends)]


def test_recordings_of_which_no_gain_is_known_gain_as_forwards_do() -> None:
    cost = pencil(boost=PowerModel(1e9, 0.5, lambda tokens: tokens / 64), graph=recording(10.0))
    assert run(FCFS(), (0.0, 32, math.inf), cost=cost, graph_tokens=128).ledger.finished_s == [pytest.approx(10 / 1.5)]


def test_a_simulation_that_ends_early_counts_real_time() -> None:
    requests = [Request(0, 0.0, 10, math.inf)]
    cost = pencil(boost=HALVING)
    outcome = replay_exactly(requests, FCFS(), cost, until_s=3.0, events=True)
    assert outcome.logs[0].busy_s == pytest.approx(3.0)
    assert ran(outcome) == near((0.0, 3.0, (0,), False))


def test_a_policy_that_wakes_at_cuts_stops_at_each() -> None:
    outcome = run(EDF(cut="layer", wake="cuts"), (0.0, 10, math.inf), cost=pencil(layers=2, boost=HALVING))
    (log,) = outcome.logs
    ends = (10.0, 10.0, (0,), True)  # the head, which is free here
    assert ran(outcome) == near((0.0, 5.0, (0,), False), (5.0, 10.0, (0,), False), ends)
    assert log.busy_s == pytest.approx(10.0)
