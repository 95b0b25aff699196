"""Commands that are killed, find the disk full, or run twice at once; and what they print where it cannot be printed.

No output is half written, what is refused is refused in one line, and the next run makes the same bytes.
"""

from __future__ import annotations

import os
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

from attack.inputs import MARK, Attack, copied, line_fault

WRITERS: Mapping[str, str] = {
    "run t.csv --policy fcfs --out new -q": "new",
    "compare t.csv --policy fcfs --policy edf --out new -q": "new",
    "sweep study.yaml --out new --workers 1 -q": "new",
    "sweep study.yaml --out new --workers 2 -q": "new",
    "capacity t.csv --policy fcfs --replications 1 --tolerance 0.5 --workers 1 --out new -q": "new",
    "plot done --out new -q": "new",
    "bundle done --out new.zip -q": "new.zip",
    "show run --html new.html": "new.html",
    "show run --timeline new.json": "new.json",
    "explain t.csv --figure new.svg": "new.svg",
    "traces synth qwen --requests 5000 --rate 5 --out new.jsonl.gz": "new.jsonl.gz",
    "traces convert t.jsonl --out new.parquet": "new.parquet",
    "traces merge t.csv t.jsonl --out new.csv": "new.csv",
    "calibrate import public --model model.json --out new": "new",
    "calibrate server bench.json --out new.yaml": "new.yaml",
    "validate evidence -q --out new": "new",
}
"""Commands that write, and the file or folder that each writes."""
PRINTERS = (
    "run t.csv", "compare t.csv --policy fcfs --policy edf", "traces info t.csv", "explain t.csv", "bound t.csv",
    "show done", "show run --json", "sweep study.yaml --out done --workers 1", "policies", "metrics", "--help",
)  # fmt: skip
GROWING = (".jsonl", ".lock")
"""The ends of the names of files that grow: the journal of a study, and what locks its folder."""


@dataclass(frozen=True)
class Whole:
    """What a command makes when nothing comes between.

    Attributes:
        files: their bytes, by name.
        took_s: seconds that it took.
    """

    files: Mapping[str, bytes]
    took_s: float


def interruptions(pristine: Path, work: Path, seed: str) -> Iterator[Attack]:
    """Interruptions without end, by turns of every kind and every command, each at a moment drawn.

    Args:
        pristine: a folder of valid inputs, which stays as it is.
        work: a folder for copies of it.
        seed: of what is drawn.
    """
    rng, wholes = Random(seed), dict[str, Whole]()
    commands = list(WRITERS.items())
    while True:
        rng.shuffle(commands)
        for command, place in commands:
            if command not in wholes:
                begin = time.monotonic()
                process = _started(command, copied(pristine, work))
                stderr = _ended(process)
                assert not process.returncode, f"{command}: {stderr}"
                wholes[command] = Whole(_bytes_of(work / place), time.monotonic() - begin)
            for kind, way in WAYS.items():
                fault = way(command, copied(pristine, work), place, wholes[command], rng)
                yield Attack(kind, command, "injection: code in data was run" if (work / MARK).exists() else fault)
            yield _printed(rng.choice(PRINTERS), copied(pristine, work), rng)


def _killed(command: str, work: Path, place: str, whole: Whole, rng: Random) -> str:
    process = _started(command, work)
    time.sleep(rng.uniform(0.2, 1) * whole.took_s)
    process.kill()
    _ended(process)
    return _torn(work / place, whole) or _again(command, work, place, whole)


def _filled(command: str, work: Path, place: str, whole: Whole, rng: Random) -> str:
    """No file may grow beyond a size, as on a disk that is full."""
    most = int(max(map(len, whole.files.values())) * rng.random() ** 2)
    process = _started(command, work, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)))
    stderr = _ended(process)
    fault = line_fault(process.returncode, stderr) or _torn(work / place, whole)
    return f"{fault} ({most} bytes fit)" if fault else _again(command, work, place, whole)


