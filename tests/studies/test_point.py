"""A point of a study: its key is of all that it reads, and what it reads is read anew when it changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import flowsim
from flowsim.errors import InputError
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


@pytest.mark.parametrize(
    ("name", "column"), [("low", "attainment_low"), ("high", "attainment_high"), ("s", None), ("p50_s", None)]
)
def test_columns_of_classes_are_never_those_of_intervals(
    name: str, column: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trace = flowsim.Trace.of([0, 1, 2, 3], [100] * 4, classes=[name, "chat"] * 2)
    study: dict[str, Any] = {"run": {"trace": "classed.csv", "slo": 1}, "axes": {"policy": ["fcfs"]}}
    flowsim.traces.write_trace(trace, "classed.csv")
    if column is not None:
        said = f"class '{name}': has no place in the table of a study, where {column} is another column"
        with pytest.raises(InputError, match=said):
            flowsim.sweep(study, workers=1)
    else:
        row = flowsim.sweep(study, workers=1).table.iloc[0]
        assert row[f"attainment_{name}"] == 1
    assert set(flowsim.run("classed.csv", "fcfs", slo=1).summary["classes"]) == {name, "chat"}
