"""Ctrl-C and SIGTERM end a command promptly, whatever a policy does, in one line and with the status of shells."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

LOOPS = """
import os
from pathlib import Path

from flowsim import Pass


class Loops:
    cut, wake = "none", "events"

    def choose(self, view):
        Path(f"asked.{os.getpid()}").touch()
        while True:
            try:
                while True:
                    pass
            except Exception:
                pass


class Stubborn(Loops):
    def choose(self, view):
        Path("asked.1").touch()
        while True:
            try:
                while True:
                    pass
            except:
                Path("told").touch()
"""
STUDY = "run: {trace: example}\naxes: {policy: [loops:Loops, fcfs], seed: [1, 2, 3]}\n"
SWEEP = ["sweep", "study.yaml", "--out", "out", "--workers"]
ENDS = {signal.SIGINT: (130, "flowsim: interrupted"), signal.SIGTERM: (143, "flowsim: terminated")}
if sys.platform != "win32":
    ENDS[signal.SIGHUP] = (129, "flowsim: hung up")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loops.py").write_text(LOOPS)
    Path("study.yaml").write_text(STUDY)


def started(words: Sequence[str]) -> subprocess.Popen[str]:
    """A command in a process group of its own, as a shell starts it."""
    command = [sys.executable, "-m", "flowsim", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, start_new_session=True, **pipes)  # type: ignore[call-overload, no-any-return]


def wait_for(pattern: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 300
    while not list(Path().glob(pattern)):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("number", ENDS)
@pytest.mark.parametrize(
    "words",
    [
        ["run", "example", "--policy", "loops:Loops", "--out", "out"],
        ["policies", "loops:Loops"],
        [*SWEEP, "1"],
        [*SWEEP, "2"],
    ],
)
def test_a_policy_that_never_answers_is_ended_and_not_blamed(words: list[str], number: signal.Signals) -> None:
    process = started(words)
    try:
        wait_for("asked.*", process)
        workers = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=300)
        assert (process.returncode, stdout, stderr.strip()) == (ENDS[number][0], "", ENDS[number][1])
        assert psutil.wait_procs(workers, timeout=300)[1] == []
    finally:
        process.kill()
    assert not list(Path().glob(".*"))  # such as the lock of the folder
    assert not [path for path in Path().rglob("out/*") if "error" in path.read_text()]


@pytest.mark.parametrize("wait_s", [0.0, 0.1, 0.2, 0.4])
def test_ctrl_c_that_reaches_workers_as_they_start_is_told_in_one_line(wait_s: float) -> None:
    process = started([*SWEEP, "2"])
    try:
        while not psutil.Process(process.pid).children():
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(wait_s)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it
        stdout, stderr = process.communicate(timeout=300)
        assert (process.returncode, stdout, stderr.strip()) == (130, "", "flowsim: interrupted")
    finally:
        process.kill()


def test_a_second_signal_ends_what_takes_the_first_for_an_error_of_its_own() -> None:
    process = started(["run", "example", "--policy", "loops:Stubborn"])
    try:
        wait_for("asked.*", process)
        process.send_signal(signal.SIGTERM)
        wait_for("told", process)
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=300) == ("", "flowsim: terminated\n")
        assert process.returncode == 143
    finally:
        process.kill()


AT = """
import atexit, os, runpy, sys

def come(*given):
    os.kill(os.getpid(), {number})
    for _ in range(10**6):  # a signal is handled between two steps
        pass

class AtImport:
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            come()

{when}
sys.argv[1:] = ["policies"]
runpy.run_module("flowsim", run_name="__main__")
"""


@pytest.mark.parametrize("number", ENDS)
@pytest.mark.parametrize(
    ("when", "module"),
    [
        ("sys.meta_path.insert(0, AtImport())", "flowsim.errors"),
        ("sys.meta_path.insert(0, AtImport())", "numpy"),
        ("atexit.register(come)", ""),
    ],
)
def test_a_signal_at_the_start_or_the_end_writes_no_traceback(when: str, module: str, number: signal.Signals) -> None:
    code = AT.format(number=int(number), when=when, module=module)
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (process.returncode, process.stderr) == (ENDS[number][0], f"{ENDS[number][1]}\n")


@pytest.mark.parametrize("number", ENDS, ids=str)
def test_a_signal_while_an_object_is_finalised_ends_a_command_too(number: signal.Signals) -> None:
    """Python drops what is raised there."""
    Path("finalised.py").write_text(
        "import os\n"
        "from flowsim.policies.edf import EDF\n\n\n"
        "class Late:\n"
        "    def __del__(self):\n"
        f"        os.kill(os.getpid(), {int(number)})\n"
        "        [None for _ in range(10)]\n\n\n"
        "class Finalises(EDF):\n"
        "    def choose(self, view):\n"
        "        Late()\n"
        "        return super().choose(view)\n"
    )
    command = [sys.executable, "-m", "flowsim", "run", "example", "--policy", "finalised:Finalises", "-q"]
    done = subprocess.run(command, capture_output=True, text=True)
    status, said = ENDS[number]
    assert (done.returncode, done.stderr.splitlines()) == (status, [said])