def _twice(command: str, work: Path, place: str, whole: Whole, rng: Random) -> str:
    """A second one starts while the first runs, and the first may be killed."""
    first = _started(command, work)
    time.sleep(rng.uniform(0, 1) * whole.took_s)
    second = _started(command, work)
    if killed := rng.random() < 0.5:
        time.sleep(rng.uniform(0, 1) * whole.took_s)
        first.kill()
    ended = [(process, _ended(process)) for process in (first, second)]
    told = [(process, stderr) for process, stderr in ended if process.returncode >= 0]
    faults = [fault for process, stderr in told if (fault := line_fault(process.returncode, stderr))]
    if not killed and all(process.returncode for process, _ in ended):
        faults.append("status: both are refused")
    return next(iter(faults), "") or _torn(work / place, whole) or _again(command, work, place, whole)


WAYS = {"kill": _killed, "disk full": _filled, "two at once": _twice}


def _printed(command: str, work: Path, rng: Random) -> Attack:
    """A command prints where nothing can be printed, or not all letters."""
    outputs = {"full": "/dev/full", "closed": ">&-", "cut": "| head -c 20", "ascii": "", "cp1252": "", "latin-1": ""}
    kind = rng.choice(list(outputs))
    words, encoding = shlex.join(_words(command)), {} if outputs[kind] else {"PYTHONIOENCODING": kind}
    line = f"set -o pipefail; {words} {'> ' * (kind == 'full')}{outputs[kind]}"
    environment = {**os.environ, **encoding}
    done = subprocess.run(["bash", "-c", line], cwd=work, env=environment, capture_output=True, check=False)
    fault = line_fault(done.returncode, done.stderr.decode(errors="replace"))
    if not outputs[kind] and done.returncode:
        fault = fault or f"status: exits with {done.returncode}"
    return Attack("standard output", f"{command} ({kind})", fault)


def _torn(place: Path, whole: Whole) -> str:
    """Which files are there and not whole."""
    left = {name: content for name, content in _bytes_of(place).items() if not name.endswith(GROWING)}
    torn = sorted(name for name, content in left.items() if content != whole.files.get(name, content))
    return f"torn: left {', '.join(torn)} half written" if torn else ""


def _again(command: str, work: Path, place: str, whole: Whole) -> str:
    """How the next run differs from the first one that nothing interrupted."""
    process = _started(command, work)
    stderr = _ended(process)
    if process.returncode:
        return f"resumption: cannot be run again: {stderr[:200]}"
    again = _bytes_of(work / place)
    names = whole.files.keys() | again.keys()
    differing = sorted(name for name in names if whole.files.get(name) != again.get(name))
    return f"resumption: makes other bytes of {', '.join(differing)}" if differing else ""


def _words(command: str) -> list[str]:
    return [sys.executable, "-P", "-m", "flowsim", *command.split()]


def _started(command: str, work: Path, limit: Callable[[], None] | None = None) -> subprocess.Popen[str]:
    words, nowhere, pipe = _words(command), subprocess.DEVNULL, subprocess.PIPE
    surroundings = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}  # Python itself keeps half of what had no room
    return subprocess.Popen(words, cwd=work, env=surroundings, stdout=nowhere, stderr=pipe, text=True, preexec_fn=limit)


def _ended(process: subprocess.Popen[str]) -> str:
    """What a process wrote to stderr until it ended."""
    return process.communicate()[1]


def _bytes_of(place: Path) -> dict[str, bytes]:
    """The content of a file, or of every file in a folder that is not hidden, by name."""
    if place.is_file():
        return {place.name: place.read_bytes()}
    found = (path for path in sorted(place.rglob("*")) if path.is_file())
    named = {path.relative_to(place).as_posix(): path for path in found}
    return {name: path.read_bytes() for name, path in named.items() if "/." not in f"/{name}"}
