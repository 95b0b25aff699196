"""The kinds of measured passes, by which the errors of a cost model are grouped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from flowsim.core.pass_timeline import Slice

HOST_BOUND: Final = 1024
"""Passes of fewer tokens wait for the host for much of their time, unless recorded; their errors are separate."""
_LONG, _SHORT = f"from {HOST_BOUND} tokens", f"below {HOST_BOUND} tokens"

LONG_PROMPT: Final = f"whole prompt, {_LONG}"
"""The kind that tells most about a cost model: unchecked forwards of one prompt that wait for the device alone."""
SHORT_PROMPT: Final = f"whole prompt, {_SHORT}"
CHUNK: Final = "chunk on context"
PACKED: Final = "packed prompts"


def kind_of(cut: str, slices: Sequence[Slice], *, recorded: bool = False) -> str:
    """The kind of a pass of these slices, checked at this cut; `recorded`: replayed as a CUDA graph."""
    return f"graph: {_launched(cut, slices)}" if recorded else _launched(cut, slices)


def _launched(cut: str, slices: Sequence[Slice]) -> str:
    is_long = sum(slice_.tokens for slice_ in slices) >= HOST_BOUND
    if cut != "none":
        return f"checked at every {cut}, {_LONG if is_long else _SHORT}"
    if len(slices) > 1:
        return PACKED
    return CHUNK if slices[0].context else LONG_PROMPT if is_long else SHORT_PROMPT
