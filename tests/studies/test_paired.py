"""Paired differences over replications: literals, SciPy's answers, coverage, and who is ahead how often."""

from __future__ import annotations

import math

import numpy as np
import pytest

from flowsim.studies.paired import bca_interval, lowest_p, paired, paired_ratio, sign_test, t_interval


def test_t_interval_of_three() -> None:
    interval = t_interval([1.0, 2.0, 3.0])
    assert interval.mean == 2
    assert interval.high - 2 == pytest.approx(4.302653 / math.sqrt(3), abs=1e-6)
    assert (interval.high + interval.low, interval.n) == (pytest.approx(4), 3)
    assert str(interval) == "2 [-0.484, 4.48]"
    assert t_interval([1.0, math.nan, 3.0]).n == 2


def test_one_value_has_no_interval_and_none_no_mean() -> None:
    one = t_interval([5.0])
    assert (one.mean, one.n, math.isnan(one.low), str(one)) == (5, 1, True, "5")
    assert math.isnan(t_interval([]).mean)


def test_t_intervals_cover_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(0)
    covered = [(i := t_interval(rng.normal(7, 2, 6))).low <= 7 <= i.high for _ in range(2000)]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)


def test_pairing_removes_what_replications_share() -> None:
    shared = np.random.default_rng(5).normal(0, 10, 8)
    interval = paired(shared + 1, shared).interval
    assert (interval.mean, interval.low, interval.high) == pytest.approx((1, 1, 1))


def test_intervals_are_those_of_scipy() -> None:
    from scipy import stats

    rng = np.random.default_rng(3)
    ours, theirs = rng.normal(5, 1, 9), rng.normal(4, 1, 9)
    for interval, reference in (
        (t_interval(ours), stats.ttest_1samp(ours, 0).confidence_interval()),
        (t_interval(ours, 0.8), stats.ttest_1samp(ours, 0).confidence_interval(0.8)),
        (paired(ours, theirs).interval, stats.ttest_rel(ours, theirs).confidence_interval()),
    ):
        assert (interval.low, interval.high) == pytest.approx((reference.low, reference.high))


def test_intervals_of_paired_differences_and_ratios_cover_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(6)
    plus, times = [], []
    for _ in range(2000):
        shared, noise = rng.lognormal(2, 0.5, 8), rng.normal(0, 0.1, 8)
        plus.append((i := paired(shared + 3 + noise, shared).interval).low <= 3 <= i.high)
        times.append((i := paired_ratio(shared * 1.7 * np.exp(noise), shared).interval).low <= 1.7 <= i.high)
    assert np.mean(plus) == pytest.approx(0.95, abs=0.015)
    assert np.mean(times) == pytest.approx(0.95, abs=0.015)


def test_a_ratio_to_nothing_is_not_known() -> None:
    assert math.isnan(paired_ratio([1.0, 2.0], [0.0, 1.0]).interval.mean)
    pair = paired_ratio([2.0, math.nan, 8.0], [1.0, 1.0, 1.0]).interval
    assert (pair.mean, pair.n) == (pytest.approx(4), 2)


WINDOWS = [0.4, 61.3, 0.9, 2.2, 98.7, 33.1, 0.2, 1.6]
"""How far ahead a policy is in eight windows, % points: always, and by much in three of them."""


def test_ahead_in_eight_of_eight_windows_is_told_where_the_interval_holds_zero() -> None:
    pair = paired(np.zeros(8), WINDOWS)
    assert pair.interval.low < 0 < pair.interval.high
    assert (pair.higher, pair.lower) == (0, 8)
    assert pair.p == pytest.approx(2 / 2**8) == pytest.approx(0.0078, abs=1e-4)
    assert pair.bca.high < 0


def test_equal_replications_say_nothing() -> None:
    assert sign_test(0, 0) == 1.0
    pair = paired([1, 2, 3, 4], [1, 2, 0, 0])
    assert (pair.higher, pair.lower, pair.p, pair.interval.n) == (2, 0, 0.5, 4)


def test_the_sign_test_needs_six_replications_and_more_for_more_policies() -> None:
    assert [lowest_p(n) < 0.05 for n in (1, 5, 6)] == [False, False, True]
    assert [lowest_p(n, 2) < 0.05 for n in (6, 7)] == [False, True]
    assert lowest_p(1) == 1.0


def test_bca_intervals_are_seeded_lean_with_the_skew_and_are_none_of_one_value() -> None:
    skewed = np.random.default_rng(8).exponential(1, 40)
    interval = bca_interval(skewed, seed=3)
    assert interval == bca_interval(skewed, seed=3) != bca_interval(skewed, seed=4)
    assert interval.high - interval.mean > interval.mean - interval.low
    assert math.isnan(bca_interval([1.0]).low) and math.isnan(bca_interval([]).mean)
    same = bca_interval([2.0, 2.0, 2.0])
    assert (same.low, same.mean, same.high) == (2, 2, 2)


def test_bca_intervals_of_thirty_cover_nearly_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(9)
    covered = [(i := bca_interval(rng.normal(7, 2, 30), seed=seed)).low <= 7 <= i.high for seed in range(200)]
    assert 0.89 <= np.mean(covered) <= 0.99
