"""Intervals: literals, coverage on series whose mean is known, and what may be averaged at all."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import flowsim
from flowsim.errors import InputError
from flowsim.studies.intervals import block_bootstrap, differences, intervals, paired, paired_ratio, ratios, t_interval
from flowsim.studies.text import study_report


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
    assert math.isnan(block_bootstrap([]).mean)


def test_t_intervals_cover_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(0)
    covered = [(i := t_interval(rng.normal(7, 2, 6))).low <= 7 <= i.high for _ in range(2000)]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)


def test_the_block_bootstrap_covers_where_the_naive_interval_does_not() -> None:
    rng = np.random.default_rng(1)
    blocks, naive = [], []
    for seed in range(200):
        series = np.zeros(3000)
        for k, shock in enumerate(rng.normal(size=3000)[1:], 1):
            series[k] = 0.8 * series[k - 1] + shock
        interval, plain = block_bootstrap(series, seed=seed), t_interval(series)
        blocks.append(interval.low <= 0 <= interval.high)
        naive.append(plain.low <= 0 <= plain.high)
    assert np.mean(blocks) > 0.88
    assert np.mean(naive) < 0.6


def test_the_block_bootstrap_is_seeded_and_one_block_long_has_no_spread() -> None:
    series = np.random.default_rng(2).random(100)
    assert block_bootstrap(series, seed=3) == block_bootstrap(series, seed=3) != block_bootstrap(series, seed=4)
    whole = block_bootstrap(series, block=100)
    assert whole.low == pytest.approx(whole.mean) == pytest.approx(whole.high)


def test_the_ends_of_a_series_count_like_its_middle() -> None:
    hits = [1.0] * 1999 + [0.0]
    interval = block_bootstrap(hits)
    assert interval.low <= interval.mean == 0.9995 <= interval.high
    drawn = [(block_bootstrap(np.eye(12)[place], block=4, resamples=4000)) for place in range(12)]
    assert [interval.low <= 1 / 12 <= interval.high for interval in drawn] == [True] * 12
    assert len({interval.high for interval in drawn}) == 1


def test_with_few_values_the_bootstrap_gives_no_interval() -> None:
    assert math.isnan(block_bootstrap([0.0, 1.0]).low) and math.isnan(block_bootstrap([0.0, 1.0] * 4).high)
    assert block_bootstrap([0.0] * 5 + [1.0] * 5).low < 0.5


def test_pairing_removes_what_replications_share() -> None:
    shared = np.random.default_rng(5).normal(0, 10, 8)
    interval = paired(shared + 1, shared)
    assert (interval.mean, interval.low, interval.high) == pytest.approx((1, 1, 1))


def test_intervals_are_those_of_scipy() -> None:
    from scipy import stats

    rng = np.random.default_rng(3)
    ours, theirs = rng.normal(5, 1, 9), rng.normal(4, 1, 9)
    for interval, reference in (
        (t_interval(ours), stats.ttest_1samp(ours, 0).confidence_interval()),
        (t_interval(ours, 0.8), stats.ttest_1samp(ours, 0).confidence_interval(0.8)),
        (paired(ours, theirs), stats.ttest_rel(ours, theirs).confidence_interval()),
    ):
        assert (interval.low, interval.high) == pytest.approx((reference.low, reference.high))


def test_blocks_of_one_are_the_ordinary_bootstrap() -> None:
    from scipy import stats

    series = np.random.default_rng(4).exponential(1, 400)
    ours = block_bootstrap(series, block=1, resamples=4000)
    theirs = stats.bootstrap((series,), np.mean, n_resamples=4000, method="percentile", rng=1).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=0.01)


def test_the_spread_of_block_means_is_that_of_the_autocorrelated_series() -> None:
    """Of an AR(1) series with coefficient a, the mean of n has standard deviation 1 / (1 - a) / sqrt(n)."""
    rng, n, a = np.random.default_rng(7), 40_000, 0.7
    series = np.zeros(n)
    for k, shock in enumerate(rng.normal(size=n - 1), 1):
        series[k] = a * series[k - 1] + shock
    interval = block_bootstrap(series, resamples=2000)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 / (1 - a) / math.sqrt(n), rel=0.1)


def test_intervals_of_paired_differences_and_ratios_cover_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(6)
    plus, times = [], []
    for _ in range(2000):
        shared, noise = rng.lognormal(2, 0.5, 8), rng.normal(0, 0.1, 8)
        plus.append((i := paired(shared + 3 + noise, shared)).low <= 3 <= i.high)
        times.append((i := paired_ratio(shared * 1.7 * np.exp(noise), shared)).low <= 1.7 <= i.high)
    assert np.mean(plus) == pytest.approx(0.95, abs=0.015)
    assert np.mean(times) == pytest.approx(0.95, abs=0.015)


def test_a_ratio_to_nothing_is_not_known() -> None:
    assert math.isnan(paired_ratio([1.0, 2.0], [0.0, 1.0]).mean)
    pair = paired_ratio([2.0, math.nan, 8.0], [1.0, 1.0, 1.0])
    assert (pair.mean, pair.n) == (pytest.approx(4), 2)


def runs(**columns: list[object]) -> pd.DataFrame:
    return pd.DataFrame({"workload.window": None, **columns})


TABLE = runs(
    policy=["a", "a", "b", "b", "c", "c"],
    seed=[0, 1, 0, 1, 1, 0],
    goodput_rps=[1.0, 2.0, 4.0, 5.5, 2.0, 1.0],
)


def test_differences_are_taken_seed_by_seed() -> None:
    table = differences(TABLE, "goodput_rps", against="a")
    assert table["policy"].tolist() == ["b", "c"]
    assert table["mean"].tolist() == [3.25, 0.0]
    assert table["high"].tolist() == pytest.approx([3.25 + 12.7062 * 0.25, 0.0], abs=1e-4)
    with pytest.raises(InputError, match="unknown policy of the study 'd'"):
        differences(TABLE, "goodput_rps", against="d")


def test_differences_are_taken_apart_by_other_options() -> None:
    table = pd.concat([TABLE.assign(**{"slo.scale": 1.0}), TABLE.assign(**{"slo.scale": 2.0, "goodput_rps": 3.0})])
    apart = differences(table, "goodput_rps", "a", ["slo.scale"])
    assert apart[["policy", "slo.scale", "mean"]].values.tolist() == [
        ["b", 1.0, 3.25],
        ["c", 1.0, 0.0],
        ["b", 2.0, 0.0],
        ["c", 2.0, 0.0],
    ]


def test_ratios_are_geometric_means_in_the_order_of_the_study() -> None:
    table = pd.concat([TABLE.assign(gpu="z"), TABLE.assign(gpu="a")])
    found = ratios(table, "goodput_rps", "a", ["gpu"])
    assert found[["policy", "gpu"]].values.tolist() == [["b", "z"], ["c", "z"], ["b", "a"], ["c", "a"]]
    assert found["mean"].tolist() == pytest.approx([math.sqrt(4 * 2.75), 1.0] * 2)


def _said(runs: flowsim.Runs) -> str:
    with (console := Console(width=120)).capture() as said:
        console.print(study_report(runs))
    return said.get()


def test_seeds_that_draw_nothing_are_no_replications() -> None:
    axes: dict[str, Any] = {"policy": ["fcfs", "flowprefill"], "seed": [0, 1, 2]}
    run = {"trace": "example", "workload.limit": 60, "workload.rate_scale": 5}
    same = flowsim.sweep({"run": run, "axes": axes}, workers=1)
    assert same.table["seed"].tolist() == [0, 1, 2] * 2
    stats = same.intervals("attainment")
    assert stats["n"].tolist() == [1, 1] and stats["low"].isna().all()
    assert same.differences("attainment", "fcfs")["n"].tolist() == [1]
    assert "Left out: 4 runs that only repeat others, as their seeds draw nothing." in _said(same)
    for drawn in ({"predictor": "noisy:1"}, {"workload.mix.text": 0.3}, {"trace": "synthetic:qwen:40"}):
        assert flowsim.sweep({"run": {**run, **drawn}, "axes": axes}, workers=1).intervals("attainment")["n"][0] == 3


def test_means_are_over_replications_only() -> None:
    means = intervals(TABLE, "goodput_rps", ["policy"])
    assert means[["policy", "mean", "n"]].values.tolist() == [["a", 1.5, 2], ["b", 4.75, 2], ["c", 1.5, 2]]
    mixed = TABLE.assign(**{"slo.scale": [1.0, 2.0] * 3})
    with pytest.raises(InputError, match=r"runs with the same policy: differ in slo\.scale; expected"):
        intervals(mixed, "goodput_rps", ["policy"])
    with pytest.raises(InputError, match="unknown column 'goodput'; did you mean 'goodput_rps'"):
        intervals(TABLE, "goodput", ["policy"])
