"""The state of the GPU while it is measured: clocks, power and throttling, read along by nvidia-smi.

A process of its own reads them, because a thread of this one would contend for the interpreter lock with the
launches that are timed.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

QUERY = ("clocks.sm", "power.draw", "clocks_throttle_reasons.active")
THROTTLED = 0x4 | 0x8 | 0x20 | 0x40 | 0x80
"""Bits of NVML's reasons that slow a busy GPU: power cap, hardware slowdown, software and hardware heat, brake."""


@contextmanager
def gpu_state(gpu_id: str | None) -> Iterator[dict[str, Any]]:
    """Fill the yielded mapping, at the end, with `summarise` of what was read; it stays empty without nvidia-smi."""
    state: dict[str, Any] = {}
    with tempfile.TemporaryFile("w+") as log:
        process = _start(gpu_id, log)
        try:
            yield state
        finally:
            if process:
                process.terminate()
                process.wait()
                log.seek(0)
                state.update(summarise(log.read()))


def summarise(log: str) -> dict[str, Any]:
    """Clocks (MHz), power (W) and the number of throttled samples in nvidia-smi's lines of `QUERY`."""
    rows = []
    for line in log.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        try:
            rows.append((float(cells[0]), float(cells[1]), int(cells[2], 16)))
        except (ValueError, IndexError):
            continue  # a header, or "[N/A]"
    if not rows:
        return {}
    clocks, power, reasons = zip(*rows, strict=True)
    return {
        "clocks_mhz": {"min": min(clocks), "max": max(clocks), "median": statistics.median(clocks)},
        "power_w": {"median": statistics.median(power), "max": max(power)},
        "throttled_samples": sum(1 for r in reasons if r & THROTTLED),
        "samples": len(rows),
    }


def driver_version() -> str | None:
    """The NVIDIA driver's version; None without nvidia-smi."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        out = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return out.split("\n")[0].strip() or None


def _start(gpu_id: str | None, log: Any) -> subprocess.Popen[bytes] | None:
    if gpu_id is None:
        return None
    command = ["nvidia-smi", f"--id={gpu_id}", f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader,nounits"]
    try:
        return subprocess.Popen([*command, "-lms", "200"], stdout=log, stderr=subprocess.DEVNULL)
    except OSError:
        return None
