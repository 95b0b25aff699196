"""Kills at random moments of every command that writes: no output is half written, and the next run makes it whole."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

WRITERS: Mapping[str, str] = {
    "run t.csv --policy fcfs --out new -q": "new",
    "compare t.csv --policy fcfs --policy edf --out new -q": "new",
    "sweep study.yaml --out new --workers 1 -q": "new",
    "capacity t.csv --policy fcfs --replications 1 --tolerance 0.5 --workers 1 --out new -q": "new",
    "plot done --out new -q": "new",
    "bundle done --out new.zip -q": "new.zip",
    "traces synth qwen --requests 5000 --rate 5 --out new.jsonl.gz": "new.jsonl.gz",
    "traces convert t.jsonl --out new.parquet": "new.parquet",
}
"""Commands that write, and the file or folder that each writes."""
GROWING = (".jsonl", ".lock")
"""The ends of the names of files that grow: the journal of a study, and what locks its folder."""


@dataclass(frozen=True)
class Kill:
    """One command that was killed.

    Attributes:
        command: that was killed.
        after_s: seconds after its start.
        ended: whether it had ended by then.
        fault: what is wrong with what it left, or with what the next run made of it; "" if nothing is.
    """

    command: str
    after_s: float
    ended: bool
    fault: str


def kills(pristine: Path, work: Path, seed: int) -> Iterator[Kill]:
    """Kills without end, by turns of every command, each at a moment drawn from the time that it takes.

    Args:
        pristine: a folder of valid inputs, which stays as it is.
        work: a folder for copies of it.
        seed: of the moments.
    """
    rng, wholes = Random(seed), {}
    while True:
        for command, place in WRITERS.items():
            if command not in wholes:
                begin = time.monotonic()
                done = _started(command, _copied(pristine, work)).wait()
                assert done == 0, command
                wholes[command] = _bytes_of(work / place), time.monotonic() - begin
            whole, took_s = wholes[command]
            yield _killed(command, _copied(pristine, work), place, whole, rng.uniform(0.2, 1) * took_s)


def _killed(command: str, work: Path, place: str, whole: Mapping[str, bytes], after_s: float) -> Kill:
    process = _started(command, work)
    time.sleep(after_s)
    ended = process.poll() is not None
    process.kill()
    process.wait()
    left = {name: content for name, content in _bytes_of(work / place).items() if not name.endswith(GROWING)}
    torn = sorted(name for name, content in left.items() if content != whole.get(name, content))
    if torn:
        return Kill(command, after_s, ended, f"left {', '.join(torn)} half written")
    if _started(command, work).wait() != 0:
        return Kill(command, after_s, ended, "cannot be run again")
    again = _bytes_of(work / place)
    differing = sorted(name for name in whole.keys() | again.keys() if whole.get(name) != again.get(name))
    return Kill(command, after_s, ended, f"makes other bytes of {', '.join(differing)}" if differing else "")


def _started(command: str, work: Path) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "flowsim", *command.split()]
    return subprocess.Popen(words, cwd=work, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _copied(pristine: Path, work: Path) -> Path:
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(pristine, work)
    return work


def _bytes_of(place: Path) -> dict[str, bytes]:
    """The content of a file, or of every file in a folder that is not hidden, by name."""
    if place.is_file():
        return {place.name: place.read_bytes()}
    found = (path for path in sorted(place.rglob("*")) if path.is_file())
    named = {path.relative_to(place).as_posix(): path for path in found}
    return {name: path.read_bytes() for name, path in named.items() if "/." not in f"/{name}"}
