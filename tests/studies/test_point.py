"""A point of a study: its key is of all that it reads, and what it reads is read anew when it changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import flowsim
from flowsim.report.saved import Saved
from flowsim.report.saved_runs import runs_of
from flowsim.studies.point import Point


def test_runs_of_a_study_state_the_upper_bound_where_it_is_asked_for(tmp_path: Path) -> None:
    study: dict[str, Any] = {
        "run": {"trace": "example", "workload.rate_scale": 8},
        "axes": {"policy": ["fcfs", "flowprefill"], "predictor": ["exact", "cubic"]},
    }
    plain = flowsim.sweep(study, workers=1).table
    asked = study | {"run": study["run"] | {"bound": True}}
    one, two = (flowsim.sweep(asked, tmp_path / str(n), workers=n).table for n in (1, 2))
    assert (tmp_path / "1" / "runs.parquet").read_bytes() == (tmp_path / "2" / "runs.parquet").read_bytes()
    assert set(one.columns) - set(plain.columns) == {"bound_attainment", "share_of_bound"}
    same = [name for name in plain.columns if name not in ("key", "bound")]
    assert one[same].equals(plain[same])
    assert set(one["bound_attainment"]) == {flowsim.bound("example", rate_scale=8).upper}
    assert one["share_of_bound"].tolist() == (one["attainment"] / one["bound_attainment"]).tolist()
    assert two.equals(one)


def test_points_that_differ_in_policy_and_predictor_share_one_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    worked_out = []
    monkeypatch.setattr("flowsim.clairvoyant.bound.most_in_time", lambda jobs: worked_out.append(jobs) or len(jobs))
    study = {
        "run": {"trace": "example", "bound": True, "workload.limit": 300},
        "axes": {"policy": ["fcfs", "sjf"], "predictor": ["exact", "cubic"], "workload.rate_scale": [8, 9]},
    }
    flowsim.sweep(study, workers=1)
    assert len(worked_out) == 2


def test_without_a_bound_the_key_is_that_of_the_default() -> None:
    keys = [Point.of({"trace": "example", "bound": asked}).key(".") for asked in (None, False, True)]
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize("name", ["low", "high", "s", "p50_s"])
def test_columns_of_classes_are_never_those_of_intervals(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trace = flowsim.Trace.of(range(200), [100, 9000] * 100, classes=[name, "chat"] * 100)
    flowsim.traces.write_trace(trace, "classed.csv")
    slo = {name: 1.0, "chat": 0.01}
    study: dict[str, Any] = {"run": {"trace": "classed.csv", "slo": slo}, "axes": {"policy": ["fcfs"]}}
    flowsim.run("classed.csv", "fcfs", slo=slo).save("run")
    saved = runs_of(Saved.read(tmp_path / "run")).table.iloc[0]
    for row in (flowsim.sweep(study, workers=1).table.iloc[0], saved):
        assert row[[f"attainment_{name}", "attainment_chat", "attainment"]].tolist() == [1, 0, 0.5]
        assert 0 < row["ci_attainment_low"] < 0.5 < row["ci_attainment_high"] < 1
