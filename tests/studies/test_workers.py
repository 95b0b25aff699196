"""Workers, on this machine or of a Dask cluster: the same bytes as one, and none is left over."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import dask
import nbformat
import psutil
import pytest
from nbclient import NotebookClient

import flowsim
from flowsim.errors import FailedRuns, InputError
from flowsim.studies import workers
from flowsim.studies.store import JOURNAL, SEALED
from support.studies import STUDY, TEXT, bytes_of


def test_two_workers_give_the_bytes_of_one(whole: Path, tmp_path: Path) -> None:
    flowsim.sweep(STUDY, tmp_path / "two", workers=2)
    assert bytes_of(tmp_path / "two") == bytes_of(whole)
    assert sorted(bytes_of(whole)) == [SEALED, "study.yaml"]


def test_killed_at_random_moments_and_resumed_the_bytes_are_the_same(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(TEXT)
    command = [sys.executable, "-c", "from flowsim.cli.main import main; main()", "sweep", "study.yaml", "--out", "out"]
    moments = random.Random(6)
    for _ in range(6):  # tests/io/test_journal.py tears the last line at every byte
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
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 2
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert psutil.wait_procs(children, timeout=300)[1] == []


ODD = """
from flowsim.policies.fcfs import FCFS

class Own(BaseException):
    def __str__(self):
        raise RuntimeError

class Odd(FCFS):
    error = GeneratorExit()
    def choose(self, view):
        raise self.error

class Key(Odd):
    error = KeyboardInterrupt()

