"""Running out of memory: torch has an error of its own for a GPU's, and none for a CPU's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flowsim.errors import InputError


def ran_out(error: BaseException) -> bool:
    """Whether this is what torch raises when memory runs out."""
    import torch

    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error)


@contextmanager
def enough_memory(what: str, cure: str = "use one with more, or a smaller model") -> Iterator[None]:
    """Raise a one-line `InputError` if memory runs out in the block; `cure` says what to do."""
    import torch

    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        torch.cuda.empty_cache()
        raise InputError(what, f"the device ran out of memory; {cure}") from error
