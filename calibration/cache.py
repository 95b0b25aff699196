"""Which rows of a decoder's key-value cache are free."""

from __future__ import annotations

from flowsim.errors import InputError


class CacheRows:
    """Which rows of the cache are free: a prompt gets its own in one stretch, the first that is long enough."""

    def __init__(self, rows: int) -> None:
        self._free = [(0, rows)]

    def take(self, rows: int) -> int:
        """The first of so many rows. InputError: they are not free in one stretch."""
        for place, (start, end) in enumerate(self._free):
            if end - start >= rows:
                self._free[place : place + 1] = [(start + rows, end)] if end - start > rows else []
                return start
        raise InputError(f"KV cache: found no {rows} free rows in one stretch; allowed: a larger cache (--kv-tokens)")

    def give(self, start: int, rows: int) -> None:
        """Free rows that were taken."""
        stretches = sorted([*self._free, (start, start + rows)])
        self._free = stretches[:1]
        for start, end in stretches[1:]:
            if start == self._free[-1][1]:
                self._free[-1] = self._free[-1][0], end
            else:
                self._free.append((start, end))