class Mute(Odd):
    error = Own()
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_whatever_a_policy_raises_its_run_has_failed_and_the_study_finishes(tmp_path: Path, workers: str) -> None:
    (tmp_path / "odd.py").write_text(ODD)
    policies = ["odd:Odd", "odd:Key", "odd:Mute", "fcfs"]
    (tmp_path / "study.yaml").write_text(
        json.dumps({"run": {"trace": "synthetic:qwen:20"}, "axes": {"policy": policies}})
    )
    command = [sys.executable, "-m", "flowsim", "sweep", "study.yaml", "--out", "out", "--workers", workers, "-q"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    with pytest.warns(FailedRuns, match="3 of 4 runs failed"):
        runs = flowsim.load_runs(tmp_path / "out")
    said = [error.partition("raised ")[2].partition(" (odd.py")[0] for error in runs.failed["error"]]
    assert said == ["GeneratorExit", "KeyboardInterrupt", "Own: <Own>"]


DEADLY = """
import os, signal
from flowsim.policies.fcfs import FCFS

class Deadly(FCFS):
    def choose(self, view):
        os.kill(os.getpid(), signal.SIGKILL)
"""


KILLED = """
run: {trace: "synthetic:qwen:60", warmup: 0.1}
axes: {policy: [edf, "deadly:Deadly", fcfs], seed: [0, 1]}
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_run_that_kills_its_worker_has_failed_and_the_study_finishes(tmp_path: Path) -> None:
    (tmp_path / "deadly.py").write_text(DEADLY)
    (tmp_path / "study.yaml").write_text(KILLED)
    command = [sys.executable, "-m", "flowsim", "sweep", "study.yaml", "--out", "out", "--workers", "2", "-q"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    with pytest.warns(FailedRuns, match="2 of 6 runs failed"):
        runs = flowsim.load_runs(tmp_path / "out")
    assert sorted(bytes_of(tmp_path / "out")) == [SEALED, "study.yaml"]
    assert runs.failed[["policy", "error"]].to_numpy().tolist() == [["deadly:Deadly", "its worker died"]] * 2
    run = {"trace": "synthetic:qwen:60", "warmup": 0.1}
    fine = flowsim.sweep({"run": run, "axes": {"policy": ["edf", "fcfs"], "seed": [0, 1]}}, workers=1)
    columns = ["policy", "seed", "attainment", "ttft_p99_s"]
    assert runs.succeeded[columns].to_numpy().tolist() == fine.table[columns].to_numpy().tolist()


@contextmanager
def dask_cluster(folder: Path, workers: int, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A Dask scheduler with workers, each a process of its own that runs in this folder: its address and process."""
    environment = {**os.environ, "DASK_DISTRIBUTED__DASHBOARD__LINK": "", "PYTHONWARNINGS": "ignore"}
    environment["DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES"] = "1"  # each worker that dies takes seconds to replace
    common: dict[str, Any] = {"cwd": folder, "env": environment, "text": True}
    boot = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    with (folder / "scheduler.log").open("w") as log:
        processes = [subprocess.Popen([*boot, "--no-dashboard"], stderr=log, stdout=log, **common)]
        try:
            address = _wait_for(folder / "scheduler.log", r"tcp://127\.0\.0\.1:\d+")
            worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard"]
            processes += [
                subprocess.Popen([*worker, *options], stderr=log, stdout=log, **common) for _ in range(workers)
            ]
            _wait_for(folder / "scheduler.log", rf"(?s)(Registered to:.*){{{workers}}}")
            yield address, processes[0]
        finally:
            for process in reversed(processes):
                process.terminate()
                process.wait(300)


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a cluster of two workers, which are replaced if they die, and which find the deadly policy."""
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "deadly.py").write_text(DEADLY)
    with dask_cluster(folder, 2) as (address, _):
        yield address


def _wait_for(log: Path, pattern: str) -> str:
    end = time.monotonic() + 300
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


def at_once() -> AbstractContextManager[None]:
    """A setting of Dask's that does not wait for a scheduler."""
    return dask.config.set({"distributed.comm.timeouts.connect": "0.1s"})


@pytest.mark.filterwarnings("ignore")
def test_no_scheduler_is_one_line(tmp_path: Path) -> None:
    with at_once(), pytest.raises(InputError, match=r"^dask 'tcp://127.0.0.1:1': no scheduler answers"):
        flowsim.sweep(STUDY, tmp_path / "out", dask="tcp://127.0.0.1:1")
    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("scheme", ["tls", "nothing"])
def test_a_scheme_that_is_not_set_up_is_one_line(tmp_path: Path, scheme: str) -> None:
    with at_once(), pytest.raises(InputError, match=rf"^dask '{scheme}://127.0.0.1:1': no scheduler answers \("):
        flowsim.sweep(STUDY, tmp_path / "out", dask=f"{scheme}://127.0.0.1:1")


@pytest.mark.filterwarnings("ignore")
def test_workers_of_another_flowsim_are_refused(
    tmp_path: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "package_digest", lambda: "0123456789abcdef")
    with pytest.raises(
        InputError, match=r"^dask 'tcp.*': a worker on .* runs another flowsim .*0123456789ab, as here$"
    ):
        flowsim.sweep(STUDY, tmp_path / "out", dask=scheduler)


@pytest.mark.filterwarnings("ignore")
def test_a_run_that_kills_workers_of_dask_has_failed(
    tmp_path: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "deadly.py").write_text(DEADLY)
    (tmp_path / "study.yaml").write_text(KILLED.replace("[0, 1]", "[0]"))
    runs = flowsim.sweep(tmp_path / "study.yaml", tmp_path / "out", dask=scheduler)
    assert runs.failed[["policy", "error"]].to_numpy().tolist() == [["deadly:Deadly", "its worker died"]]
    assert len(runs.succeeded) == 2


@pytest.mark.filterwarnings("ignore")
def test_a_scheduler_that_is_lost_is_one_line_and_the_study_goes_on(whole: Path, tmp_path: Path) -> None:
    with dask_cluster(tmp_path, 1, "--no-nanny") as (address, process):

        def end(done: int, total: int, doing: str = "") -> None:
            if done:
                process.kill()

        with pytest.raises(InputError, match=r"^dask 'tcp.*': the scheduler was lost; run it again to go on$"):
            flowsim.sweep(STUDY, tmp_path / "out", dask=address, progress=end)
    flowsim.sweep(STUDY, tmp_path / "out", workers=1)
    assert bytes_of(tmp_path / "out") == bytes_of(whole)


def test_bad_workers(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="workers: is given together with dask; expected one of them"):
        flowsim.sweep(STUDY, tmp_path / "none", workers=2, dask="tcp://x:1")
    with pytest.raises(InputError, match=r"cannot be written"):
        flowsim.sweep(STUDY, "/proc/flowsim", workers=1)
    with pytest.raises(InputError, match="workers must be >= 1, got 0"):
        flowsim.sweep(STUDY, workers=0)


# Policies of a script and of a notebook's cell, and edited ones: the runs are of the source that the key says.

CELL = """
import flowsim
from flowsim import Moving, Pass, Request

SIGN = 1
KEY = Moving(key=lambda request, now: SIGN * request.arrival_s)

class Mine:
    cut, wake = "none", "events"
    def choose(self, view):
        best = view.first(KEY)
        return Pass.whole(best) if isinstance(best, Request) else best
"""
SWEEP = """
study = {"run": {"trace": "example", "workload.rate_scale": 8},
         "axes": {"policy": [Mine(), "fcfs"], "server.slots": [1, 128]}}
runs = flowsim.sweep(study, "out", workers=WORKERS)
print(runs.new, runs.table["policy"].unique().tolist(), runs.table["attainment"].round(3).tolist())
"""
FIRST, LAST = "[0.175, 0.175, 0.205, 0.205]", "[0.68, 0.68, 0.205, 0.205]"
NAMES = "['__main__:Mine', 'fcfs']"


def script(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    (folder / "script.py").write_text(text)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    line = [sys.executable, "script.py"]
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_policy_of_a_script_runs_on_any_number_of_workers_and_an_edit_runs_its_rows_alone(
    tmp_path: Path, workers: int
) -> None:
    text = (CELL + SWEEP).replace("WORKERS", str(workers))
    assert script(tmp_path, text).stdout == f"4 {NAMES} {FIRST}\n"
    assert script(tmp_path, text).stdout == f"0 {NAMES} {FIRST}\n"
    assert script(tmp_path, text.replace("SIGN = 1", "SIGN = -1")).stdout == f"2 {NAMES} {LAST}\n"


@pytest.mark.filterwarnings("ignore")
def test_the_policy_of_a_notebook_runs_on_workers_that_stay_from_edit_to_edit(tmp_path: Path) -> None:
    cells = [CELL, SWEEP, "SIGN = -1", SWEEP, "capacity = dict(replications=1, workers=2)", CAPACITY]
    texts = [cell.replace("WORKERS", "2") for cell in cells]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in texts])
    place = {"metadata": {"path": str(tmp_path)}}
    done = NotebookClient(notebook, timeout=600, kernel_name="python3", resources=place).execute()
    said = ["".join(out.get("text", "") for out in cell.outputs) for cell in done.cells]
    assert (said[1], said[3]) == (f"4 {NAMES} {FIRST}\n", f"2 {NAMES} {LAST}\n")
    assert said[5] == "1 0 ['__main__:Mine']\n"


