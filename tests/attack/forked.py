"""Something done in a child of this process, within bounds of time and memory."""

from __future__ import annotations

import os
import pickle
import resource
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MOST_MIB = 500
"""Memory that an input may take, beside that of the imported program."""
GIVEN_UP_S = 30
"""Seconds of CPU after which a command is given up; it may wait for something six times as long."""


@dataclass(frozen=True)
class Ending:
    """How a child ended.

    Attributes:
        value: what the act gave; None if it did not end.
        fault: "hang" or "died"; "" if it ended by itself.
        cpu_s: seconds of CPU that it took.
        mib: most memory in use, beside that at its start; 0 if it did not end.
    """

    value: Any
    fault: str
    cpu_s: float
    mib: float


def forked(act: Callable[[], Any]) -> Ending:
    """Do something in a child."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _act(act, writing)
    os.close(writing)
    written = _read(reading, time.monotonic() + 6 * GIVEN_UP_S)
    os.close(reading)
    if written is None:
        os.killpg(child, signal.SIGKILL)
    _, status, used = os.wait4(child, 0)
    code, cpu_s = os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime
    if code == 0 and written:
        value, before_mib = pickle.loads(written)
        return Ending(value, "", cpu_s, used.ru_maxrss / 1024 - before_mib)
    return Ending(None, "hang" if written is None or -code == signal.SIGXCPU else "died", cpu_s, 0)


def _act(act: Callable[[], Any], writing: int) -> None:
    try:
        os.setsid()
        before_mib = _mib("VmRSS")
        most = int(1024**2 * (_mib("VmSize") + MOST_MIB))
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CPU, (GIVEN_UP_S, GIVEN_UP_S + 5))
        with os.fdopen(writing, "wb") as file:
            file.write(pickle.dumps((act(), before_mib)))
    finally:
        os._exit(0)


def _read(pipe: int, ends: float) -> bytes | None:
    """All that comes through a pipe; None if it does not end in time."""
    parts: list[bytes] = []
    while select.select([pipe], [], [], max(ends - time.monotonic(), 0))[0]:
        parts.append(os.read(pipe, 1 << 16))
        if not parts[-1]:
            return b"".join(parts)
    return None


def _mib(kind: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{kind}:"))
