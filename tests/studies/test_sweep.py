"""Sweeps: the same bytes however they are run, and nothing lost or done twice when they are interrupted."""

from __future__ import annotations

import hashlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

import flowsim
from flowsim.calibration.costs.catalogue import load_table
from flowsim.cli import main as cli
from flowsim.errors import InputError
from flowsim.studies.point import Point
from flowsim.studies.store import JOURNAL, SEALED, _arrow, _kinds
from flowsim.studies.study import Study
from flowsim.traces.synthetic import synthesize

STUDY: dict[str, Any] = {
    "run": {"trace": "synthetic:qwen:150", "warmup": 0.1},
    "axes": {"policy": ["fcfs", "chunked:512", "flowprefill"], "workload.rate_rps": [8, 16], "seed": [0, 1, 2]},
}
TEXT = """
run: {trace: "synthetic:qwen:150", warmup: 0.1}
axes: {policy: [fcfs, "chunked:512", flowprefill], workload.rate_rps: [8, 16], seed: [0, 1, 2]}
"""


def bytes_of(folder: Path) -> dict[str, str]:
    """SHA-256 of every file, by name."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of one worker."""
    folder = tmp_path_factory.mktemp("whole")
    assert flowsim.sweep(STUDY, folder, workers=1).new == 18
    return folder


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
    assert row["attainment_low"] <= row["attainment"] <= row["attainment_high"]
    assert table["key"].is_unique and table["error"].isna().all()


def test_two_workers_give_the_bytes_of_one(whole: Path, tmp_path: Path) -> None:
    flowsim.sweep(STUDY, tmp_path / "two", workers=2)
    assert bytes_of(tmp_path / "two") == bytes_of(whole)
    assert sorted(bytes_of(whole)) == [SEALED, "study.yaml"]


def test_a_second_start_runs_nothing(whole: Path) -> None:
    before = bytes_of(whole)
    assert flowsim.sweep(STUDY, whole, workers=1).new == 0
    assert bytes_of(whole) == before


def test_killed_at_random_moments_and_resumed_the_bytes_are_the_same(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(TEXT)
    command = [sys.executable, "-c", "from flowsim.cli.main import main; main()", "sweep", "study.yaml", "--out", "out"]
    moments = random.Random(6)
    for _ in range(10):
        process = subprocess.Popen([*command, "--workers", "1", "-q"], cwd=tmp_path, stderr=subprocess.DEVNULL)
        journal, rows = tmp_path / "out" / JOURNAL, 0
        before = journal.read_bytes().count(b"\n") if journal.exists() else 0
        while process.poll() is None and rows < before + 1:
            rows = journal.read_bytes().count(b"\n") if journal.exists() else 0
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.02))
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run([*command, "--workers", "2", "-q"], cwd=tmp_path, check=True)
    assert bytes_of(tmp_path / "out") == bytes_of(whole)


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(TEXT.replace("150", "1500"))
    command = [sys.executable, "-c", "from flowsim.cli.main import main; main()", "sweep", "study.yaml", "--out", "out"]
    process = subprocess.Popen([*command, "--workers", "2", "-q"], cwd=tmp_path, stderr=subprocess.DEVNULL)
    journal = tmp_path / "out" / JOURNAL
    while process.poll() is None and not (journal.exists() and journal.stat().st_size):
        time.sleep(0.01)
    workers = psutil.Process(process.pid).children(recursive=True)
    assert len(workers) >= 2
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert psutil.wait_procs(workers, timeout=20)[1] == []