CAPACITY = """
found = flowsim.capacity("synthetic:qwen:60", [Mine()], **capacity)
print(found.new, len(found.failed), found.table["policy"].tolist())
"""


def test_a_policy_whose_source_is_not_kept_is_refused_before_the_first_run(tmp_path: Path) -> None:
    text = (CELL + SWEEP).replace("WORKERS", "2")
    line = [sys.executable, "-c", text]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].startswith(
        "flowsim.errors.InputError: policy '__main__:Mine': has a source that cannot be read; expected one in a file"
    )
    assert not (tmp_path / "out").exists()


FILE = CELL.replace("KEY = ", "from sign_ import SIGN\nKEY = ").replace("SIGN = 1", "")
RELOAD = """
import flowsim, importlib, pathlib, time
study = {"run": {"trace": "example", "workload.rate_scale": 8}, "axes": {"policy": ["mine_:Mine", "fcfs"]}}
def swept():
    try:
        runs = flowsim.sweep(study, "out", workers=2)
        print(runs.new, runs.table["attainment"].round(3).tolist())
    except flowsim.InputError as error:
        print(error)
swept()
pathlib.Path("sign_.py").write_text("SIGN = -1\\n")
swept()
import mine_, sign_
importlib.reload(sign_); importlib.reload(mine_)
swept()
"""


def test_workers_that_have_imported_an_older_file_import_it_again(tmp_path: Path) -> None:
    (tmp_path / "mine_.py").write_text(FILE)
    (tmp_path / "sign_.py").write_text("SIGN = 1\n")
    said = script(tmp_path, RELOAD).stdout.splitlines()
    assert said[0] == "2 [0.175, 0.205]"
    assert said[1].startswith("policy 'mine_:Mine': sign_ has changed since it was imported; expected a new process")
    assert said[2] == "1 [0.68, 0.205]"
