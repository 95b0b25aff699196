"""Bad inputs: each must end in one line, or be good enough after all, without a traceback and within 5 seconds."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import FrameType

from click.testing import CliRunner, Result

from attack.damage import damaged, damaged_words
from attack.targets import COMMANDS, TARGETS, known_options
from flowsim.cli.main import main

MOST_S = 5.0
"""Seconds of this process that an input may take before it is refused."""
GIVEN_UP_S = 30
LINES = ("flowsim: error: ", "flowsim: warning: ")


@dataclass(frozen=True)
class Attack:
    """One bad input.

    Attributes:
        kind: of the input.
        command: what was run.
        fault: what is wrong with what happened; "" if nothing is.
        refused: whether it was refused.
    """

    kind: str
    command: str
    fault: str
    refused: bool


class TooSlow(BaseException):
    """A command was given up."""


def attacks(pristine: Path, work: Path, seed: int) -> Iterator[Attack]:
    """Attacks without end, by turns of every kind.

    Args:
        pristine: a folder of valid inputs, which stays as it is.
        work: a folder for its damaged copy.
        seed: of all that is drawn.
    """
    rng, options = Random(seed), known_options()
    while True:
        for target in TARGETS:
            _copied(pristine, work)
            path = rng.choice(target.files(work))
            path.write_bytes(damaged(path.read_bytes(), rng))
            yield _attack(target.kind, rng.choice(target.commands).split(), work)
        _copied(pristine, work)
        yield _attack("command line", damaged_words(rng.choice(COMMANDS).split(), options, rng), work)


def _copied(pristine: Path, work: Path) -> None:
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(pristine, work)


def _attack(kind: str, words: list[str], work: Path) -> Attack:
    sys.modules.pop("mine", None)
    begin = time.process_time()
    try:
        with _within(work), _given_up():
            result = CliRunner().invoke(main, words)
    except TooSlow:
        return Attack(kind, shlex.join(words), f"took more than {GIVEN_UP_S} s", False)
    took_s, refused = time.process_time() - begin, result.exit_code == 2
    fault = _fault(result) or (f"was refused after {took_s:.1f} s" if refused and took_s > MOST_S else "")
    return Attack(kind, shlex.join(words), fault, refused)


def _fault(result: Result) -> str:
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        last = result.exc_info[2] if result.exc_info else None
        while last is not None and last.tb_next is not None:
            last = last.tb_next
        place = f"{Path(last.tb_frame.f_code.co_filename).name}:{last.tb_lineno}" if last else "?"
        return f"{type(result.exception).__name__} at {place}: {result.exception}"[:300]
    lines = [line for line in result.stderr.splitlines() if line]
    if stray := [line for line in lines if not line.startswith(LINES)]:
        return f"writes {stray[0][:200]!r}"
    if any("\x1b" in line for line in [*lines, *result.stdout.splitlines()]):
        return "writes an escape sequence"
    errors = [line for line in lines if line.startswith(LINES[0])]
    if result.exit_code == 2:
        return "" if len(errors) == 1 else f"is refused in {len(errors)} lines"
    return "" if result.exit_code in (0, 1) and not errors else f"exits with {result.exit_code}"


@contextmanager
def _within(work: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(work)
    try:
        yield
    finally:
        os.chdir(before)


@contextmanager
def _given_up() -> Iterator[None]:
    def end(number: int, frame: FrameType | None) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(GIVEN_UP_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
