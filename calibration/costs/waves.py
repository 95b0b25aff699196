"""In which waves a GPU takes the attention of a chunk on its context."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from flowsim.calibration.costs.models import spec_of

TILE = 128
"""Queries of one head that a multiprocessor takes at a time: by FlashAttention-2 on GPUs of compute capability 8.0 and
9.0 (`flash_fwd_launch_template.h` in Dao-AILab/flash-attention) and, by our measurements on the latter, by cuDNN."""
HEAD_DIM = 128
"""Largest size of a head of which that is so."""


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
        """Those of what a table is of; None if it does not say how many multiprocessors there are, or heads are large.

        InputError: it states a model that is none.
        """
        found = provenance.get("multiprocessors")
        if found is None:
            return None
        spec = spec_of(provenance.get("model_spec"), "provenance, model_spec")
        return cls(spec.shard(provenance["tp"]).heads, found) if spec.head_dim <= HEAD_DIM else None

    def quantized(self, tokens: int) -> float:
        """Tokens that would fill the waves which these take; within the first these themselves.

        For there FlashAttention-2 splits the context among multiprocessors that have no tile.
        """
        waves = math.ceil(math.ceil(tokens / TILE) * self.heads / self.multiprocessors)
        return tokens if waves <= 1 else waves * self.multiprocessors * TILE / self.heads
