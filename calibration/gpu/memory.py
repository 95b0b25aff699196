"""Running out of memory: a GPU's, of which torch has an error of its own, or a CPU's, of which it has none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flowsim.errors import InputError


def ran_out(error: BaseException) -> bool:
    """Whether this is what torch raises where memory runs out."""
    import torch

    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error)


@contextmanager
def enough_memory(what: str, allowed: str = "a device with more, or a smaller model") -> Iterator[None]:
    """Make one line of it when the memory runs out for what nothing goes without."""
    import torch

    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        torch.cuda.empty_cache()
        raise InputError(f"{what}: the device ran out of memory; allowed: {allowed}") from error
