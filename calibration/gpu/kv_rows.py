"""The free rows of a decoder's key-value cache."""

from __future__ import annotations

from flowsim.errors import InputError


class CacheRows:
    """Allocates rows of the cache: each prompt gets one contiguous stretch, from the shortest that is long enough.

    Prompts that need no more than `longest` together always fit, in any order: whatever does not fit a shorter stretch
    is cut from the longest one.
    """

    def __init__(self, rows: int) -> None:
        self._free = [(0, rows)]

    @property
    def longest(self) -> int:
        """Rows of the longest free stretch."""
        return max([end - start for start, end in self._free], default=0)

    def take(self, rows: int) -> int:
        """Allocate contiguous rows; returns the first. InputError: no free stretch is long enough."""
        fitting = [(end - start, start) for start, end in self._free if end - start >= rows]
        if not fitting:
            raise InputError("KV cache", f"no {rows} contiguous rows are free", expected="<= view.free_tokens")
        length, start = min(fitting)
        place = self._free.index((start, start + length))
        self._free[place : place + 1] = [(start + rows, start + length)] if length > rows else []
        return start

    def give(self, start: int, rows: int) -> None:
        """Free rows that were allocated."""
        stretches = sorted([*self._free, (start, start + rows)])
        self._free = stretches[:1]
        for start, end in stretches[1:]:
            if start == self._free[-1][1]:
                self._free[-1] = self._free[-1][0], end
            else:
                self._free.append((start, end))
