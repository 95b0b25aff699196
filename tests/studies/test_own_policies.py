"""Policies of a notebook's cell, and edited ones, on several workers: the runs are of the source that the key says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

import flowsim
from flowsim.errors import InputError
from flowsim.policies.fcfs import FCFS

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
