"""How each metric of a run is defined, on results that can be counted by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from flowsim.core.ledger import Log
from support.results import NEVER, by_hand


def test_one_request_met_on_the_dot_counts_and_one_just_late_does_not() -> None:
    late = math.nextafter(2.0, 3.0)
    assert by_hand([0, 0], [2.0, late], [2.0, 2.0]).attained.tolist() == [True, False]


def test_rejected_and_unfinished_requests_have_missed() -> None:
    assert by_hand([0, 0, 0], [1, NEVER, NEVER], [5, 5, 5], rejected=[1], stopped_s=1.0).summary["attainment"] == 1 / 3


def test_requests_without_an_slo_count_neither_way() -> None:
    result = by_hand([0, 1, 2], [1, 2, 9], [2, NEVER, 2])
    assert (result.summary["attainment"], result.summary["without_slo"]) == (0.5, 1)
    assert result.summary["goodput_rps"] == 0.5 * 1.0 * 2 / 3  # 2 of the 3 requests have an SLO


def test_goodput_does_not_depend_on_how_long_the_queue_takes_to_drain() -> None:
    for last_s in (3, 21, 2000):
        summary = by_hand([0, 1, 2], [1, 2, last_s], [5, 5, 0.5]).summary
        assert summary["goodput_rps"] == 2 / 3 * summary["offered_rps"]
        assert summary["attained_with_drain_rps"] == summary["attained_observed_rps"] == 2 / last_s


def test_goodput_never_exceeds_what_was_offered() -> None:
    """Five requests a second apart, all in time: 1 a second, neither 5 in 4 s nor 5 in 5 s."""
    summary = by_hand(range(5), [s + 0.001 for s in range(5)], [1] * 5).summary
    assert summary["goodput_rps"] == summary["offered_rps"] == 1.0


def test_goodputs_of_classes_add_up_whatever_a_warmup_or_a_stop_leaves_out() -> None:
    """One request a second, 8 in all. With a quarter as warm-up, at 8 s the last of b is undecided.

    Of the 5 that count, 3 attain: 1 of the 3 of a, and both of b.
    """
    finished = [1, 2, 3, 9, 9, 6, 7, NEVER]
    result = by_hand(range(8), finished, [2] * 8, list("aaaaabbb"), stopped_s=8.0, cut_off=True)
    summary = replace(result, warmup=0.25).summary
    a, b = summary["classes"]["a"], summary["classes"]["b"]
    assert (summary["counted"], summary["undecided"]) == (5, 1)
    assert [of["goodput_rps"] for of in (summary, a, b)] == pytest.approx([3 / 5, 1 / 5, 2 / 5])
    assert [of["attainment"] for of in (a, b)] == [1 / 3, 1]


def test_attained_requests_of_other_spans_have_their_own_names() -> None:
    summary = by_hand([0, 1, 90], [1, 21, NEVER], [5, 5, 5], stopped_s=100.0, cut_off=True).summary
    assert (summary["attained_with_drain_rps"], summary["attained_observed_rps"]) == (1 / 21, 1 / 100)
    assert summary["goodput_rps"] == pytest.approx(1 / 3 * 2 / 90)


def test_what_a_stop_leaves_undecided_is_in_no_denominator() -> None:
    """At 10 s: met; past its deadline; on its deadline to the instant, and before it: nobody knows."""
    result = by_hand([0, 1, 5, 9], [1] + [NEVER] * 3, [5, 5, 5, 5], stopped_s=10.0, cut_off=True)
    assert result.counted.tolist() == [True, True, False, False]
    summary = result.summary
    assert (summary["attainment"], summary["undecided"], summary["counted"]) == (0.5, 2, 2)
    assert summary["requests"] == summary["counted"] + summary["undecided"]


def test_a_request_that_the_policy_left_behind_for_good_is_decided() -> None:
    """The replay ended by itself, before its deadline: it never gets a first token."""
    result = by_hand([0, 1], [2, NEVER], [5, 5], stopped_s=2.0)
    assert (result.summary["attainment"], result.summary["undecided"]) == (0.5, 0)
    assert result.ttft(1) == math.inf


def test_every_request_is_counted_or_told_why_not() -> None:
    result = by_hand([0, 1, 2, 3], [1, 2, 3, NEVER], [5, NEVER, 5, 5], stopped_s=4.0, cut_off=True)
    summary = replace(result, warmup=0.25).summary
    assert [summary[name] for name in ("in_warmup", "without_slo", "undecided", "counted")] == [1, 1, 1, 1]


def test_requests_that_never_get_a_first_token_are_beyond_all_that_is_known() -> None:
    rejected = by_hand([0, 0], [NEVER, 3], [1, 5], rejected=[0]).summary
    assert (rejected["ttft_s"]["max"], rejected["ttft_exceeds_s"]["max"]) == (None, 3.0)
    stopped = by_hand([0, 1, 2, 3], [1, NEVER, NEVER, 5], [1] * 4, rejected=[2], stopped_s=9.0, cut_off=True).summary
    assert stopped["ttft_s"] == {"mean": None, "p50": None, "p90": None, "p99": None, "max": None}
    known = pytest.approx({"mean": 19 / 4, "p50": 5.0, "p90": 8.0, "p99": 8.0, "max": 8.0})
    assert stopped["ttft_exceeds_s"] == known  # of 1, 2, 8 from arrival to the stop, and of the rejected one also 8
    nothing = by_hand([0], [NEVER], [1], rejected=[0]).summary
    assert (nothing["ttft_s"]["max"], nothing["ttft_exceeds_s"]["max"]) == (None, None)


def test_utilization_counts_the_time_after_the_last_completion_of_a_run_that_was_stopped() -> None:
    """A pass that is cut off has used the device, so its time belongs to both sides of the ratio."""
    stopped = by_hand([0, 0], [1, NEVER], [5, 5], logs=[Log(busy_s=10.0)], stopped_s=10.0)
    assert stopped.summary["utilization"] == 1.0
    finished = by_hand([0, 0], [1, 4], [5, 5], logs=[Log(busy_s=3.0)], stopped_s=10.0)
    assert finished.summary["utilization"] == 0.75


def test_nothing_finished() -> None:
    result = by_hand([0, 2], [NEVER, NEVER], [1, 1], started_s=[NEVER, NEVER], stopped_s=6.0)
    summary = result.summary
    assert (summary["attainment"], summary["goodput_rps"], summary["span_s"]) == (0.0, 0.0, 6.0)
    assert set(summary["ttft_s"].values()) == {None}
    assert set(summary["blocking_s"].values()) == {None}
    assert (summary["longest_wait_s"], summary["utilization"]) == (6.0, 0.0)
    assert result.ttft(0.5) == math.inf


def test_nothing_counts() -> None:
    result = by_hand([0], [1], [NEVER])
    assert math.isnan(result.ttft(0.5))
    assert result.summary["goodput_rps"] is None


def test_requests_of_one_instant_offer_no_rate_and_so_no_goodput() -> None:
    for n in (1, 3):
        summary = by_hand([0] * n, [1] * n, [1] * n).summary
        assert (summary["attainment"], summary["offered_rps"], summary["goodput_rps"]) == (1.0, None, None)
        assert summary["attained_observed_rps"] == n


def test_without_any_slo_there_is_no_attainment() -> None:
    assert by_hand([0], [1], [NEVER]).summary["attainment"] is None
    assert repr(by_hand([0], [1], [NEVER])) == "RunResult(fcfs: 1 request, - attained)"


def test_a_run_that_goes_on_rejecting_is_observed_until_its_last_rejection() -> None:
    served = by_hand([0, 5, 9], [1, NEVER, NEVER], [1, 1, 1], rejected=[1, 2], logs=(Log(busy_s=1.0),))
    assert served.summary["span_s"] == 9
    assert served.summary["utilization"] == pytest.approx(1 / 9)
    assert served.summary["attained_observed_rps"] == pytest.approx(1 / 9)
    assert served.summary["attained_with_drain_rps"] == 1


def test_a_share_that_is_a_difference_of_times_is_never_below_zero() -> None:
    result = by_hand([0, 1], [1, 2], [5, 5], logs=[Log(busy_s=1.0, check_s=-2e-18)])
    assert result.summary["check_share"] == 0.0
