"""The KV cache of a decoder as its instance counts it: blocks, of which a prompt needs one stretch of rows."""

from __future__ import annotations

from flowsim.calibration.gpu.kv_rows import CacheRows
from flowsim.core.request import Request
from flowsim.engine.kv import KVCache


class RowCache(KVCache):
    """A KV cache in which every prompt has its own stretch of rows.

    Only as many tokens count as free as the longest free stretch has rows: then whatever a policy begins finds rows. A
    prompt too long for that waits, as if there were no blocks for it.

    Args:
        capacity_tokens: tokens of all its blocks.
        rows: rows of the decoder's cache.
    """

    def __init__(self, capacity_tokens: int, rows: int) -> None:
        super().__init__(capacity_tokens)
        self._rows = CacheRows(rows)
        self._starts: dict[int, int] = {}
        self._taken_tokens = 0

    @property
    def scattered(self) -> bool:
        """Whether free rows do not count as such because they are in stretches that are too short."""
        return self.capacity_tokens - self._taken_tokens > self._rows.longest

    def first_row(self, request: Request) -> int:
        """Where the rows of a request begin that has taken its blocks."""
        return self._starts[request.id]

    def take(self, request: Request) -> bool:
        """See `KVCache`."""
        if request.kv_tokens > self.free_tokens:
            return False
        self._starts[request.id] = self._rows.take(request.kv_tokens)
        self._count(request.kv_tokens)
        return True

    def give_back(self, request: Request) -> None:
        """See `KVCache`."""
        self._rows.give(self._starts.pop(request.id), request.kv_tokens)
        self._count(-request.kv_tokens)

    def _count(self, taken_tokens: int) -> None:
        self._taken_tokens += taken_tokens
        self.free_tokens = min(self.capacity_tokens - self._taken_tokens, self._rows.longest)
