"""How each metric of a run is defined, on results that can be counted by hand."""

from __future__ import annotations

import math

import numpy as np

from flowsim.core.ledger import Log
from flowsim.results.metrics import quantiles
from support.results import NEVER, by_hand


def test_one_request_met_on_the_dot_counts_and_one_just_late_does_not() -> None:
    late = math.nextafter(2.0, 3.0)
    assert by_hand([0, 0], [2.0, late], [2.0, 2.0]).attained.tolist() == [True, False]


def test_rejected_and_unfinished_requests_have_missed() -> None:
    assert by_hand([0, 0, 0], [1, NEVER, NEVER], [5, 5, 5], rejected=[1], stopped_s=1.0).summary["attainment"] == 1 / 3


def test_requests_without_an_slo_count_neither_way() -> None:
    result = by_hand([0, 1, 2], [1, 2, 9], [2, NEVER, 2])
    assert (result.summary["attainment"], result.summary["without_slo"]) == (0.5, 1)
    assert result.summary["goodput_rps"] == 1 / 9


def test_goodput_is_over_first_arrival_to_last_completion_whoever_completes_last() -> None:
    assert by_hand([0, 1], [1, 21], [5, 5]).summary["goodput_rps"] == 1 / 21
    assert by_hand([0, 1, 90], [1, 21, NEVER], [5, 5, 5], stopped_s=90.0).summary["goodput_rps"] == 1 / 21


def test_utilization_counts_the_time_after_the_last_completion_of_a_run_that_was_stopped() -> None:
    """A pass that is cut off has used the device, so its time belongs to both sides of the ratio."""
    stopped = by_hand([0, 0], [1, NEVER], [5, 5], logs=[Log(busy_s=10.0)], stopped_s=10.0)
    assert stopped.summary["utilization"] == 1.0
    finished = by_hand([0, 0], [1, 4], [5, 5], logs=[Log(busy_s=3.0)], stopped_s=10.0)
    assert finished.summary["utilization"] == 0.75


def test_nothing_finished() -> None:
    result = by_hand([0, 2], [NEVER, NEVER], [1, 1], started_s=[NEVER, NEVER], stopped_s=6.0)
    summary = result.summary
    assert (summary["attainment"], summary["goodput_rps"], summary["span_s"]) == (0.0, 0.0, 0.0)
    assert set(summary["ttft_s"].values()) == {None}
    assert set(summary["blocking_s"].values()) == {None}
    assert (summary["longest_wait_s"], summary["utilization"]) == (6.0, 0.0)
    assert math.isnan(result.ttft(0.5))


def test_a_single_request_offers_no_rate() -> None:
    assert by_hand([0], [1], [1]).summary["offered_rps"] is None


def test_without_any_slo_there_is_no_attainment() -> None:
    assert by_hand([0], [1], [NEVER]).summary["attainment"] is None
    assert repr(by_hand([0], [1], [NEVER])) == "RunResult(fcfs: 1 requests, - attained)"


def test_quantiles_interpolate_and_pass_over_what_never_was() -> None:
    assert quantiles(np.array([4.0, NEVER, 1.0]), (50, 90)) == {"mean": 2.5, "p50": 2.5, "p90": 3.7, "max": 4.0}
    assert quantiles(np.array([NEVER]), (50,)) == {"mean": None, "p50": None, "max": None}
