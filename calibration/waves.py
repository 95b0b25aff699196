"""In which waves a GPU takes the attention of a chunk on its context."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from flowsim.calibration.models import spec_of
from flowsim.errors import InputError

TILE = 128
"""Queries of one head that a multiprocessor takes at a time: by FlashAttention-2 and cuDNN, at head sizes up to 128."""


class Waves(NamedTuple):
    """So many heads of queries, on a GPU of so many multiprocessors.

    Each multiprocessor takes one tile after another, and all tiles take equally long over one context. So a wave in
    which some have none takes as long as a full one: a chunk of 3000 tokens with 40 heads, 960 tiles, keeps 132
    multiprocessors for 8 waves, and so does one of 3300 (*wave quantization*; NVIDIA, Matrix Multiplication Background
    User's Guide, https://docs.nvidia.com/deeplearning/performance/dl-performance-matrix-multiplication).
    """

    heads: int
    multiprocessors: int

    @classmethod
    def of(cls, provenance: Mapping[str, Any]) -> Waves | None:
        """Those of what a table is of; None if it does not say how many multiprocessors its GPU has."""
        found = provenance.get("multiprocessors")
        if found is None:
            return None
        if type(found) is not int or found < 1:
            raise InputError(f"provenance, multiprocessors: found {found!r}; allowed: a whole number from 1")
        spec = spec_of(provenance.get("model_spec"), "provenance, model_spec")
        return cls(spec.shard(provenance["tp"]).heads, found)

    def room(self, tokens: int) -> float:
        """Tokens that would fill the waves these take; of the first, which kernels may split, these themselves."""
        waves = math.ceil(math.ceil(tokens / TILE) * self.heads / self.multiprocessors)
        return tokens if waves <= 1 else waves * self.multiprocessors * TILE / self.heads
