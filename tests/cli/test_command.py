"""What all commands share: errors of one line, interruptions, and readers that go away."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.cli import refused, shell, tree

pytestmark = pytest.mark.usefixtures("folder")


@pytest.mark.parametrize(
    "command",
    ["run t.jsonl", "compare t.jsonl", "sweep s.yaml", "capacity t.jsonl", "plot results", "traces scale t.jsonl 2"],
)
def test_an_empty_output_is_refused(command: str) -> None:
    assert refused(*command.split(), "--out", "").startswith("--out must be a f")


def test_errors_in_a_shell_have_no_traceback() -> None:
    for arguments in (("run", "absent.jsonl"), ("run", "t.jsonl", "--policy", "own_policies:Raises"), ("runn",)):
        result = shell(*arguments)
        assert (result.returncode, result.stdout) == (2, "")
        assert result.stderr.startswith("flowsim: error: ")
        assert result.stderr.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_an_interruption_leaves_nothing_behind() -> None:
    before = set(tree())
    command = [
        sys.executable,
        "-m",
        "flowsim",
        "run",
        "t.jsonl",
        "--policy",
        "own_policies:Slow",
        "--out",
        "results",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not Path("running").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, stdout, stderr.strip()) == (130, "", "flowsim: interrupted")
    assert set(tree()) == before | {"running"}
    assert not Path("results").exists()


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{shlex.quote(sys.executable)} -m flowsim policies | true"
    result = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert "Traceback" not in result.stderr
