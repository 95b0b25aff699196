"""The KV cache of an instance: how many tokens it holds, and what of it is free.

A prompt takes whole blocks (`Request.kv_tokens`) from the launch of its first pass to its first token; what of them
is shared or kept for later prompts, `flowsim.engine.prefix_cache` decides. This is the place for KV that outlives the
first token because its request decodes, or that is handed to another instance.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from flowsim.core.request import Request

Tokens = TypeVar("Tokens", int, NDArray[np.int64])


def whole_blocks(tokens: int, block_tokens: int) -> int:
    """The tokens of the whole blocks of `block_tokens` that `tokens` make up."""
    return tokens // block_tokens * block_tokens


def taken_tokens(tokens: Tokens, block_tokens: int) -> Tokens:
    """The tokens of the whole blocks of `block_tokens` that a prompt of `tokens` takes (`Request.kv_tokens`)."""
    return -(-tokens // block_tokens) * block_tokens


class KVCache:
    """Blocks of KV cache, counted in tokens.

    Attributes:
        capacity_tokens: tokens of all its blocks; a request that needs more never fits.
        free_tokens: tokens of its free blocks.

    Args:
        capacity_tokens: tokens of all its blocks (`whole_blocks`).
    """

    def __init__(self, capacity_tokens: int) -> None:
        self.capacity_tokens = self.free_tokens = capacity_tokens

    def take(self, request: Request) -> bool:
        """Give the request its blocks; False, and nothing is taken, if too few are free."""
        if request.kv_tokens > self.free_tokens:
            return False
        self.free_tokens -= request.kv_tokens
        return True

    def give_back(self, request: Request) -> None:
        """Free the blocks of a request."""
        self.free_tokens += request.kv_tokens
