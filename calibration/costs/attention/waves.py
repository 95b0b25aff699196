"""Waves: how a GPU runs the attention of a chunk on its context."""

from __future__ import annotations

import math
from typing import NamedTuple

from flowsim.calibration.costs.provenance import Provenance

TILE = 128
"""Queries of one head that a multiprocessor computes at a time: in FlashAttention-2 on GPUs of compute capability 8.0
and 9.0 (`flash_fwd_launch_template.h` in Dao-AILab/flash-attention), and in cuDNN as measured on the latter."""
HEAD_DIM = 128
"""Largest head dimension for which that holds."""


class Waves(NamedTuple):
    """The waves of tiles of one layer's attention.

    Each multiprocessor computes one tile after another, and all tiles over one context take equally long. So a partial
    wave takes as long as a full one: a chunk of 3000 tokens with 40 heads, 960 tiles, keeps 132 multiprocessors busy
    for 8 waves, and so does one of 3300 (*wave quantization*; NVIDIA, Matrix Multiplication Background User's Guide,
    https://docs.nvidia.com/deeplearning/performance/dl-performance-matrix-multiplication).

    Attributes:
        heads: heads of queries.
        multiprocessors: of the GPU.
    """

    heads: int
    multiprocessors: int

    @classmethod
    def of(cls, provenance: Provenance) -> Waves | None:
        """The waves of what a table measured; None if it does not state the multiprocessors, or heads are larger."""
        spec, tp, multiprocessors = provenance.model_spec, provenance.tp, provenance.multiprocessors
        if spec is None or tp is None or multiprocessors is None or spec.head_dim > HEAD_DIM:
            return None
        return cls(spec.shard(tp).heads, multiprocessors)

    def quantized(self, tokens: int) -> float:
        """The tokens that would fill the waves which these take; within the first wave, these tokens themselves.

        There FlashAttention-2 splits the context among multiprocessors without a tile.
        """
        waves = math.ceil(math.ceil(tokens / TILE) * self.heads / self.multiprocessors)
        return tokens if waves <= 1 else waves * self.multiprocessors * TILE / self.heads
