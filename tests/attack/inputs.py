"""Bad inputs: each must end in one line, or be good enough after all, within bounds of time and memory."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from click.testing import CliRunner, Result

from attack.damage import INJECTED, OWN_CODE, damaged, damaged_words, injected
from attack.forked import forked
from attack.targets import COMMANDS, TARGETS, UNTRUSTED, known_options
from flowsim.cli.main import main

MOST_S = 5.0
"""Seconds of CPU that an input may take before it is refused."""
LINES = ("flowsim: error: ", "flowsim: warning: ")
OUT_OF_MEMORY = ("MemoryError", "malloc of size", "Unable to allocate", "bad_alloc", "ot enough memory")
"""What says that memory ran out, in whatever words it is refused."""
MARK = "injected"
"""The file that injected code would leave."""


@dataclass(frozen=True)
class Attack:
    """One attack.

    Attributes:
        kind: of the input, or of what was done to the command.
        command: what was run.
        fault: what is wrong with what happened, after its kind: "traceback: ..."; "" if nothing is.
        refused: whether the input was refused.
        cpu_s: seconds of CPU that it took.
        mib: memory that it took.
    """

    kind: str
    command: str
    fault: str
    refused: bool = False
    cpu_s: float = 0.0
    mib: float = 0.0


def attacks(pristine: Path, work: Path, seed: str) -> Iterator[Attack]:
    """Attacks without end, by turns of every kind.

    Args:
        pristine: a folder of valid inputs, which stays as it is.
        work: a folder for its damaged copy.
        seed: of all that is drawn.
    """
    rng, options = Random(seed), known_options()
    while True:
        for target in TARGETS:
            copied(pristine, work)
            path = rng.choice(target.files(work))
            path.write_bytes(damaged(path.read_bytes(), rng))
            yield _attack(target.kind, rng.choice(target.commands).split(), work)
        copied(pristine, work)
        yield _attack("command line", damaged_words(rng.choice(COMMANDS).split(), options, rng), work)
        copied(pristine, work)
        target = rng.choice([target for target in TARGETS if target.kind != "policy"])  # a policy is code
        path, words = rng.choice(target.files(work)), rng.choice(target.commands).split()
        if rng.random() < 0.8:
            odd = INJECTED + OWN_CODE * (target.kind in UNTRUSTED)
            path.write_bytes(injected(path.read_bytes(), rng, odd))
        else:
            words = damaged_words(words, options, rng, INJECTED)
        yield _attack("injection", words, work)


def copied(pristine: Path, work: Path) -> Path:
    """A fresh copy of the valid inputs."""
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(pristine, work)
    return work


def _attack(kind: str, words: list[str], work: Path) -> Attack:
    def act() -> tuple[str, bool]:
        os.chdir(work)
        sys.modules.pop("mine", None)
        result = CliRunner().invoke(main, words)
        return _fault(result), result.exit_code == 2

    ending = forked(act)
    fault, refused = ending.value or (ending.fault, False)
    if not fault and refused and ending.cpu_s > MOST_S:
        fault = f"slow: was refused after {ending.cpu_s:.1f} s"
    if (work / MARK).exists():
        fault = "injection: code in data was run"
    return Attack(kind, shlex.join(words), fault, refused, ending.cpu_s, ending.mib)


def _fault(result: Result) -> str:
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        kind = "memory" if isinstance(result.exception, MemoryError) else "traceback"
        last = result.exc_info[2] if result.exc_info else None
        while last is not None and last.tb_next is not None:
            last = last.tb_next
        place = f"{Path(last.tb_frame.f_code.co_filename).name}:{last.tb_lineno}" if last else "?"
        return f"{kind}: {type(result.exception).__name__} at {place}: {result.exception}"[:300]
    if any("\x1b" in line for line in result.stdout.splitlines()):
        return "output: writes an escape sequence"
    return line_fault(result.exit_code, result.stderr)


def line_fault(code: int, stderr: str) -> str:
    """What is wrong with how a command ended that was neither killed nor raised anything."""
    lines = [line for line in stderr.splitlines() if line]
    errors = [line for line in lines if line.startswith(LINES[0])]
    if "Traceback (most recent call last):" in lines:
        return f"traceback: {lines[-1][:200]}"
    if any(words in stderr for words in OUT_OF_MEMORY):
        return f"memory: {lines[-1][:200]}"
    if stray := [line for line in lines if not line.startswith(LINES)]:
        return f"output: writes {stray[0][:200]!r}"
    if "\x1b" in stderr:
        return "output: writes an escape sequence"
    if code == 2:
        return "" if len(lines) == len(errors) == 1 else f"output: is refused in {len(lines)} lines: {stderr[:400]!r}"
    return "" if code in (0, 1) and not errors else f"status: exits with {code}"
