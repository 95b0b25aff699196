"""Files of the folder in which flowsim is typed: none is run or imported unless a policy of one's own names it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.cli import write

STANDARD = ("queue", "decimal", "random", "json", "copy", "difflib", "typing", "tempfile", "statistics")
INSTALLED = ("rich", "click", "numpy", "pandas", "yaml", "simpy", "msgspec", "joblib", "scipy")
SCRIPT = "import sys\nfrom flowsim.cli.main import main\nsys.exit(main())\n"
"""What an installer writes as the command `flowsim`."""
STUDY = "run: {trace: t.jsonl}\naxes: {policy: [fcfs, 'mine:Mine']}\n"
MINE = """
import queue, rich
from flowsim import Pass

class Mine:
    cut, wake = "none", "events"
    def choose(self, view):
        return Pass.whole(*view.waiting) if view.waiting and not view.running else None
"""


@pytest.fixture
def traps(folder: Path) -> Path:
    """A folder of modules that leave a file behind when they are imported, and fail."""
    for name in (*STANDARD, *INSTALLED):
        write(f"{name}.py", f"open('ran_{name}', 'w')\nraise RuntimeError")
    write("study.yaml", STUDY)
    write("mine.py", MINE)
    return folder


@pytest.fixture
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bin") / "flowsim"
    path.write_text(SCRIPT)
    return path


@pytest.mark.parametrize("way", ["script", "module"])
@pytest.mark.parametrize(
    "command",
    [
        "run t.jsonl",
        "run t.jsonl --policy mine:Mine",
        "compare t.jsonl --policy fcfs --policy mine:Mine --out both",
        "sweep study.yaml --out swept --workers 2",
    ],
)
def test_local_modules_neither_run_nor_break_a_command(traps: Path, script: Path, way: str, command: str) -> None:
    start = [str(script)] if way == "script" else ["-m", "flowsim"]
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    line = [sys.executable, *start, *command.split()]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert not list(traps.glob("ran_*"))
