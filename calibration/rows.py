"""Rows of an operator table, as fields, from samples in seconds: medians, and the 10th and 90th percentiles."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from flowsim.calibration.table import OperatorRow, PassRow


def operator_row(
    operator: str, tokens: int, context: int, device: Sequence[float], host: Sequence[float], backend: str
) -> dict[str, Any]:
    """The fields of an `OperatorRow`."""
    low, median, high = _percentiles(device)
    launch = rounded(1e6 * statistics.median(host))
    return asdict(OperatorRow(operator, tokens, context, median, low, high, launch, len(device), backend))


def host_row(operator: str, tokens: int, host: Sequence[float]) -> dict[str, Any]:
    """The fields of an `OperatorRow` of the host alone."""
    return operator_row(operator, tokens, 0, [0.0], host, "host") | {"repeats": len(host)}


def pass_row(cut: str, slices: str, wall: Sequence[float], graph_tokens: int = 0) -> dict[str, Any]:
    """The fields of a `PassRow`."""
    low, median, high = _percentiles(wall)
    return asdict(PassRow(cut, slices, median, low, high, len(wall), graph_tokens))


def rounded(value: float) -> float:
    """With three decimals, as rows are written."""
    return round(float(value), 3)


def _percentiles(seconds: Sequence[float]) -> tuple[float, float, float]:
    low, median, high = (rounded(1e6 * x) for x in np.percentile(seconds, (10, 50, 90)))
    return low, median, high
