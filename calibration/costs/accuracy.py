"""The accuracy of a cost model: errors at operator sizes left out of the fit, and at whole passes never in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from statistics import median
from typing import NamedTuple

import numpy as np

from flowsim.calibration.costs.attention.waves import Waves
from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.curves import Curve, quantized_work
from flowsim.calibration.costs.pass_kinds import LONG_PROMPT, kind_of
from flowsim.calibration.costs.provenance import PassError, PassErrors, SizeError, SizeErrors
from flowsim.calibration.costs.row_sources import filled_in
from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.costs.table_rows import HOST_OPERATORS, OPERATORS, OPTIONAL_HOST_OPERATORS, PassRow
from flowsim.core.pass_timeline import Slice

NEIGHBOURS = 8
"""Sizes on either side from which a size left out is predicted; farther ones do not affect a curve there."""

DEVICE_BOUND = 2.0
"""A pass whose device time exceeds its launches by this factor waits for the device alone, however busy the host is."""


class Residual(NamedTuple):
    """One measured size, and what the model predicts there; seconds."""

    operator: str
    tokens: int
    context: int
    measured_s: float
    predicted_s: float

    @property
    def error(self) -> float:
        """Relative error of the prediction."""
        return self.predicted_s / self.measured_s - 1


def left_out(table: OperatorTable) -> Iterator[Residual]:
    """Every size but the first and last of each operator (and context), predicted from the others.

    Only measured rows count: others would only test the formula that filled them in.
    """
    if table.provenance.kind == "modelled":
        return
    table = replace(table, operators=tuple(row for row in table.operators if not filled_in(row)))
    waves = Waves.of(table.provenance)
    for operator in OPERATORS:
        if operator in (*HOST_OPERATORS, *OPTIONAL_HOST_OPERATORS) or not table.has(operator):
            continue
        rows = table.samples(operator)
        for context in np.unique(rows.context):
            at = rows.context == context
            tokens, seconds = rows.tokens[at], rows.device_s[at]
            sizes = quantized_work(tokens.tolist(), int(context), waves) if operator == "attention" else tokens
            for i in range(1, len(tokens) - 1):
                near = [j for j in range(max(0, i - NEIGHBOURS), min(len(tokens), i + NEIGHBOURS + 1)) if j != i]
                predicted = Curve(sizes[near], seconds[near])(float(sizes[i]))
                yield Residual(operator, int(tokens[i]), int(context), float(seconds[i]), predicted)


def leave_one_out(table: OperatorTable) -> SizeErrors:
    """By operator, the errors at sizes that are left out one at a time."""
    errors: dict[str, list[float]] = {}
    for residual in left_out(table):
        if residual.measured_s:
            errors.setdefault(residual.operator, []).append(abs(residual.error))
    return {operator: SizeError(len(some), median(some), max(some)) for operator, some in errors.items()}


def pass_residuals(model: CostModel, table: OperatorTable) -> Iterator[tuple[PassRow, str, float]]:
    """Every whole forward of the table that the model can predict: its row, its kind, and the relative error."""
    for row in table.passes:
        if row.graph_tokens and (model.graph is None or row.graph_tokens > model.graph.most):
            continue  # measured with another table: this model has no costs of its recorded forward
        slices = [Slice(*pair) for pair in row.shape]
        recorded = row.graph_tokens > 0
        predicted_s = model.forward(slices, row.cut, recorded=recorded).duration_s
        what = kind_of(row.cut, slices, recorded=recorded)
        yield row, what, predicted_s / (row.wall_us * 1e-6) - 1


def pass_errors(model: CostModel, table: OperatorTable, longer: float = 0.0) -> PassErrors:
    """The errors at the table's whole forwards, which no fit has seen.

    Args:
        model: fitted to what the passes were measured on (`fit_passes`).
        table: with the passes.
        longer: how much slower their GPU is (`bias`), for which the predictions are corrected.

    Returns:
        The errors by kind of pass: one prompt, from 1024 tokens and below; chunks on context; packed prompts; passes
        checked at each cut; and those that were recorded as graphs.
    """
    errors: dict[str, list[float]] = {}
    for _, what, error in pass_residuals(model, table):
        errors.setdefault(what, []).append(abs((1 + error) * (1 + longer) - 1))
    return {what: PassError(len(some), median(some), max(some)) for what, some in sorted(errors.items())}


def bias(model: CostModel, table: OperatorTable) -> float | None:
    """How much longer than predicted the table's whole prompts take: the median over those of at least 1024 tokens.

    Only prompts that wait for the device alone count, so that it measures how much slower one GPU is than another.
    None if there are none.
    """
    longer = [
        1 / (1 + error) - 1
        for row, what, error in pass_residuals(model, table)
        if what == LONG_PROMPT and _waits_for_device(model, row)
    ]
    return median(longer) if longer else None


def _waits_for_device(model: CostModel, row: PassRow) -> bool:
    """Whether the model's device time of this pass exceeds its launches by DEVICE_BOUND."""
    steps = model.launches([Slice(*pair) for pair in row.shape])
    launches = [*steps.lead, *steps.layer * model.layers, steps.head]
    return sum(one.device_s for one in launches) > DEVICE_BOUND * sum(one.host_s for one in launches)
