"""What all commands share: errors of one line, interruptions, and readers that go away."""

from __future__ import annotations

import resource
import shlex
import signal
import subprocess
import sys
import time
import warnings
from functools import partial
from pathlib import Path

import pytest

from flowsim.cli.command import warnings_in_one_line, working
from flowsim.errors import InputWarning
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


@pytest.mark.skipif(sys.platform == "win32", reason="devices and limits of POSIX")
@pytest.mark.parametrize(
    ("arguments", "output", "status", "said"),
    [
        ("policies", "> /dev/full", 2, "flowsim: error: cannot write: No space left on device\n"),
        ("--help", "> /dev/full", 2, "flowsim: error: cannot write: No space left on device\n"),
        ("policies", "| true", 1, ""),
        ("policies", ">&-", 0, ""),
    ],
)
def test_output_that_cannot_be_written_is_told_in_one_line(arguments: str, output: str, status: int, said: str) -> None:
    line = f"set -o pipefail; {shlex.quote(sys.executable)} -m flowsim {arguments} {output}"
    result = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (status, said)


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
@pytest.mark.parametrize("most", [100, 3000])
def test_a_sweep_goes_on_after_the_disk_was_full(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")  # Python itself keeps half of what had no room
    Path("s.yaml").write_text("run: {trace: t.jsonl}\naxes: {policy: [fcfs, edf]}\nrequests: true\n")
    command = [sys.executable, "-m", "flowsim", "sweep", "s.yaml", "--out", "results", "--workers", "1", "-q"]
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (most, most))
    full = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, preexec_fn=limit)
    assert full.returncode == 2
    assert full.stderr.startswith("flowsim: error: results")
    assert full.stderr.endswith("cannot be written (File too large)\n")
    assert full.stderr.count("\n") == 1
    assert subprocess.run(command, check=False).returncode == 0
    assert {path.name for path in Path("results").iterdir()} == {"requests", "runs.parquet", "study.yaml"}


def test_what_is_refused_is_told_without_the_warnings_before() -> None:
    Path("unpinned.yaml").write_text("trace: t.jsonl\n")
    assert shell("run", "unpinned.yaml", "-q").stderr.startswith("flowsim: warning: unpinned.yaml: pins no trace")
    Path("unpinned.yaml").write_text("trace: absent.jsonl\n")
    assert refused("run", "unpinned.yaml").startswith("absent.jsonl: ")


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
        deadline = time.monotonic() + 300
        while not Path("running").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=300)
    finally:
        process.kill()
    assert (process.returncode, stdout, stderr.strip()) == (130, "", "flowsim: interrupted")
    assert set(tree()) == before | {"running"}
    assert not Path("results").exists()


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{shlex.quote(sys.executable)} -m flowsim policies | true"
    result = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert "Traceback" not in result.stderr


def test_the_warnings_of_long_work_are_said_while_it_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings_in_one_line(), working("sweeping", quiet=False) as progress:
        assert progress is not None
        for said in ("flowsim: warning: odd\n", ""):  # once
            warnings.warn("odd", InputWarning, stacklevel=1)
            assert capsys.readouterr().err == ""
            progress(0, 2, "starting")
            assert capsys.readouterr().err == said
        warnings.warn("odder", InputWarning, stacklevel=1)
    assert capsys.readouterr().err == "flowsim: warning: odder\n"
