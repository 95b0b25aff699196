"""Differences of two policies on the same requests, and whether they differ at all."""

from __future__ import annotations

import math

import numpy as np
import pytest

from flowsim.results.differences import Difference, ServedTrace, alike, decisions_sha256, difference_rows, holm
from support.results import NEVER, by_hand


def served(ttft_s: list[float], counted: list[bool] | None = None, offered_rps: float | None = 2.0) -> ServedTrace:
    times = np.array(ttft_s, float)
    return ServedTrace(np.array(counted or [True] * times.size), times <= 1, times, offered_rps)


def test_differences_are_over_the_requests_that_count_under_both() -> None:
    ours = served([0.5] * 30 + [9.0] * 10, [True] * 39 + [False])
    theirs = served([0.5] * 20 + [5.0] * 20, [False] * 10 + [True] * 30)
    difference = Difference(ours, theirs)
    assert difference.attainment.n == 29
    assert difference.attainment.mean == pytest.approx(20 / 29 - 10 / 29)
    assert difference.goodput_rps.mean == pytest.approx(2 * 10 / 29)
    assert difference.ttft_s["p50"].mean == pytest.approx(0.5 - 5.0)


def test_a_request_that_is_never_answered_is_later_than_all() -> None:
    difference = Difference(served([0.5] * 80 + [math.inf] * 20), served([0.5] * 100))
    assert difference.ttft_s["p50"].mean == 0
    assert math.isnan(difference.ttft_s["p90"].mean) and math.isnan(difference.ttft_s["p99"].low)
    assert difference.attainment.mean == pytest.approx(-0.2)


def test_without_a_rate_goodput_has_no_difference() -> None:
    difference = Difference(served([0.5] * 40, offered_rps=None), served([2.0] * 40, offered_rps=None))
    assert math.isnan(difference.goodput_rps.mean) and difference.attainment.mean == 1


def test_the_same_attainment_request_by_request_has_no_interval_and_no_significance() -> None:
    difference = Difference(served([0.5, 2.0] * 40), served([0.6, 3.0] * 40))
    assert difference.attainment.mean == 0 and math.isnan(difference.attainment.low)
    assert (difference.p_value, difference.stretches["attainment"]) == (1.0, 0.0)


def test_none_that_count_under_both_are_no_difference() -> None:
    difference = Difference(served([1.0] * 3, [True, False, False]), served([1.0] * 3, [False, True, True]))
    assert math.isnan(difference.attainment.mean) and math.isnan(difference.ttft_s["p50"].mean)
    assert all(row["few"] for row in difference.rows())


def test_intervals_are_of_the_pairs_and_seeded() -> None:
    rng = np.random.default_rng(0)
    shared = rng.exponential(1, 4000)
    ours, theirs = served(list(0.8 * shared)), served(list(shared))
    apart = Difference(served(list(0.8 * rng.exponential(1, 4000))), theirs).attainment
    pair = Difference(ours, theirs, seed=4).attainment
    assert 0 < pair.low < pair.mean < pair.high < 1
    assert pair.high - pair.low < 0.7 * (apart.high - apart.low)
    assert pair == Difference(ours, theirs, seed=4).attainment
    rows = {row["metric"]: row for row in Difference(ours, theirs).rows()}
    assert list(rows) == ["attainment", "goodput_rps", "ttft_p50_s", "ttft_p90_s", "ttft_p99_s"]
    assert not rows["attainment"]["few"] and not rows["ttft_p50_s"]["few"]


def test_several_policies_are_compared_by_holms_method() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
    rng = np.random.default_rng(1)
    waits = rng.exponential(1, 500)
    rows = difference_rows(
        {"a": served(list(waits)), "b": served(list(0.7 * waits)), "c": served(list(1.01 * waits))}, "a"
    )
    of = {row["policy"]: row for row in rows if row["metric"] == "attainment"}
    assert list(of) == ["b", "c"]
    assert of["b"]["p_holm"] == pytest.approx(2 * of["b"]["p"])
    assert of["c"]["p_holm"] == max(of["c"]["p"], of["b"]["p_holm"])


def test_a_request_that_only_one_of_the_two_counts_is_in_no_difference() -> None:
    attained = np.array([True, False, True])
    ours = ServedTrace(np.array([True, True, False]), attained, np.ones(3), 1.0)
    theirs = ServedTrace(np.array([True, True, True]), np.array([True, True, False]), np.ones(3), 1.0)
    rows = difference_rows({"a": theirs, "b": ours}, "a")
    assert {(row["n"], row["unpaired"]) for row in rows if row["metric"] == "attainment"} == {(2, 1)}
    assert rows[0]["mean"] == pytest.approx(-0.5)


def test_policies_that_decided_alike_are_found() -> None:
    arrival_s, slo_s = [0.0, 1.0, 2.0], [1.0, 1.0, 1.0]
    one = by_hand(arrival_s, [0.5, 1.5, NEVER], slo_s)
    other = by_hand(arrival_s, [0.5, 1.5, NEVER], slo_s, policy="edf")
    later = by_hand(arrival_s, [0.5, 1.6, NEVER], slo_s)
    made = {name: decisions_sha256(result) for name, result in {"a": one, "b": later, "c": other}.items()}
    assert alike(made) == [("a", "c")]
    assert alike({}) == []
