"""Where the rows of an imported table come from: what a row's `backend` ends in, behind ": ".

measured: publicly, at this shape and size;
interpolated: all-reduces, between two numbers of values that were measured;
utilisation: matrix products of a shape that was not measured, by the share of arithmetic reached at the shapes around
  it; heads likewise;
bandwidth: norms, rotary embedding, activation, embedding; bytes moved over the bandwidth that kernels reach;
shape of OWN: chunks on context; public attention of as much work, times what a chunk takes beyond that in our table;
copied from OWN: times of the host.
"""

from __future__ import annotations

from collections.abc import Mapping

from flowsim.calibration.costs.table import OperatorRow

MEASURED, INTERPOLATED, UTILISATION, BANDWIDTH = "measured", "interpolated", "utilisation", "bandwidth"
SHAPE_OF, COPIED_FROM = "shape of ", "copied from "
FILLED_IN = (INTERPOLATED, UTILISATION, BANDWIDTH, SHAPE_OF, COPIED_FROM)
"""How `backend` ends where nothing was measured at this shape and size."""


def source_of(row: OperatorRow) -> str:
    """What this row's `backend` ends in; all of it in a table that was not imported."""
    return row.backend.rpartition(": ")[2]


def filled_in(row: OperatorRow) -> bool:
    """Whether this row was worked out or copied, not measured."""
    return source_of(row).startswith(FILLED_IN)


def counted(cells: Mapping[str, Mapping[str, int]]) -> tuple[int, int]:
    """Rows of the device that were measured, and all of the device, in an imported table's `cells`.

    These are numbers of rows by operator and source, as `provenance.yaml` has them.
    """
    device = [(kind, n) for kinds in cells.values() for kind, n in kinds.items() if not kind.startswith(COPIED_FROM)]
    return sum(n for kind, n in device if kind == MEASURED), sum(n for _, n in device)
