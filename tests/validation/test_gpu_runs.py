"""The GPU runs of a validation when they are interrupted or run out of memory: what is kept, and what is said."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from flowsim.calibration.gpu_engine import replay as executor
from flowsim.calibration.gpu_engine import warm_up as serving
from flowsim.io.locks import locked
from support.validation import command, invoke

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("hurried")


def test_an_interrupted_validation_keeps_what_has_ended_and_goes_on(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = executor.replay_on_device, 0

    def interrupted(*args: object, **options: object) -> executor.Replay:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return real(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("flowsim.validation.gpu_runs.replay_on_device", interrupted)
    first = invoke(command("broken"))
    assert first.exit_code == 130
    assert first.stderr.endswith("flowsim: interrupted\n")
    assert sorted(path.name for path in Path("broken", "runs").iterdir()) == [
        "fcfs-64.00-req-s.events-1.jsonl.gz",
        "fcfs-64.00-req-s.json",
    ]
    assert not list(here.rglob(".flowsim-*"))
    second = invoke(command("broken"))
    assert second.exit_code == 0, second.output
    assert calls == 5  # four runs, and the one that was interrupted


def test_ctrl_c_ends_a_real_run_at_once(here: Path) -> None:
    arguments = command("killed", "--rate-scale", "0.1", "--duration", "25")
    process = subprocess.Popen([sys.executable, "-m", "flowsim", *arguments], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while "run 1 of 2" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=300)[1]
    assert process.returncode == 130
    assert said.strip() == "flowsim: interrupted"
    assert not Path("killed", "runs").exists()
    assert not list(here.rglob(".flowsim-*"))


ENDLESS = """
import sys
from flowsim.calibration.gpu_engine import warm_up as serving
from flowsim.cli.main import main

forward = serving.forward
serving.forward = lambda *given: (pause for _ in range(10**6) for pause in forward(*given))
sys.argv[0] = "flowsim"
main()
"""
"""A command whose warm-up never ends by itself."""


@pytest.mark.parametrize(
    ("kind", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_a_signal_ends_the_warm_up_at_once_and_leaves_nothing(here: Path, kind: signal.Signals, status: int) -> None:
    out = f"warm-{kind.name}"
    arguments = [sys.executable, "-c", ENDLESS, *command(out, "--repeats", "1")]
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while "warming up" not in process.stderr.readline():
        assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    second = invoke(command(out, "--repeats", "1"))
    assert second.exit_code == 2
    assert second.stderr.startswith(f"flowsim: error: {out}: is in use by another command")
    process.send_signal(kind)
    said = process.communicate(timeout=300)[1]
    assert process.returncode == status
    words = {signal.SIGINT: "flowsim: interrupted", signal.SIGTERM: "flowsim: terminated"}
    assert said.strip() == words.get(kind, "")
    assert not list(Path(out).glob("*"))
    assert Path(out).exists() == (kind is signal.SIGKILL)
    assert not list(here.rglob(".flowsim-*"))
    with locked(out):
        pass


def test_a_warm_up_that_runs_out_of_memory_is_one_line(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(serving, "forward", full)
    result = invoke(command("cold"))
    assert result.exit_code == 2
    assert "the device ran out of memory; use a smaller model" in result.stderr.splitlines()[-1]
    assert not Path("cold", "runs").exists()
    assert "runner" not in {thread.name for thread in threading.enumerate()}


def test_a_gpu_that_runs_out_of_memory_is_one_line(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("flowsim.validation.gpu_runs.replay_on_device", full)
    result = invoke(command("full"))
    assert result.exit_code == 2
    assert "the device ran out of memory; use a smaller model" in result.stderr
    assert not Path("full", "runs").exists()
