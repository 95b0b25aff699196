"""The benchmarks run with the package as it is; how fast it is, no test says."""

import sys
from pathlib import Path

from benchmarks.process import case, source
from benchmarks.versus import alternately


def test_a_replay_is_timed_in_both_versions() -> None:
    ours, others = alternately(["run", "synthetic:50", "flowprefill", "5"], Path(sys.executable), runs=1)
    assert ours > 0
    assert others > 0


def test_a_study_is_timed() -> None:
    assert case("study", "2")["requests"] == 4 * 2 * 40


def test_generated_requests_replace_traces_that_are_not_there(tmp_path: Path) -> None:
    assert source(tmp_path, "absent.jsonl") == "synthetic:20000"
    (tmp_path / "there.jsonl").touch()
    assert source(tmp_path, "there.jsonl") == str(tmp_path / "there.jsonl")