def test_a_row_that_was_cut_off_is_run_again(whole: Path, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(done: int, total: int, doing: str) -> None:
        raise Stop

    with pytest.raises(Stop):
        flowsim.sweep(STUDY, tmp_path / "out", workers=1, progress=stop)
    journal = tmp_path / "out" / JOURNAL
    journal.write_bytes(journal.read_bytes() + b'{"key": "half a ro')
    half = flowsim.load_runs(tmp_path / "out").table
    assert 0 < len(half) < 18
    assert flowsim.sweep(STUDY, tmp_path / "out", workers=1).new == 18 - len(half)
    assert bytes_of(tmp_path / "out") == bytes_of(whole)


def test_a_study_that_grows_runs_what_is_new_and_one_that_shrinks_is_refused(tmp_path: Path) -> None:
    small = {"run": STUDY["run"], "axes": {**STUDY["axes"], "policy": ["fcfs"]}}
    flowsim.sweep(small, tmp_path, workers=1)
    more = {"run": STUDY["run"], "axes": {**STUDY["axes"], "policy": ["chunked:512", "fcfs"]}}
    runs = flowsim.sweep(more, tmp_path, workers=1)
    assert (runs.new, len(runs.table)) == (6, 12)
    before = bytes_of(tmp_path)
    with pytest.raises(InputError, match=r"holds 6 runs that are not part of this study; expected a new folder"):
        flowsim.sweep(small, tmp_path, workers=1)
    assert bytes_of(tmp_path) == before


@pytest.mark.parametrize("first", [[1, 2], [0, 1]])
def test_a_study_that_has_grown_has_the_bytes_of_one_that_was_whole_from_the_start(
    first: list[int], tmp_path: Path
) -> None:
    run = {"trace": "synthetic:qwen:60", "warmup": 0.1}
    small, large = ({"run": run, "axes": {"policy": ["fcfs", "edf"], "seed": seeds}} for seeds in (first, [0, 1, 2]))
    assert flowsim.sweep(small, tmp_path / "grown", workers=1).new == 4
    assert flowsim.sweep(large, tmp_path / "grown", workers=1).new == 2
    flowsim.sweep(large, tmp_path / "whole", workers=1)
    assert bytes_of(tmp_path / "grown") == bytes_of(tmp_path / "whole")


def test_the_options_are_those_that_the_study_writes_however_they_were_written_before(tmp_path: Path) -> None:
    def swept(*policies: str, **more: Any) -> flowsim.Runs:
        axes: dict[str, Any] = {"policy": list(policies), **more}
        return flowsim.sweep(
            {"run": {"trace": "example", "workload.limit": 40}, "axes": axes}, tmp_path / "out", workers=1
        )

    assert swept("flowprefill:cut=operator").table["policy"].tolist() == ["flowprefill:cut=operator"]
    short = swept("flowprefill")
    assert (short.new, short.table["policy"].tolist()) == (0, ["flowprefill"])
    both = swept("fcfs", "flowprefill", "flowprefill:cut=operator")
    assert (both.new, both.table["policy"].tolist()) == (1, ["fcfs", "flowprefill"])
    compared = both.differences("attainment", against="flowprefill:cut=operator")
    assert compared[["policy", "against"]].values.tolist() == [["fcfs", "flowprefill"]]


def test_numbers_and_texts_go_on_one_axis(tmp_path: Path) -> None:
    axes: dict[str, Any] = {"policy.budget": [512, "2048"]}
    study = {"run": {"trace": "example", "workload.limit": 40, "policy": "chunked"}, "axes": axes}
    runs = flowsim.sweep(study, tmp_path, workers=1)
    assert runs.table["policy.budget"].tolist() == ["512", "2048"]
    assert runs.table["policy"].tolist() == ["chunked:budget=512", "chunked:budget=2048"]
    assert _kinds([{"a": True}, {"a": 2}, {"a": None}]) == {"a": "string"}
    assert _arrow([{"a": True}, {"a": 2.0}, {"a": "x"}], {"a": "string"})["a"].to_pylist() == ["true", "2", "x"]


def test_while_a_study_goes_on_its_runs_have_the_kinds_they_will_have(tmp_path: Path) -> None:
    def look(done: int, total: int, doing: str) -> None:
        seen.append(flowsim.load_runs(tmp_path / "out").table)

    seen: list[pd.DataFrame] = []
    flowsim.traces.write_trace(flowsim.example_trace().head(40), tmp_path / "7", layout="jsonl")
    study = Study.of({"run": {"trace": "7", "slo": "0.5"}, "axes": {"policy": ["fcfs", "edf"]}}, root=tmp_path)
    runs = flowsim.sweep(study, tmp_path / "out", workers=1, progress=look)
    pd.testing.assert_frame_equal(seen[-1], runs.table)
    assert seen[-1][["trace", "slo.mix"]].values.tolist() == [["7", "0.5"]] * 2


def test_the_study_that_is_kept_runs_again_from_anywhere(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    flowsim.traces.write_trace(flowsim.example_trace().head(40), tmp_path / "in" / "trace.jsonl")
    (tmp_path / "in" / "slo.yaml").write_text("ttft_s: {'*': 1.0}")
    (tmp_path / "in" / "study.yaml").write_text(
        "run: {slo: slo.yaml}\naxes: {policy: [fcfs]}\n"
        "points: [{trace: trace.jsonl}, {trace: example, workload.limit: 30}]"
    )
    once = flowsim.sweep(tmp_path / "in" / "study.yaml", tmp_path / "out", workers=1)
    again = flowsim.sweep(tmp_path / "out" / "study.yaml", tmp_path / "new", workers=1)
    assert (once.new, again.new) == (2, 2)
    assert again.table["key"].tolist() == once.table["key"].tolist()
    assert flowsim.sweep(tmp_path / "out" / "study.yaml", tmp_path / "out", workers=1).new == 0


def test_whom_to_compare_with_is_checked_before_the_first_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "study.yaml").write_text(TEXT)
    with pytest.raises(SystemExit) as exit_:
        cli.main(["sweep", str(tmp_path / "study.yaml"), "--out", str(tmp_path / "out"), "--against", "flowprefil"])
    assert exit_.value.code == 2
    assert "unknown policy of the study 'flowprefil'; did you mean 'flowprefill'" in capsys.readouterr().err
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
    for _ in range(2):
        runs = flowsim.sweep(study, "out", workers=1)
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
        runs = flowsim.sweep(study, tmp_path / folder, workers=1)
        assert len(runs.failed) == (mood == "bad")
    assert bytes_of(tmp_path / "retried") == bytes_of(tmp_path / "straight")


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


def test_requests_are_kept_when_asked_for(tmp_path: Path) -> None:
    study = {
        "run": {"trace": "example", "workload.limit": 40},
        "axes": {"policy": ["fcfs", "flowprefill"]},
        "requests": True,
    }
    one, two = (flowsim.sweep(study, tmp_path / str(n), workers=n) for n in (1, 2))
    assert bytes_of(tmp_path / "1") == bytes_of(tmp_path / "2")
    assert one.folder is not None and two.new == 2
    kept = pd.read_parquet(one.folder / "requests")
    assert kept.groupby("key").size().tolist() == [40, 40]
    assert flowsim.sweep(study, tmp_path / "1", workers=1).new == 0


def test_two_sweeps_do_not_write_one_folder(tmp_path: Path) -> None:
    def again(done: int, total: int, doing: str) -> None:
        with pytest.raises(InputError, match="is in use by another command"):
            flowsim.sweep(STUDY, tmp_path, workers=1)

    flowsim.sweep(STUDY, tmp_path, workers=1, progress=again)


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[str]:
    """The address of a Dask scheduler with two workers, each a process of its own."""
    environment = {**os.environ, "DASK_DISTRIBUTED__DASHBOARD__LINK": "", "PYTHONWARNINGS": "ignore"}
    common: dict[str, Any] = {"cwd": tmp_path, "env": environment, "text": True}
    boot = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    with (tmp_path / "scheduler.log").open("w") as log:
        processes = [subprocess.Popen([*boot, "--no-dashboard"], stderr=log, stdout=log, **common)]
        try:
            address = _wait_for(tmp_path / "scheduler.log", r"tcp://127\.0\.0\.1:\d+")
            worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard"]
            processes += [subprocess.Popen([*worker, "--no-nanny"], stderr=log, stdout=log, **common) for _ in range(2)]
            _wait_for(tmp_path / "scheduler.log", r"(?s)(Registered to:.*){2}")
            yield address
        finally:
            for process in reversed(processes):
                process.terminate()
                process.wait(20)


def _wait_for(log: Path, pattern: str) -> str:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if found := re.search(pattern, log.read_text()):
            return found.group()
        time.sleep(0.05)
    raise AssertionError(log.read_text())


@pytest.mark.filterwarnings("ignore")
def test_a_dask_cluster_gives_the_same_bytes(whole: Path, tmp_path: Path, scheduler: str) -> None:
    runs = flowsim.sweep(STUDY, tmp_path / "out", dask=scheduler)
    assert runs.new == 18 and runs.cpu_s > 0
    assert bytes_of(tmp_path / "out") == bytes_of(whole)


@pytest.mark.filterwarnings("ignore")
def test_no_scheduler_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^dask 'tcp://127.0.0.1:1': no scheduler answers"):
        flowsim.sweep(STUDY, tmp_path / "out", dask="tcp://127.0.0.1:1")
    assert not (tmp_path / "out").exists()


def test_what_is_no_parquet_file_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / SEALED).write_bytes(b"PAR1 and no more")
    for attempt in (lambda: flowsim.load_runs(tmp_path), lambda: flowsim.sweep(STUDY, tmp_path, workers=1)):
        with pytest.raises(InputError, match=r"runs.parquet: cannot be read \(.*remove it to run the study again$"):
            attempt()


def test_bad_workers(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="workers: is given together with dask; expected one of them"):
        flowsim.sweep(STUDY, tmp_path / "none", workers=2, dask="tcp://x:1")
    with pytest.raises(InputError, match=r"cannot be written"):
        flowsim.sweep(STUDY, "/proc/flowsim", workers=1)
    with pytest.raises(InputError, match="workers must be >= 1, got 0"):
        flowsim.sweep(STUDY, workers=0)
