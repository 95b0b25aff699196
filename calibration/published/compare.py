"""Two operator tables compared: of two machines, or our own and a public one."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from flowsim.calibration.costs.row_sources import BANDWIDTH, COPIED_FROM, WORK, source_of
from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.costs.table_rows import OperatorRow

BANDS = ((1, 63), (64, 1023), (1024, 1 << 30))
"""Ranges of sizes, in tokens, over each of which the median ratio is taken."""
NOT_THEIRS = (BANDWIDTH, WORK, COPIED_FROM)
"""Sources of rows in an imported table that say nothing about its GPU."""


class Ratios(NamedTuple):
    """One operator in two tables.

    Attributes:
        operator: its name.
        backend: the kernels and sources of its rows in the second table.
        points: (tokens, time in the first over time in the second), by ascending tokens.
    """

    operator: str
    backend: str
    points: tuple[tuple[int, float], ...]

    def medians(self) -> list[float | None]:
        """The median ratio in each of BANDS; None where there is no size."""
        bands = ([ratio for n, ratio in self.points if least <= n <= most] for least, most in BANDS)
        return [statistics.median(band) if band else None for band in bands]


def compare_tables(first: OperatorTable, second: OperatorTable) -> list[Ratios]:
    """Ratios of device times, first over second, by operator, at sizes that both have and neither derived."""
    found: dict[str, list[tuple[OperatorRow, OperatorRow]]] = {}
    for ours, theirs in _pairs(first, second):
        name = f"{ours.operator} on context" if ours.context else ours.operator
        found.setdefault(name, []).append((ours, theirs))
    return [
        Ratios(name, _backends(pairs), tuple(sorted((a.tokens, a.device_us / b.device_us) for a, b in pairs)))
        for name, pairs in found.items()
    ]


def titles() -> list[str]:
    """The title of each of BANDS."""
    return [f"{least} to {most} tokens" if most < BANDS[-1][1] else f"from {least} tokens" for least, most in BANDS]


def _pairs(first: OperatorTable, second: OperatorTable) -> Iterator[tuple[OperatorRow, OperatorRow]]:
    theirs: Mapping[tuple[str, int, int], OperatorRow] = {
        (row.operator, row.tokens, row.context): row for row in second.operators if _measured(row)
    }
    for row in filter(_measured, first.operators):
        other = theirs.get((row.operator, row.tokens, row.context))
        if other is not None:
            yield row, other


def _measured(row: OperatorRow) -> bool:
    return row.device_us > 0 and not source_of(row).startswith(NOT_THEIRS)


def _backends(pairs: Sequence[tuple[OperatorRow, OperatorRow]]) -> str:
    return ", ".join(sorted({theirs.backend for _, theirs in pairs}))
