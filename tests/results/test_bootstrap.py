"""The moving-block bootstrap: literals, and coverage on series and queues whose answers are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.coverage import Queue, contains, correlated_hits
from flowsim.results.bootstrap import (
    FEWEST_STRETCHES,
    BlockMeans,
    PooledMeans,
    block_length,
    block_means,
    share_interval,
    stretch_count,
)
from flowsim.results.differences import QUANTILES, Difference, ServedTrace
from flowsim.studies.paired import t_interval


def test_the_block_bootstrap_covers_where_the_naive_interval_does_not() -> None:
    rng = np.random.default_rng(1)
    blocks, naive = [], []
    for seed in range(200):
        series = np.zeros(3000)
        for k, shock in enumerate(rng.normal(size=3000)[1:], 1):
            series[k] = 0.8 * series[k - 1] + shock
        interval, plain = block_means(series, seed=seed).interval(), t_interval(series)
        blocks.append(interval.low <= 0 <= interval.high)
        naive.append(plain.low <= 0 <= plain.high)
    assert 0.9 <= np.mean(blocks) <= 0.99
    assert np.mean(naive) < 0.6


def test_the_block_bootstrap_is_seeded_and_one_block_alone_has_no_interval() -> None:
    series = np.random.default_rng(2).random(100)
    found = [block_means(series, seed=seed).interval() for seed in (3, 3, 4)]
    assert found[0] == found[1] != found[2]
    assert math.isnan(block_means(series, block=100).interval().low)
    assert block_means(series, block=100).p_value() == 1.0


def test_the_ends_of_a_series_count_like_its_middle() -> None:
    rows = [BlockMeans(row, 4) for row in np.eye(12)]
    assert len({round(row.error, 12) for row in rows}) == 1
    assert all(sorted(row.means) == [0.0] * 8 + [0.25] * 4 for row in rows)


def test_with_few_values_or_few_that_differ_the_bootstrap_gives_no_interval() -> None:
    assert math.isnan(share_interval([]).mean) and math.isnan(share_interval([False, True] * 4).high)
    assert math.isnan(block_means([1.0] * 1999 + [0.0]).interval().low)
    assert block_means([0.0, 1.0] * 50).interval().low < 0.5 + 1e-12


def test_the_interval_leaves_zero_out_where_p_is_below_one_in_twenty() -> None:
    rng = np.random.default_rng(12)
    for shift in np.linspace(-0.4, 0.4, 41):
        blocks = block_means(rng.normal(shift, 1, 200))
        interval = blocks.interval()
        assert (blocks.p_value() < 0.05) == (not interval.low <= 0 <= interval.high)


def test_blocks_of_one_are_the_ordinary_studentised_bootstrap() -> None:
    series = np.random.default_rng(4).exponential(1, 400)
    ours = BlockMeans(series, 1, resamples=4000).interval()
    drawn = series[np.random.default_rng(1).integers(0, 400, (4000, 400))]
    t = (drawn.mean(axis=1) - series.mean()) / (drawn.std(axis=1, ddof=1) / 20)
    low, high = np.quantile(t, (0.025, 0.975))
    error = series.std() / 20
    assert (ours.low, ours.high) == pytest.approx((series.mean() - high * error, series.mean() - low * error), rel=0.01)
    normal = t_interval(series)
    assert (ours.low, ours.high) == pytest.approx((normal.low, normal.high), rel=0.02)


def test_the_spread_of_block_means_is_that_of_the_autocorrelated_series() -> None:
    """Of an AR(1) series with coefficient a, the mean of n has standard deviation 1 / (1 - a) / sqrt(n)."""
    rng, n, a = np.random.default_rng(7), 40_000, 0.7
    series = np.zeros(n)
    for k, shock in enumerate(rng.normal(size=n - 1), 1):
        series[k] = a * series[k - 1] + shock
    errors = [BlockMeans(series, length).error for length in (50, 100, 200)]
    assert errors == pytest.approx([1 / (1 - a) / math.sqrt(n)] * 3, rel=0.1)


def test_blocks_outlast_the_memory_of_a_series() -> None:
    rng = np.random.default_rng(3)
    lengths = [
        np.median([block_length(correlated_hits(4000, memory, 0.9, rng)) for _ in range(9)])
        for memory in (0.0, 0.5, 0.9, 0.97)
    ]
    assert lengths == sorted(lengths)
    assert lengths[0] < 20 and lengths[-1] > 200
    assert block_length([1.0] * 100) == block_length([]) == 1


def test_stretches_count_queues_and_not_misses() -> None:
    scattered = np.zeros(3000)
    scattered[::30] = 1
    together = np.zeros(3000)
    together[:50] = together[1500:1550] = 1
    assert scattered.sum() == together.sum() == 100
    assert stretch_count(scattered) > 50 > FEWEST_STRETCHES > 5 > stretch_count(together) >= 1
    assert stretch_count(np.zeros(20)) == stretch_count([]) == 0


def test_intervals_of_shares_stay_between_nothing_and_all() -> None:
    for hits in ([True] * 400, [False] * 400, [True] * 399 + [False], [True, False] * 200):
        interval = share_interval(hits)
        assert 0 <= interval.low <= interval.mean <= interval.high <= 1
        assert interval.high - interval.low > 0.005
    assert share_interval([True] * 400).low == pytest.approx(1 - 3.84 / (400 ** (2 / 3) + 3.84), abs=0.05)


def test_independent_hits_have_about_wilsons_interval() -> None:
    from scipy import stats

    hits = np.random.default_rng(6).random(5000) < 0.9
    wilson = stats.binomtest(int(hits.sum()), 5000).proportion_ci(method="wilson")
    interval = share_interval(hits)
    assert interval.high - interval.low == pytest.approx(wilson.high - wilson.low, rel=0.4)


@pytest.mark.parametrize("memory", [0.0, 0.5])
def test_intervals_of_attainment_cover_misses_that_come_together(memory: float) -> None:
    """The full study, with 500 repetitions, is in docs/intervals.md; 150 tell 95 % within 5 points or so."""
    rng = np.random.default_rng(13)
    covered = [contains(share_interval(correlated_hits(1500, memory, 0.9, rng)), 0.9) for _ in range(150)]
    assert 0.90 <= np.mean(covered) <= 0.995


def test_paired_intervals_cover_the_known_difference_of_two_policies_of_a_queue() -> None:
    """FCFS against LCFS in an M/M/1 queue, as in docs/intervals.md."""
    queue, rng = Queue(0.5, 3.0), np.random.default_rng(14)
    covered, ahead = [], []
    for seed in range(150):
        served = [ServedTrace(np.ones(3000, bool), waits <= queue.slo, waits, 2.0) for waits in queue.waits(3000, rng)]
        difference = Difference(*served, seed=seed)
        covered.append(contains(difference.attainment, queue.truth("attainment")))
        ahead.append(difference.goodput_rps.mean == pytest.approx(2 * difference.attainment.mean))
    assert 0.90 <= np.mean(covered) <= 0.995
    assert all(ahead)


def test_series_are_pooled_by_the_mean_of_their_means() -> None:
    rng = np.random.default_rng(16)
    short, long = block_means(rng.random(60), seed=1), block_means(rng.random(900) + 1, seed=2)
    alone, both = PooledMeans([long]), PooledMeans([short, long])
    assert alone.interval() == long.interval() and alone.p_value() == long.p_value()
    assert both.mean == (short.mean + long.mean) / 2
    assert both.error == pytest.approx(math.sqrt(short.error**2 + long.error**2) / 2)
    assert (both.size, both.blocks) == (960, min(short.blocks, long.blocks))
    none = block_means(np.zeros(900), seed=3)
    assert PooledMeans([none, none]).p_value() == 1.0
    assert PooledMeans([none, long]).interval().high == pytest.approx(long.interval().high / 2)


def test_pooled_intervals_cover_the_mean_of_series_that_differ() -> None:
    rng = np.random.default_rng(17)
    covered = []
    for seed in range(150):
        hits = [correlated_hits(n, 0.5, share, rng).astype(float) for n, share in ((1500, 0.9), (600, 0.6))]
        pooled = PooledMeans([block_means(series, seed=2 * seed + k) for k, series in enumerate(hits)])
        covered.append(contains(pooled.interval(), 0.75))
    assert 0.90 <= np.mean(covered) <= 0.995


def test_the_queue_of_the_study_is_the_one_of_the_textbook() -> None:
    queue, rng = Queue(0.7, 4.0), np.random.default_rng(15)
    first, last = queue.waits(200_000, rng)
    assert (first > 4).mean() == pytest.approx(queue.fcfs_beyond(4.0), abs=0.012)
    assert (last > 4).mean() == pytest.approx(queue.lcfs_beyond(4.0), abs=0.006)
    assert first.mean() == pytest.approx(last.mean(), rel=0.02)
    for name, q in QUANTILES.items():
        assert np.quantile(first, q) - np.quantile(last, q) == pytest.approx(queue.truth(name), rel=0.2, abs=0.1)
