"""Commands that are killed, find the disk full, or run twice at once; and what they print where it cannot be printed.

No output is half written, what is refused is refused in one line, and the next run makes the same bytes.
"""

from __future__ import annotations

import hashlib
import os
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from threading import Thread

from attack.inputs import MARK, Attack, copied, line_fault

WRITERS: Mapping[str, str] = {
    "run t.csv --policy fcfs --out new -q": "new",
    "compare t.csv --policy fcfs --policy edf --out new -q": "new",
    "sweep study.yaml --out new --workers 1 -q": "new",
    "sweep study.yaml --out new --workers 2 -q": "new",
    "capacity t.csv --policy fcfs --replications 1 --tolerance 0.5 --workers 1 --out new -q": "new",
    "arena --only --policy edf --requests 10 --workers 1 --out new -q": "new",
    "plot done --out new -q": "new",
    "bundle done --out new.zip -q": "new.zip",
    "show run --html new.html": "new.html",
    "show run --timeline new.json": "new.json",
    "explain t.csv --figure new.svg": "new.svg",
    "traces synth qwen --requests 5000 --rate 5 --out new.jsonl.gz": "new.jsonl.gz",
    "traces convert t.jsonl --out new.parquet": "new.parquet",
    "traces merge t.csv t.jsonl --out new.csv": "new.csv",
    "traces slice t.csv 1:3 --out new.jsonl": "new.jsonl",
    "traces sample t.csv --requests 20 --out new.csv.gz": "new.csv.gz",
    "traces scale t.parquet 2 --out new.parquet": "new.parquet",
    "traces pull t --url URL --sha256 SHA256 --out new.jsonl.zst": "new.jsonl.zst",
    "policies new my_new": "*my_new.py",
    "calibrate import public --model model.json --out new": "new",
    "calibrate model --gpu h20 --out new": "new",
    "calibrate report table --out new.html": "new.html",
    "calibrate server bench.json --out new.yaml": "new.yaml",
    "validate evidence -q --out new": "new",
}
"""Commands that write, and the pattern of the files, or the folder, that each writes."""
PULLED = "t.csv"
"""The file that URL and SHA256 stand for."""
PRINTERS = (
    "run t.csv", "compare t.csv --policy fcfs --policy edf", "traces info t.csv", "explain t.csv", "bound t.csv",
    "show done", "show run --json", "sweep study.yaml --out done --workers 1", "policies", "metrics", "--help",
)  # fmt: skip
GROWING = (".jsonl", ".lock")
"""The ends of the names of files that grow: the journal of a study, and what locks its folder."""
TIMED = ("decision_costs.csv", "arena.html", "arena.json")
"""Names of files that say how long something took: their bytes are not compared."""


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
    digest = hashlib.sha256((pristine / PULLED).read_bytes()).hexdigest()
    with _served(pristine) as address:
        pulled = {"URL": f"{address}/{PULLED}", "SHA256": digest}
        commands = [(" ".join(pulled.get(word, word) for word in of.split()), place) for of, place in WRITERS.items()]
        while True:
            rng.shuffle(commands)
            for command, place in commands:
                if command not in wholes:
                    wholes[command] = _whole(command, copied(pristine, work), place)
                for kind, way in WAYS.items():
                    fault = way(command, copied(pristine, work), place, wholes[command], rng)
                    yield Attack(kind, command, "injection: code in data was run" if (work / MARK).exists() else fault)
                yield _printed(rng.choice(PRINTERS), copied(pristine, work), rng)


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """A web server of the files of a folder; its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and logs nothing."""

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


def _whole(command: str, work: Path, place: str) -> Whole:
    begin = time.monotonic()
    process = _started(command, work)
    stderr = _ended(process)
    assert not process.returncode, f"{command}: {stderr}"
    return Whole(_bytes_of(work, place), time.monotonic() - begin)


def _killed(command: str, work: Path, place: str, whole: Whole, rng: Random) -> str:
    process = _started(command, work)
    time.sleep(rng.uniform(0.2, 1) * whole.took_s)
    process.kill()
    _ended(process)
    return _torn(work, place, whole) or _again(command, work, place, whole)


def _filled(command: str, work: Path, place: str, whole: Whole, rng: Random) -> str:
    """No file may grow beyond a size, as on a disk that is full."""
    most = int(max(map(len, whole.files.values())) * rng.random() ** 2)
    process = _started(command, work, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)))
    stderr = _ended(process)
    fault = line_fault(process.returncode, stderr) or _torn(work, place, whole)
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
    return next(iter(faults), "") or _torn(work, place, whole) or _again(command, work, place, whole)


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


def _torn(work: Path, place: str, whole: Whole) -> str:
    """Which files are there and not whole."""
    left = {name: content for name, content in _bytes_of(work, place).items() if not name.endswith(GROWING)}
    torn = sorted(name for name, content in left.items() if content != whole.files.get(name, content))
    return f"torn: left {', '.join(torn)} half written" if torn else ""


def _again(command: str, work: Path, place: str, whole: Whole) -> str:
    """How the next run differs from the first one that nothing interrupted; it may be refused if all is there."""
    before = _bytes_of(work, place)
    process = _started(command, work)
    stderr = _ended(process)
    if process.returncode and before != whole.files:
        return f"resumption: cannot be run again: {stderr[:200]}"
    again = _bytes_of(work, place)
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


def _bytes_of(work: Path, place: str) -> dict[str, bytes]:
    """The content of the files that a pattern matches, and of all in a folder that it matches, but for hidden ones."""
    found = [path for one in sorted(work.glob(place)) for path in [one, *sorted(one.rglob("*"))] if path.is_file()]
    named = {path.relative_to(work).as_posix(): path for path in found}
    shown = {name: path for name, path in named.items() if "/." not in f"/{name}"}
    return {name: b"" if name.endswith(TIMED) else path.read_bytes() for name, path in shown.items()}
