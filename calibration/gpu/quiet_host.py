"""A quiet host: what keeps launches from jittering while passes are executed or timed.

No garbage collection, quick hand-overs of the interpreter between threads and, with a GPU, a processor core for each of
the two threads that serve: the scheduler and the runner. On one core torch computes with one thread: several would wait
for each other (on a host with 16 cores, pinning the indices of 16384 tokens took 130 ms instead of 0.2).
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from flowsim.calibration.costs.host_times import SWITCH_S

SCHEDULER, RUNNER = 0, 1
FEWEST_CORES = 4
"""With fewer cores, the operating system places the threads."""


@contextmanager
def quiet_host(device: str, role: int) -> Iterator[None]:
    """Keep the host quiet during the block, with this thread on the core of its role (SCHEDULER or RUNNER)."""
    core = core_of(device, role)
    interval_s, enabled = sys.getswitchinterval(), gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    sys.setswitchinterval(SWITCH_S)
    try:
        with nullcontext() if core is None else on_core(core):
            yield
    finally:
        sys.setswitchinterval(interval_s)
        gc.unfreeze()
        if enabled:
            gc.enable()


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Bind this thread and torch's computations to one core during the block."""
    import torch

    cores, threads = os.sched_getaffinity(0), torch.get_num_threads()
    os.sched_setaffinity(0, {core})
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        os.sched_setaffinity(0, cores)


def core_of(device: str, role: int) -> int | None:
    """The core for this role; None if threads are not to be bound. A thread must ask before it is bound.

    Several runners, one per GPU, have the roles from RUNNER on.

    Hyper-threads of one core are numbered either consecutively or half of all apart; these two cores are neither.
    """
    cores = _cores() if device == "cuda" else []
    if len(cores) < FEWEST_CORES:
        return None
    return cores[len(cores) // 2] if role == SCHEDULER else cores[-role]


def _cores() -> list[int]:
    """The cores that this thread may use; none if that is unknown."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
