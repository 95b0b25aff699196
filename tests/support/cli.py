"""The command line as users type it: what it prints, the files it leaves, the line it refuses with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner, Result

from flowsim.cli.main import main

FILES = {"config.yaml", "requests.parquet", "summary.json"}

ROWS = [
    {"arrival_s": 0, "input_length": 100, "output_length": 5, "class": "text"},
    {"arrival_s": 1, "input_length": 200, "class": "search"},
    {"arrival_s": 2, "input_length": 300, "class": "text"},
]

OWN = """
import os, pathlib, time
from flowsim import Pass

class Fine:
    cut, wake = "none", "events"
    def choose(self, view):
        return Pass.whole(*view.waiting) if view.waiting and not view.running else None

class Blind:
    cut, wake = "none", "events"

class Vague(Fine):
    cut = "often"

class Raises(Fine):
    def choose(self, view):
        return {}["x"]

class BadOrder(Fine):
    def choose(self, view):
        return view.first("deadline")

class Stillborn(Fine):
    def __init__(self, speed=1):
        raise RuntimeError("no speed")

class Text(Fine):
    def choose(self, view):
        return "the first"

class Bare(Fine):
    def choose(self, view):
        return next(iter(view.waiting))

class Unpaired(Fine):
    def choose(self, view):
        return Pass(tuple(view.waiting))

class Empty(Fine):
    def choose(self, view):
        return Pass(())

class Greedy(Fine):
    def choose(self, view):
        return Pass(((next(iter(view.waiting)), 10**6),))

class Half(Fine):
    def choose(self, view):
        return Pass(((next(iter(view.waiting)), 0.5),))

class Writes(Fine):
    def choose(self, view):
        for request in view.waiting:
            request.tokens = 1
        return super().choose(view)

class Idle(Fine):
    def choose(self, view):
        return None

class Slow(Fine):
    def choose(self, view):
        pathlib.Path("running").touch()
        time.sleep(60)
"""


def write(name: str, *rows: object) -> str:
    Path(name).write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows))
    return name


def invoke(*arguments: str) -> Result:
    """What a command did; a traceback fails the test."""
    result = CliRunner().invoke(main, arguments, prog_name="flowsim")
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def done(*arguments: str) -> str:
    """What a command printed that went well."""
    result = invoke(*arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def tree() -> dict[str, bytes]:
    """Every file in the current folder; compiled policies do not count."""
    files = (path for path in Path().rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path): path.read_bytes() for path in files}


def refused(*arguments: str) -> str:
    """The line that a command said which could do nothing: on stderr, status 2, nothing printed, nothing written."""
    before = tree()
    result = invoke(*arguments)
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert result.stderr.startswith("flowsim: error: ")
    assert result.stderr.count("\n") == 1
    assert tree() == before
    return result.stderr.removeprefix("flowsim: error: ").rstrip()


def shell(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flowsim", *arguments]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
