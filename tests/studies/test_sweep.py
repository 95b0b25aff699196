"""Sweeps: a row says what its run says, and runs that fail are kept and tried again."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

import flowsim
from flowsim.cli import main as cli
from flowsim.errors import FailedRuns, InputError
from flowsim.policies.fcfs import FCFS
from flowsim.traces.synthetic import synthesize
from support.studies import TEXT, bytes_of


def test_a_row_says_what_the_run_says(whole: Path) -> None:
    table = flowsim.load_runs(whole).table
    assert table["policy"].tolist() == ["fcfs"] * 6 + ["chunked:512"] * 6 + ["flowprefill"] * 6
    assert table["seed"].tolist() == [0, 1, 2] * 6
    row = table.iloc[-1]
    trace = synthesize(150, 1.0, seed=2)
    run = flowsim.run(trace, "flowprefill", rate_scale=16 / trace.rate_rps, warmup=0.1, seed=2)
    assert row["attainment"] == run.summary["attainment"]
    assert row["ttft_p99_s"] == run.summary["ttft_s"]["p99"]
    assert row["ttft_p99_s_text"] == run.summary["classes"]["text"]["ttft_s"]["p99"]
    assert row["counted"] == run.summary["counted"] == 135
    assert row["rate_rps_replayed"] == pytest.approx(16)
    assert row["ci_attainment_low"] <= row["attainment"] <= row["ci_attainment_high"]
    assert table["key"].is_unique and table["error"].isna().all()


def test_columns_have_the_order_of_the_axes() -> None:
    axes = {"slo.scale": [1], "policy": ["edf"], "workload.rate_scale": [1, 2]}
    points = [{"seed": 1, "warmup": 0.1}]
    runs = flowsim.sweep({"run": {"trace": "synthetic:qwen:9"}, "points": points, "axes": axes}, workers=1)
    assert list(runs.table)[:6] == ["seed", "warmup", "slo.scale", "policy", "workload.rate_scale", "trace"]


def test_whom_to_compare_with_is_checked_before_the_first_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "study.yaml").write_text(TEXT)
    with pytest.raises(SystemExit) as exit_:
        cli.main(["sweep", str(tmp_path / "study.yaml"), "--out", str(tmp_path / "out"), "--against", "flowprefil"])
    assert exit_.value.code == 2
    assert "unknown policy 'flowprefil' of the study; did you mean 'flowprefill'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_same_run_twice_is_done_once(tmp_path: Path) -> None:
    points = [{"policy": "chunked"}, {"policy": "chunked:2048"}, {"policy": "chunked", "policy.budget": 2048}]
    runs = flowsim.sweep({"run": {"trace": "example", "workload.limit": 40}, "points": points}, workers=1)
    assert runs.new == len(runs.table) == 1


BROKEN = """
class Moody:
    cut, wake = "operator", "events"
    def __init__(self, patience=3): self.patience = patience
    def choose(self, view):
        if len(view.waiting) > self.patience: raise RuntimeError("too many")
        return view.running or (flowsim.Pass.whole(min(view.waiting, key=lambda r: r.id)) if view.waiting else None)
import flowsim
"""


def test_a_failed_run_is_kept_with_its_error_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "moody.py").write_text(BROKEN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    study = {
        "run": {"trace": "example", "workload.rate_scale": 4},
        "axes": {"policy": ["fcfs", "moody:Moody:patience=2"]},
    }
    said = r"^1 of 2 runs failed, and have no figures \(NaN\); the first: .* RuntimeError: too many \(moody.py"
    for _ in range(2):
        with pytest.warns(FailedRuns, match=said):
            runs = flowsim.sweep(study, "out", workers=1)
        with pytest.warns(FailedRuns, match=said):
            assert len(flowsim.load_runs("out").failed) == 1
        assert len(runs.failed) == 1
        assert "RuntimeError: too many" in runs.failed["error"].iloc[0]
        assert runs.table["attainment"].notna().tolist() == [True, False]
    assert runs.new == 1
    (tmp_path / "study.yaml").write_text(
        "run: {trace: example, workload.rate_scale: 4}\naxes: {policy: [moody:Moody:patience=2]}"
    )
    with pytest.raises(SystemExit) as exit_:
        cli.main(["sweep", "study.yaml", "--out", "more", "--workers", "1"])
    assert exit_.value.code == 1
    assert "failed 1 x" in capsys.readouterr().out


def test_a_study_of_which_a_run_failed_at_first_has_the_bytes_of_one_that_went_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = BROKEN.replace("len(view.waiting) > self.patience", "os.environ.get('MOOD') == 'bad'").replace(
        "flowsim\n", "flowsim, os\n"
    )
    (tmp_path / "swinging.py").write_text(policy)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    study = {"run": {"trace": "example", "workload.limit": 40}, "axes": {"policy": ["swinging:Moody", "fcfs"]}}
    for mood, folder in (("bad", "retried"), ("good", "retried"), ("good", "straight")):
        monkeypatch.setenv("MOOD", mood)
        with pytest.warns(FailedRuns, match="^1 of 2 runs failed") if mood == "bad" else nullcontext():
            runs = flowsim.sweep(study, tmp_path / folder, workers=1)
        assert len(runs.failed) == (mood == "bad")
    assert bytes_of(tmp_path / "retried") == bytes_of(tmp_path / "straight")


class Uneven:
    cut, wake = "none", "events"

    def __init__(self, shape: Any = None) -> None:
        self.shape = shape

    def choose(self, view: Any) -> None:
        return None


def test_objects_that_no_other_process_could_make_are_refused(tmp_path: Path) -> None:
    class Local(Uneven):
        pass

    for policy, line in (
        (Local(), "policy Local: cannot be made again by other processes: its class is not at the top of a module"),
        (Uneven((1, 2)), "policy Uneven: cannot be made again from its options: .*; expected options that are text"),
    ):
        with pytest.raises(InputError, match=line):
            flowsim.sweep({"run": {"trace": "example"}, "axes": {"policy": [policy]}}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_class_in_place_of_an_object_is_refused_as_in_a_run() -> None:
    with pytest.raises(InputError, match=r"policy: must be an object, got the class FCFS; expected FCFS\(\)$"):
        flowsim.sweep({"run": {"trace": "example"}, "axes": {"policy": [FCFS]}}, workers=1)


def test_an_object_is_the_policy_that_its_text_means(tmp_path: Path) -> None:
    run = {"trace": "example", "workload.limit": 30}
    objects = flowsim.sweep({"run": run, "axes": {"policy": [FCFS(4096), "fcfs"]}}, workers=1)
    texts = flowsim.sweep({"run": run, "axes": {"policy": ["fcfs:4096", "fcfs"]}}, workers=1)
    assert objects.table["key"].tolist() == texts.table["key"].tolist()
    assert flowsim.sweep({"run": {**run, "policy": FCFS(4096)}}, workers=1).table["key"][0] == texts.table["key"][0]
