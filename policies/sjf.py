"""Shortest job first: fewest tokens left goes next (LMCache's shortest-prefill-first)."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from flowsim.policies.parts.composed import Composed


@dataclass(frozen=True)
class SJF(Composed):
    """The fewest tokens left first, batched up to a token cap; with a `cut`, shortest remaining job first."""

    batch_tokens: int = 8192
    _: KW_ONLY
    order: str = "sjf"
    batching: str = "fill"
