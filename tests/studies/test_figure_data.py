"""The numbers that figures of studies show, from tables written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import flowsim
from flowsim.errors import InputError
from flowsim.studies.figure_data import (
    class_chart,
    heat_map_of,
    line_chart,
    rate_bars,
    ttft_distributions,
)


def study(folder: Path | None = None, **columns: list[Any]) -> flowsim.Runs:
    """The runs of a study: one row per run, none of which failed."""
    return flowsim.Runs(pd.DataFrame({"workload.window": None, "error": None, **columns}), folder=folder)


TWO_SEEDS = study(
    policy=["a", "a", "a", "a", "b", "b", "b", "b"],
    rate_scale=[1.0, 1.0, 2.0, 2.0] * 2,
    seed=[0, 1] * 4,
    attainment=[0.9, 0.7, 0.5, 0.5, 1.0, 1.0, 0.6, 0.8],
    attainment_text=[0.8] * 8,
    requests_text=[10] * 8,
    ci_attainment_low=[0.0] * 8,
    ci_attainment_high=[1.0] * 8,
)


def test_a_line_chart_has_one_line_per_policy_in_per_cent() -> None:
    chart = line_chart(TWO_SEEDS, "rate_scale", "attainment")
    assert [line.name for line in chart.lines] == ["a", "b"]
    assert [line.x.tolist() for line in chart.lines] == [[1.0, 2.0]] * 2
    assert [line.mean.tolist() for line in chart.lines] == [pytest.approx([80, 50]), pytest.approx([100, 70])]
    assert (chart.lines[0].low[0], chart.lines[0].high[0]) == (0, 100)  # a share cannot be more
    assert (chart.ticks, chart.words) == ([1.0, 2.0], False)


def test_intervals_of_a_line_are_students_t() -> None:
    table = TWO_SEEDS.table.assign(goodput_rps=10 * TWO_SEEDS.table["attainment"] + 90)
    (line, _) = line_chart(flowsim.Runs(table), "rate_scale", "goodput_rps").lines
    assert line.high[0] - 98 == pytest.approx(12.706205, rel=1e-6)  # two replications


def test_words_have_places_in_the_order_of_the_study() -> None:
    runs = study(policy=["a"] * 2, predictor=["exact", "biased:2"], seed=[0, 0], goodput_rps=[3.0, 2.0])
    chart = line_chart(runs, "predictor", "goodput_rps")
    assert (chart.ticks, chart.words) == (["exact", "biased:2"], True)
    assert chart.lines[0].x.tolist() == [0, 1]
    assert chart.lines[0].mean.tolist() == [3.0, 2.0]


def test_a_single_replication_has_the_interval_of_its_bootstrap() -> None:
    one = study(
        policy=["a"], rate_scale=[1.0], seed=[0], attainment=[0.5], ci_attainment_low=[0.4], ci_attainment_high=[0.7]
    )
    (line,) = line_chart(one, "rate_scale", "attainment").lines
    assert (line.low.tolist(), line.high.tolist()) == ([40.0], [70.0])


def test_a_class_chart_has_one_line_per_class() -> None:
    chart = class_chart(TWO_SEEDS, "rate_scale", "a")
    assert [(line.name, line.mean.tolist()) for line in chart.lines] == [("text", [80.0, 80.0])]
    with pytest.raises(InputError, match="unknown policy 'c' of the study"):
        class_chart(TWO_SEEDS, "rate_scale", "c")


def test_bars_have_the_paired_ratio_to_the_first_policy() -> None:
    bars = rate_bars(
        study(policy=["b", "b", "a", "a"], seed=[0, 1] * 2, max_rate_attainment_rps=[2.0, 4.0, 4.0, 8.0]), "attainment"
    )
    assert bars.rule == "attainment"
    assert bars.policies == ["b", "a"]
    assert bars.mean.tolist() == [3.0, 6.0]
    assert np.isnan(bars.ratio[0])
    assert bars.ratio[1] == pytest.approx(2.0)


def test_a_heat_map_has_rows_from_the_top() -> None:
    runs = study(
        policy=["a"] * 4, seed=[0] * 4, x=[1, 2, 1, 2], y=[0.1, 0.1, 0.2, 0.2], attainment=[0.1, 0.2, 0.3, 0.4]
    )
    found = heat_map_of(runs, "x", "y", "attainment")
    assert (found.across, found.down) == ([1, 2], [0.2, 0.1])
    assert found.cells.tolist() == [pytest.approx([30, 40]), pytest.approx([10, 20])]
    assert found.ends == pytest.approx((10, 40))
    assert heat_map_of(runs, "x", "y", "attainment", ends=(0, 1)).ends == (0, 100)


def test_ttft_counts_the_requests_that_never_got_a_token(tmp_path: Path) -> None:
    (tmp_path / "requests").mkdir()
    for key, ttft_s in (("k" * 16, [1.0, np.nan]), ("m" * 16, [0.5, 2.0])):
        rows = pd.DataFrame({"ttft_s": [*ttft_s, 9.0], "counted": [True, True, False]})
        rows.to_parquet(tmp_path / "requests" / f"{key}.parquet")
    keys = ["k" * 64, "m" * 64]
    runs = study(tmp_path, policy=["a", "a"], seed=[0, 1], key=keys, requests=[3, 3], counted=[2, 2])
    found = ttft_distributions(runs)["a"]
    assert (found.values.tolist(), found.percent.tolist()) == ([0.5, 1.0, 2.0], [25, 50, 75])
    fewer = study(tmp_path, policy=["a", "a"], seed=[0, 1], key=keys, requests=[3, 4], counted=[2, 2])
    with pytest.raises(InputError, match=r"m\.parquet: has requests 3; expected 4, as in runs\.parquet"):
        ttft_distributions(fewer)
    rows.drop(columns="counted").to_parquet(tmp_path / "requests" / f"{'m' * 16}.parquet")
    rows.drop(columns="counted").to_parquet(tmp_path / "requests" / f"{'k' * 16}.parquet")
    with pytest.raises(InputError, match="has no column counted; expected the requests of a run, with it"):
        ttft_distributions(runs)
