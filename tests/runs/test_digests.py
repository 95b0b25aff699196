"""A file that changes is another input."""

from __future__ import annotations

from pathlib import Path

import pytest

import flowsim
from flowsim.calibration.costs.table_catalogue import load_table
from flowsim.studies.point import Point


def test_a_changed_trace_is_another_run(tmp_path: Path) -> None:
    flowsim.traces.write_trace(flowsim.example_trace().head(20), tmp_path / "trace.jsonl")
    point = Point.of({"trace": "trace.jsonl"})
    key = point.key(str(tmp_path))
    assert Point.of({"trace": "trace.jsonl", "seed": 0, "slo.scale": 1}).key(str(tmp_path)) == key
    flowsim.traces.write_trace(flowsim.example_trace().head(21), tmp_path / "trace.jsonl")
    assert point.key(str(tmp_path)) != key


def test_a_trace_that_changes_in_one_process_is_read_again_and_run_again(tmp_path: Path) -> None:
    place = tmp_path / "trace.jsonl"
    study = {"run": {"trace": str(place), "policy": "fcfs"}}
    for requests in (60, 90):
        flowsim.traces.write_trace(flowsim.example_trace().head(requests), place, layout="jsonl")
        runs = flowsim.sweep(study, workers=1)
        assert (runs.new, runs.table["requests"].tolist()) == (1, [requests])


def test_a_cost_table_that_changes_in_one_process_is_read_again(tmp_path: Path) -> None:
    load_table("h200", "llama3-8b").save(tmp_path / "table")
    study = {"run": {"trace": "example", "workload.limit": 40, "policy": "fcfs", "cost": str(tmp_path / "table")}}
    before = flowsim.sweep(study, workers=1).table
    load_table("h200", "qwen2.5-14b").save(tmp_path / "table")
    after = flowsim.sweep(study, workers=1).table
    assert before["key"][0] != after["key"][0]
    assert before["ttft_p50_s"][0] < after["ttft_p50_s"][0]


def test_a_table_of_the_user_s_that_changes_in_one_process_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWSIM_TABLES", str(tmp_path))
    point, keys = Point.of({"trace": "example"}), set()
    for seed in (1, 2):
        load_table("h200", "llama3-8b").stating(seed=seed).save(tmp_path / "h200" / "llama3-8b" / "tp1")
        keys.add(point.key(str(tmp_path)))
    assert len(keys) == 2
