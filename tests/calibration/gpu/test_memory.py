"""What torch raises when memory runs out, on a GPU and on a CPU, is told from other errors."""

from __future__ import annotations

import pytest

from flowsim.calibration.gpu.memory import enough_memory, ran_out
from flowsim.errors import InputError

torch = pytest.importorskip("torch")

FULL = RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried to")


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("no"), FULL, MemoryError()])
def test_memory_that_runs_out_is_one_line(error: Exception) -> None:
    assert ran_out(error)
    with pytest.raises(InputError, match=r"^tiny: the device ran out of memory; use one with"), enough_memory("tiny"):
        raise error


def test_another_error_stays_as_it_is() -> None:
    bug = RuntimeError("a bug")
    assert not ran_out(bug)
    with pytest.raises(RuntimeError, match=r"^a bug$"), enough_memory("tiny"):
        raise bug
