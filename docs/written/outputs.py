"""The output of commands, in blocks of code whose first line is `$ flowsim ...`."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHOWN = re.compile(r"(?<=^```\n)\$ flowsim ([^\n]*)\n(.*?)(?=^```$)", re.MULTILINE | re.DOTALL)
"""A block with output: its command, and what it shows."""
TIMED = re.compile(r"(?<=, in )[\d.]+(?= s of CPU)")
"""What differs from run to run."""


def words(command: str, folder: Path) -> list[str]:
    """The words of a command as a shell in this folder makes them: patterns become the files that match."""
    found = ((word, sorted(folder.glob(word)) if "*" in word else []) for word in shlex.split(command))
    return [text for word, paths in found for text in [str(p.relative_to(folder)) for p in paths] or [word]]


def as_shown(output: str) -> str:
    """What a command printed as a page shows it: without spaces at the ends of lines."""
    return "".join(f"{line.rstrip()}\n" for line in output.splitlines())


def with_outputs(page: str) -> str:
    """A page with the outputs of its commands as they come out now; times of CPU stay, lest every change be theirs."""

    def block(found: re.Match[str]) -> str:
        command, shown = found[1], found[2]
        output = as_shown(_output(command))
        if TIMED.sub("", output) == TIMED.sub("", shown):
            output = shown
        return f"$ flowsim {command}\n{output}"

    return SHOWN.sub(block, page)


def _output(command: str) -> str:
    """What the command prints, 120 columns wide, in an empty folder beside the tests' data."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "tests").symlink_to(ROOT / "tests")
        run = [sys.executable, "-m", "flowsim", *words(command, Path(folder))]
        surroundings = {**os.environ, "COLUMNS": "120"}
        done = subprocess.run(run, cwd=folder, env=surroundings, check=True, capture_output=True, text=True)
    return done.stdout
