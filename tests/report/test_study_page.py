"""The page of a study: what is drawn are its intervals, and every run is in the table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flowsim
from flowsim.rendering.page import Tiles
from flowsim.report.study_page import explorer, runs_table, study_page

STUDY: dict[str, Any] = {
    "title": "rates",
    "run": {"trace": "synthetic:qwen:40"},
    "axes": {"policy": ["fcfs", "edf"], "workload.rate_rps": [8, 32], "seed": [0, 1]},
}


@pytest.fixture(scope="module")
def runs() -> flowsim.Runs:
    return flowsim.sweep(STUDY, workers=1)


def test_metrics_are_the_intervals_of_the_study(runs: flowsim.Runs) -> None:
    made = explorer(runs)
    assert [column.title for column in made.dimensions] == ["policy", "workload.rate_rps"]
    assert (made.x, made.lines) == ("workload.rate_rps", "policy")
    attainment = next(metric for metric in made.metrics if metric.title == "attainment, %")
    expected = runs.intervals("attainment", ["policy", "workload.rate_rps"])
    assert list(made.dimensions[0].values) == expected["policy"].tolist()
    assert list(made.dimensions[1].values) == expected["workload.rate_rps"].tolist()
    for name in ("mean", "low", "high"):
        np.testing.assert_allclose(getattr(attainment, name), 100 * expected[name])


def test_one_replication_has_the_interval_of_its_requests() -> None:
    alone = flowsim.sweep({**STUDY, "axes": {"policy": ["fcfs", "edf"]}, "run": {"trace": "example"}}, workers=1)
    made = explorer(alone)
    attainment = next(metric for metric in made.metrics if metric.title == "attainment, %")
    np.testing.assert_allclose(attainment.low, 100 * alone.table["ci_attainment_low"])
    assert (made.x, made.lines) == ("policy", "policy")


def test_options_of_policies_are_dimensions_of_their_own() -> None:
    axes = {"policy": ["chunked"], "policy.budget": [512, 2048]}
    made = explorer(
        flowsim.sweep({**STUDY, "axes": axes, "run": {"trace": "example", "workload.limit": 40}}, workers=1)
    )
    assert [column.title for column in made.dimensions] == ["family", "policy.budget"]
    assert made.x == "policy.budget"


def test_every_run_is_in_the_table(runs: flowsim.Runs) -> None:
    columns = {column.title: column for column in runs_table(runs).columns}
    assert list(columns["seed"].values) == runs.table["seed"].tolist()
    np.testing.assert_allclose(columns["goodput_rps"].values, runs.table["goodput_rps"], rtol=1e-6)
    forms = [columns[name].form for name in ("policy", "seed", "attainment", "ttft_p99_s", "goodput_rps")]
    assert forms == ["text", "count", "percent", "seconds", "number"]
    assert "error" not in columns


def test_a_study_whose_runs_failed_says_so(runs: flowsim.Runs) -> None:
    failed = flowsim.Runs(runs.table.assign(error="broken"))
    page = study_page(failed)
    assert [section.heading for section in page.sections] == ["Results", "Every run"]
    assert isinstance(page.lead[0], Tiles)
    assert page.lead[0].tiles[0] == ("runs", "8", "8 failed")


def test_a_search_has_its_highest_rates(tmp_path: Path) -> None:
    found = flowsim.capacity(["synthetic:qwen:60"], ["fcfs"], replications=1, workers=1)
    titles = [metric.title for metric in explorer(found).metrics]
    assert titles[:2] == ["max goodput (attainment), req/s", "max goodput (sustained), req/s"]
