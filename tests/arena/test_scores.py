"""What the runs of the arena give, cell by cell."""

from __future__ import annotations

import numpy as np
import pytest

import flowsim
from flowsim.arena.grid import Traffic, cells, keys_by_cell, study_of
from flowsim.arena.scores import Scores

POLICIES = ["fcfs", "flowprefill"]


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Scores:
    grid = cells([Traffic("example", "example", "", 100)], (0.9, 1.4), {"paper": {}, "one": {"slo.mix": 1.0}}, {})
    study = study_of(grid, POLICIES, {})
    runs = flowsim.sweep(study, tmp_path_factory.mktemp("scores"), workers=1)
    return Scores.of(runs, grid, POLICIES, keys_by_cell(study, grid, POLICIES))


def test_the_score_is_the_mean_share_of_the_bound(scores: Scores) -> None:
    shares = [scores.rows[place, "fcfs"]["share_of_bound"] for place in range(4)]
    (series,) = scores.series("fcfs")
    assert series.shape == (100,)
    assert series.mean() == pytest.approx(np.mean(shares)) and 0 < series.mean() < 1
    assert {standing.policy: standing.score.mean for standing in scores.standings()}["fcfs"] == pytest.approx(
        np.mean(shares)
    )


def test_a_row_has_the_run_and_its_paired_differences(scores: Scores) -> None:
    table = scores.table("flowprefill")
    assert table[["traffic", "load", "mix", "policy"]].to_numpy().tolist() == [
        ["example", load, mix, policy] for load in (0.9, 1.4) for mix in ("paper", "one") for policy in POLICIES
    ]
    row, other = table.iloc[4], table.iloc[5]
    cell = scores.cells[2].options
    compared = flowsim.compare("example", POLICIES, limit=100, rate_scale=cell["workload.rate_scale"], bound=True)
    assert row["attainment"] == compared.table["attainment"]["fcfs"] < other["attainment"]
    assert row["share_of_bound"] == pytest.approx(compared.table["share_of_bound"]["fcfs"])
    assert row["attainment_text"] == compared.table["attainment_text"]["fcfs"]
    differences = compared.differences("flowprefill").set_index("metric").loc["attainment"]
    names = ["", "_low", "_high", "_p"]
    expected = differences[["mean", "low", "high", "p_holm"]].astype(float).tolist()
    assert [row[f"less_flowprefill{name}"] for name in names] == expected
    assert [row[f"less_best{name}"] for name in names] == expected
    assert np.isnan(other["less_flowprefill"])


def test_a_policy_of_which_a_run_failed_is_not_ranked(scores: Scores) -> None:
    failed = Scores(scores.cells, POLICIES, scores.rows, {**scores.served, (1, "fcfs"): None})
    assert failed.ranked == ["flowprefill"]
    assert [standing.policy for standing in failed.standings()] == ["flowprefill"]
    assert len(failed.table("flowprefill")) == 8
