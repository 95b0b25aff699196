"""The number of torch calls that launch each operator; each call costs host time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowsim.calibration.gpu.batch import CacheSlice
from flowsim.calibration.gpu.decoder import Decoder


def count_calls(decoder: Decoder, slices: Sequence[CacheSlice]) -> dict[str, int]:
    """The number of torch calls that launch each operator: those that compute, not those that view or allocate."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Counter(TorchDispatchMode):  # type: ignore[misc]
        count = 0

        @classmethod
        def _should_skip_dynamo(cls) -> bool:
            return False  # skipping it would import it, which takes seconds

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            views = any(r.alias_info and not r.alias_info.is_write for r in func._schema.returns)
            self.count += not views and not func._schema.name.startswith("aten::empty")
            return func(*args, **(kwargs or {}))

    p = decoder.prepare(slices)
    decoder.run(p)
    found = dict[str, int]()
    for step in {step.operator: step for step in decoder.program}.values():
        with Counter() as counter:
            step.run(p)
        found[step.operator] = counter.count
    return found
