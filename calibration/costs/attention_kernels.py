"""Which attention kernel runs where: the choice that a table's rows tell, by chunk and context."""

from __future__ import annotations

import bisect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from flowsim.calibration.costs.table import OperatorTable


@dataclass(frozen=True)
class Choice:
    """Which kernel to use: that of the nearest measured context, and there of the nearest tokens, both by ratio.

    A chunk behind a context looks only at rows that have one; with none to look at, the kernel is `default`.
    """

    default: str
    rows: tuple[tuple[int, tuple[int, ...], tuple[str, ...]], ...] = ()  # context, tokens ascending, their kernels

    @classmethod
    def of(cls, default: str, cells: Mapping[tuple[int, int], str]) -> Choice:
        """The choice by these cells, (tokens, context) -> kernel."""
        rows = []
        for context in sorted({c for _, c in cells}):
            tokens, kernels = zip(*sorted((t, k) for (t, c), k in cells.items() if c == context), strict=True)
            rows.append((context, tokens, kernels))
        return cls(default, tuple(rows))

    def __call__(self, tokens: int, context: int) -> str:
        """The kernel's name for a chunk of `tokens` behind `context`."""
        rows = [row for row in self.rows if bool(row[0]) == bool(context)]
        if not rows:
            return self.default
        _, sizes, kernels = rows[_nearest([row[0] for row in rows], context)]
        return kernels[_nearest(sizes, tokens)]

    def among(self, names: Collection[str], default: str) -> Choice:
        """The same choice, with `default` in place of every kernel that is none of these."""
        rows = tuple(
            (context, tokens, tuple(name if name in names else default for name in kernels))
            for context, tokens, kernels in self.rows
        )
        return Choice(default, rows)

    def examples(self, rows: int) -> list[tuple[int, int, str]]:
        """For each kernel chosen somewhere, (tokens, context, its name) of the smallest such cell of at most `rows`."""
        found: dict[str, tuple[int, int, str]] = {}
        for context, tokens, kernels in reversed(self.rows):
            fitting = [(n, kernel) for n, kernel in zip(tokens, kernels, strict=True) if n + context <= rows]
            found |= {kernel: (n, context, kernel) for n, kernel in reversed(fitting)}
        return sorted(found.values())


def kernel_choice(table: OperatorTable) -> Choice:
    """The attention kernels with which this table was measured."""
    rows = [r for r in table.operators if r.operator == "attention"]
    return Choice.of("math", {(r.tokens, r.context): r.backend for r in rows})


def _nearest(grid: Sequence[int], value: int) -> int:
    """The index of the entry of an ascending grid of positive numbers that is nearest to `value` by ratio."""
    i = bisect.bisect_left(grid, value)
    if i == 0 or i == len(grid):
        return min(i, len(grid) - 1)
    return i if value * value > grid[i - 1] * grid[i] else i - 1
