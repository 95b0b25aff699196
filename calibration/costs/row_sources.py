"""Sources of the rows of an imported table: what a row's `backend` ends with, after ": ".

measured: publicly, at this shape and size;
interpolated: all-reduces, between two measured numbers of values;
utilisation: matrix products of a shape that was not measured, by the arithmetic utilisation at the shapes around it;
  attention of another number of heads likewise;
bandwidth: norms, rotary embedding, activation, embedding: bytes moved over the bandwidth that kernels reach;
work: chunks on context, by public attention of whole prompts of equal work;
copied from OWN: times of the host.
"""

from __future__ import annotations

from collections.abc import Mapping

from flowsim.calibration.costs.table_rows import OperatorRow

MEASURED, INTERPOLATED, UTILISATION, BANDWIDTH = "measured", "interpolated", "utilisation", "bandwidth"
WORK, COPIED_FROM = "work", "copied from "
FILLED_IN = (INTERPOLATED, UTILISATION, BANDWIDTH, WORK, COPIED_FROM)
"""Sources of rows that were not measured at this shape and size."""


def source_of(row: OperatorRow) -> str:
    """The source of a row; in a table that was not imported, its whole backend."""
    return row.backend.rpartition(": ")[2]


def filled_in(row: OperatorRow) -> bool:
    """Whether this row was computed or copied, not measured."""
    return source_of(row).startswith(FILLED_IN)


def counted(cells: Mapping[str, Mapping[str, int]]) -> tuple[int, int]:
    """The number of an imported table's device rows that were measured, and of all its device rows.

    Args:
        cells: numbers of rows by operator and source, as in `Provenance.cells`.
    """
    device = [(kind, n) for kinds in cells.values() for kind, n in kinds.items() if not kind.startswith(COPIED_FROM)]
    return sum(n for kind, n in device if kind == MEASURED), sum(n for _, n in device)
