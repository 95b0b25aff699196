"""Fields of an operator table's rows from samples in seconds: the typical time, and the 10th and 90th percentiles."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from flowsim.calibration.costs.table_rows import OperatorRow, PassRow
from flowsim.calibration.measure.repeats import typical


def operator_row(
    operator: str, tokens: int, context: int, device: Sequence[float], host: Sequence[float], backend: str
) -> dict[str, Any]:
    """The fields of an `OperatorRow`."""
    usual, low, high = _summary(device)
    launch = rounded(1e6 * statistics.median(host))
    return asdict(OperatorRow(operator, tokens, context, usual, low, high, launch, len(device), backend))


def host_row(operator: str, tokens: int, host: Sequence[float]) -> dict[str, Any]:
    """The fields of an `OperatorRow` for work of the host alone."""
    return operator_row(operator, tokens, 0, [0.0], host, "host") | {"repeats": len(host)}


def pass_row(cut: str, slices: str, wall: Sequence[float], graph_tokens: int = 0) -> dict[str, Any]:
    """The fields of a `PassRow`."""
    usual, low, high = _summary(wall)
    return asdict(PassRow(cut, slices, usual, low, high, len(wall), graph_tokens))


def rounded(value: float) -> float:
    """Rounded to three decimals, as rows are written."""
    return round(float(value), 3)


def _summary(seconds: Sequence[float]) -> tuple[float, float, float]:
    low, high = np.percentile(seconds, (10, 90))
    usual_us, low_us, high_us = (rounded(1e6 * x) for x in (typical(seconds), low, high))
    return usual_us, low_us, high_us


def in_microseconds(times: Mapping[str, float]) -> dict[str, float]:
    """These times, given in seconds."""
    return {name: rounded(1e6 * t) for name, t in times.items()}
