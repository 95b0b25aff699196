"""The choice of attention kernels, by chunk and context, as recorded in a table's rows."""

from __future__ import annotations

import bisect
from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct

from flowsim.calibration.costs.table import OperatorTable


class Choice(Struct, frozen=True):
    """The kernel to use: that of the nearest measured context and, there, of the nearest tokens, both by ratio.

    A chunk on context uses only rows with context; without such rows, the kernel is `default`.

    Attributes:
        default: the name of a kernel.
        rows: (context, tokens, kernels), by ascending context and tokens.
    """

    default: str
    rows: tuple[tuple[int, tuple[int, ...], tuple[str, ...]], ...] = ()

    @classmethod
    def of(cls, default: str, cells: Mapping[tuple[int, int], str]) -> Choice:
        """The choice from cells (tokens, context) -> kernel."""
        rows = []
        for context in sorted({c for _, c in cells}):
            tokens, kernels = zip(*sorted((t, k) for (t, c), k in cells.items() if c == context), strict=True)
            rows.append((context, tokens, kernels))
        return cls(default, tuple(rows))

    def __call__(self, tokens: int, context: int) -> str:
        """The name of the kernel for a chunk of `tokens` on `context`."""
        rows = [row for row in self.rows if bool(row[0]) == bool(context)]
        if not rows:
            return self.default
        _, sizes, kernels = rows[_nearest([row[0] for row in rows], context)]
        return kernels[_nearest(sizes, tokens)]

    def among(self, names: Collection[str], default: str) -> Choice:
        """The same choice, with `default` in place of every kernel not in `names`."""
        rows = tuple(
            (context, tokens, tuple(name if name in names else default for name in kernels))
            for context, tokens, kernels in self.rows
        )
        return Choice(default, rows)

    def examples(self, rows: int) -> list[tuple[int, int, str]]:
        """(tokens, context, kernel) of the smallest cell of each chosen kernel, of at most `rows` cache rows."""
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
    """The index of the entry, in an ascending grid of positive numbers, nearest to `value` by ratio."""
    i = bisect.bisect_left(grid, value)
    if i == 0 or i == len(grid):
        return min(i, len(grid) - 1)
    return i if value * value > grid[i - 1] * grid[i] else i - 1
