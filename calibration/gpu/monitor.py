"""The state of the GPU while it is measured: clocks, power and throttling, as nvidia-smi reports them.

A separate process reads them, because a thread of this one would contend for the interpreter lock with the launches
that are timed.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

REASONS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")
"""The query for the reasons of a low clock, in newer and in older drivers."""
THROTTLED = 0x4 | 0x8 | 0x20 | 0x40 | 0x80
"""NVML's reasons that slow a busy GPU: power cap, hardware slowdown, software and hardware thermal, power brake."""


@contextmanager
def gpu_state(wanted: bool = True) -> Iterator[dict[str, Any]]:
    """A mapping that is filled, when the block ends, with a summary of what was read during it.

    It stays empty if not `wanted`, or where there is no nvidia-smi.
    """
    state: dict[str, Any] = {}
    with tempfile.TemporaryFile("w+") as log:
        process = _start(log) if wanted else None
        try:
            yield state
        finally:
            if process:
                process.terminate()
                process.wait()
                log.seek(0)
                state.update(summarise_samples(log.read()))


def summarise_samples(log: str) -> dict[str, Any]:
    """Clocks (MHz), power (W) and the number of throttled samples in lines of "clock, power, reasons"."""
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
    """The version of the NVIDIA driver; None without nvidia-smi."""
    return _ask("--query-gpu=driver_version", "--format=csv,noheader")


def _start(log: Any) -> subprocess.Popen[bytes] | None:
    import torch

    uuid = getattr(torch.cuda.get_device_properties(0), "uuid", None)
    options = [f"--id=GPU-{uuid}" if uuid else "--id=0", "--format=csv,noheader,nounits"]
    for reasons in REASONS:
        query = [*options, f"--query-gpu=clocks.sm,power.draw,{reasons}"]
        if _ask(*query):
            with _on_any_core():
                return subprocess.Popen(["nvidia-smi", *query, "-lms", "200"], stdout=log, stderr=subprocess.DEVNULL)
    return None


@contextmanager
def _on_any_core() -> Iterator[None]:
    """Let processes started in the block run on any core: a child inherits the affinity of its parent."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    try:
        yield
    finally:
        os.sched_setaffinity(0, own)


def _ask(*options: str) -> str | None:
    """The first line of nvidia-smi's answer; None if it fails or is missing."""
    try:
        done = subprocess.run(["nvidia-smi", *options], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.split("\n")[0].strip() or None
