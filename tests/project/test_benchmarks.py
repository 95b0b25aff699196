"""The benchmarks run with the package as it is; how fast it is, no test says."""

import sys
from pathlib import Path
from typing import Any

import pytest

import flowsim
from benchmarks import case as one
from benchmarks import load
from benchmarks.decisions import report
from benchmarks.process import case, source
from benchmarks.versus import alternately
from flowsim.policies.catalogue import TABLE


def test_a_replay_is_timed_in_both_versions() -> None:
    ours, others = alternately(["run", "synthetic:50", "flowprefill", "5"], Path(sys.executable), runs=1)
    assert ours > 0
    assert others > 0


def test_a_replay_works_out_no_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    results = []

    def run(*arguments: Any, **options: Any) -> flowsim.RunResult:
        results.append(flowsim.run(*arguments, **options))
        return results[-1]

    monkeypatch.setattr(one, "run", run)
    one.replay("synthetic:50", "fcfs", 5.0)
    one.capacity_rps(one.load("synthetic:50"), "fcfs")
    assert [result.bounding for result in results] == [None, None]
    assert flowsim.run("example", limit=1).bounding is not None


def test_a_study_is_timed() -> None:
    assert case("study", "2")["requests"] == 4 * 2 * 40


def test_generated_requests_replace_traces_that_are_not_there(tmp_path: Path) -> None:
    assert source(tmp_path, "absent.jsonl") == "synthetic:20000"
    (tmp_path / "there.jsonl").touch()
    assert source(tmp_path, "there.jsonl") == str(tmp_path / "there.jsonl")


def test_a_decision_is_timed_under_every_policy(capsys: pytest.CaptureFixture[str]) -> None:
    report(waiting=[2, 3], decisions=2, runs=1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| policy | 2 | 3 |"
    assert [line.split("`")[1] for line in lines[2:-1]] == list(TABLE)
    assert all(float(cell) > 0 for line in lines[2:-1] for cell in line.split("|")[2:-1])


def test_the_cases_of_load_are_timed() -> None:
    assert load.replay("fcfs", 50, 2)["cpu_s"] > 0
    assert load.waiting("fcfs", 20)["decision_s"] > 0
    assert load.study(8, 1)["points"] == 8
