"""Which rows of a decoder's key-value cache are free."""

from __future__ import annotations

from flowsim.errors import InputError


class CacheRows:
    """Which rows of the cache are free: a prompt gets its own in one stretch, the shortest that is long enough.

    Prompts that take no more than `longest` together always find their stretches, in any order: what is not in a
    shorter stretch is cut from the longest one.
    """

    def __init__(self, rows: int) -> None:
        self._free = [(0, rows)]

    @property
    def longest(self) -> int:
        """Rows of the longest free stretch."""
        return max([end - start for start, end in self._free], default=0)

    def take(self, rows: int) -> int:
        """The first of so many rows. InputError: they are not free in one stretch."""
        fitting = [(end - start, start) for start, end in self._free if end - start >= rows]
        if not fitting:
            raise InputError(f"KV cache: found no {rows} free rows in one stretch; allowed: what view.free_tokens says")
        length, start = min(fitting)
        place = self._free.index((start, start + length))
        self._free[place : place + 1] = [(start + rows, start + length)] if length > rows else []
        return start

    def give(self, start: int, rows: int) -> None:
        """Free rows that were taken."""
        stretches = sorted([*self._free, (start, start + rows)])
        self._free = stretches[:1]
        for start, end in stretches[1:]:
            if start == self._free[-1][1]:
                self._free[-1] = self._free[-1][0], end
            else:
                self._free.append((start, end))
