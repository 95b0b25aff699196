"""Seeds that make replications, and seeds that only seem to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

import flowsim
from flowsim.studies.replications import independent
from flowsim.studies.study_text import study_report


def _said(runs: flowsim.Runs, against: Sequence[str] = ()) -> str:
    with (console := Console(width=120)).capture() as said:
        console.print(study_report(runs, against))
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
    for drawn in ({"workload.mix.text": 0.3}, {"trace": "synthetic:qwen:40"}):
        assert flowsim.sweep({"run": {**run, **drawn}, "axes": axes}, workers=1).intervals("attainment")["n"][0] == 3


@pytest.mark.parametrize(
    "drawn",
    [
        {"predictor": "noisy:1"},
        {"slo.mix": {"by": "shares", "ttft_s": {"a": 0.1, "b": 1.0}}, "slo.shares": {"a": 1.0, "b": 2.0}},
    ],
)
def test_seeds_that_only_draw_labels_or_noise_are_one_replication_and_averaged(drawn: dict[str, Any]) -> None:
    axes: dict[str, Any] = {"policy": ["fcfs", "edf"], "seed": [0, 1, 2]}
    run = {"trace": "example", "workload.limit": 60, "workload.rate_scale": 5, **drawn}
    study = flowsim.sweep({"run": run, "axes": axes}, workers=1)
    stats = study.intervals("attainment")
    assert stats["n"].tolist() == [1, 1] and stats["low"].isna().all()
    means = study.table.groupby("policy", sort=False)["attainment"].mean()
    assert stats["mean"].tolist() == pytest.approx(means.tolist())
    assert study.differences("attainment", "fcfs")["n"].tolist() == [1]
    assert "for the same arrivals and lengths are not replications: their runs are averaged." in " ".join(
        _said(study).split()
    )


def test_a_search_tells_labels_from_replications_at_whatever_rate_it_found() -> None:
    labels = {"slo.mix": {"by": "shares", "ttft_s": {"a": 0.1, "b": 1.0}}, "slo.shares": {"a": 1.0, "b": 2.0}}
    study = {
        "run": {"trace": "example", "workload.limit": 60, **labels},
        "axes": {"policy": ["fcfs", "edf"], "seed": [0, 1]},
        "capacity": {"tolerance": 0.05},
    }
    found = flowsim.sweep(study, workers=1)
    assert found.table["max_rate_sustained_rps"].nunique() > 1
    assert found.intervals("max_rate_sustained_rps")["n"].tolist() == [1, 1]


def test_runs_of_which_nothing_is_known_of_the_predictor_stay() -> None:
    """As in a study of which no run says one: pandas then takes the column for numbers."""
    runs = pd.DataFrame(
        {
            "served_sha256": [None, None],
            "arrivals_sha256": [None, None],
            "predictor": [float("nan")] * 2,
            "workload.window": [None, None],
            "seed": [1, 2],
        }
    )
    assert independent(runs)["seed"].tolist() == [1, 2]
