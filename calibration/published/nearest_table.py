"""The measured table that an import takes what it lacks from."""

from __future__ import annotations

import math

from flowsim.calibration.costs.models import ModelSpec
from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.costs.table_catalogue import load_table, table_names
from flowsim.errors import InputError

MODELLED = "a table scaled from measured ones (flowsim calibrate model)"


def nearest_own(spec: ModelSpec, system: str) -> OperatorTable:
    """The measured table of this model or, if there is none, of one with the same operators and the most similar heads.

    Weights of the same size come first, as they need the same launches. Of several GPUs' tables, that of the system's
    GPU (h100 for h100_sxm) or, if there is none, the one with most rows.

    Raises:
        InputError: no table is of a model with these operators.
    """
    names = [name for name in table_names() if name[2] == 1]
    tables = [table for table in (load_table(*name) for name in names) if table.provenance.kind == "measured"]
    alike = [table for table in tables if _has_operators_of(table, spec)]
    if not alike:
        operators = ", ".join(spec.operators)
        raise InputError(spec.name, f"no measured table is of a model with {operators}", expected=MODELLED)

    def distance(table: OperatorTable) -> tuple[bool, bool, float, bool, int]:
        other = table.provenance.rank().spec
        ratio = (other.heads / other.kv_heads) / (spec.heads / spec.kv_heads)
        unlike = abs(math.log(ratio)) + abs(math.log(other.heads / spec.heads))
        narrow = other.bytes_per_weight != spec.bytes_per_weight
        return narrow, other.name != spec.name, unlike, not _has_gpu_of(table, system), -len(table.operators)

    return min(alike, key=distance)


def _has_operators_of(table: OperatorTable, spec: ModelSpec) -> bool:
    return table.provenance.rank().spec.operators == spec.operators


def _has_gpu_of(table: OperatorTable, system: str) -> bool:
    """Whether a measured table is of the GPU of this system, as h100 of h100_sxm."""
    return table.provenance.gpu == system.split("_")[0]
