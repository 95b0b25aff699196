"""Capacity: highest rates of every policy and replication."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flowsim
from flowsim.errors import InputError
from flowsim.studies.goodput_rules import RULES

FIRST, MIDDLE = "10.02692242518322", "50.00177568815364"  # where the halves of example from 10 s begin


def test_capacity_gives_a_row_for_each_policy_and_replication() -> None:
    runs = flowsim.capacity("synthetic:qwen:100", ["fcfs", "flowprefill"], replications=2, workers=1, tolerance=0.05)
    assert runs.table[["seed", "policy"]].values.tolist() == [
        [0, "fcfs"],
        [0, "flowprefill"],
        [1, "fcfs"],
        [1, "flowprefill"],
    ]
    for rule in RULES:
        assert (runs.table[f"max_rate_{rule}_rps"] < runs.table[f"fails_at_{rule}_rps"]).all()
    assert (runs.table["target"] == "0.9").all() and runs.notices == ()
    assert (runs.table["warmup"] == 0.1).all()
    windows = flowsim.capacity("example", ["fcfs"], replications=4, workers=1, tolerance=0.1)
    assert windows.table["workload.window"].str.startswith(("0:23.8", "23.8", "47.7", "71.5")).all()
    assert windows.table["requests"].sum() == 400
    with pytest.raises(InputError, match="rate_scale: is given, but a study with capacity finds the rate itself"):
        flowsim.capacity("example", rate_scale=2)


def test_a_short_trace_gets_fewer_windows_and_it_is_said(tmp_path: Path) -> None:
    def found(n: int, **options: Any) -> flowsim.Runs:
        flowsim.traces.write_trace(flowsim.example_trace().head(n), tmp_path / "short.jsonl")
        return flowsim.capacity(tmp_path / "short.jsonl", ["fcfs"], workers=1, tolerance=0.5, **options)

    runs = found(200)
    assert 1 < len(runs.table) < 10 and runs.table["requests"].min() >= 30 and runs.table["requests"].sum() == 200
    said = f"short.jsonl is short: {len(runs.table)} windows in place of 10, each with the requests that a search needs"
    assert runs.notices == (said,)
    one = found(30)
    assert one.table["workload.window"].isna().all() and one.table["requests"].tolist() == [30]
    assert one.notices == (
        "short.jsonl is short: one window in place of 10, each with the requests that a search needs",
    )
    assert len(found(200, instances=[1, 3]).table["workload.window"].unique()) < len(runs.table)
    with pytest.raises(InputError, match="has 29 requests; expected >= 30 requests for a search"):
        found(29)


def test_windows_are_those_of_the_trace_as_it_is_whatever_is_made_of_it_later(tmp_path: Path) -> None:
    (tmp_path / "mix.yaml").write_text("{ttft_s: {text: 0.25, search: 4}, rates: {text: 30, search: 10}}")
    options: dict[str, Any] = {"replications": 4, "workers": 1, "tolerance": 0.2}
    plain = flowsim.capacity("example", ["fcfs"], **options).table
    rated = flowsim.capacity("example", ["fcfs"], slo=str(tmp_path / "mix.yaml"), **options).table
    assert rated["workload.window"].tolist() == plain["workload.window"].tolist()
    assert rated["requests"].tolist() == plain["requests"].tolist()
    with pytest.raises(
        InputError,
        match=r"limit: is given, but example is cut into 4 windows.*; expected 1 replication",
    ):
        flowsim.capacity("example", limit=80, **options)


def test_windows_begin_with_the_first_arrival(tmp_path: Path) -> None:
    arrival_s = [0.0, *(1000.0 + np.arange(124))]
    flowsim.traces.write_trace(flowsim.Trace.of(arrival_s, [100] * 125), tmp_path / "late.jsonl")
    options: dict[str, Any] = {"slo": "1", "workers": 1, "tolerance": 0.5, "window": "500:2000"}
    found = flowsim.capacity(tmp_path / "late.jsonl", ["fcfs"], replications=4, **options).table
    assert found["workload.window"].tolist() == ["1000:1030.75", "1030.75:1061.5", "1061.5:1092.25", "1092.25:2000"]
    assert found["requests"].tolist() == [31] * 4


@pytest.mark.parametrize(("option", "values"), [("seed", [1, 2]), ("workload.window", ["0:30", "30:60"])])
def test_replications_are_not_made_twice(option: str, values: list[object]) -> None:
    with pytest.raises(InputError, match=f"{option}: is a list, but the replications make these"):
        flowsim.capacity("synthetic:qwen:60", replications=5, **{option: values})


def test_capacity_of_several_traces_under_several_options() -> None:
    runs = flowsim.capacity(
        ["synthetic:qwen:60", "example"],
        ["fcfs"],
        replications=2,
        workers=1,
        tolerance=0.2,
        slo_scale=[1, 2],
        window="10:90",
        seed=5,
    )
    assert runs.table[["trace", "seed", "workload.window", "slo.scale"]].values.tolist() == [
        ["synthetic:qwen:60", seed, "10:90", scale] for seed in (5, 6) for scale in (1, 2)
    ] + [["example", 5, window, scale] for window in (f"{FIRST}:{MIDDLE}", f"{MIDDLE}:90") for scale in (1, 2)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"trace": []}, r"trace must be the name of a trace, or a list of such names, got \[\]"),
        ({"trace": None}, "trace must be the name of a trace, or a list of such names, got nothing"),
        ({"trace": "example", "policies": []}, r"policies must be one or more, got \[\]"),
        ({"trace": "example", "workers": "two"}, "workers must be a whole number >= 1, got 'two'"),
    ],
)
def test_arguments_of_another_type_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}$"):
        flowsim.capacity(**arguments)
