"""How far a cost model is off what was measured: operators left out of the fit, and whole passes never in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.curves import Curve, quantized_work
from flowsim.calibration.costs.row_sources import filled_in
from flowsim.calibration.costs.table import HOST_OPERATORS, OPERATORS, OPTIONAL_HOST_OPERATORS, OperatorTable, PassRow
from flowsim.calibration.costs.waves import Waves
from flowsim.core.timeline import Slice

NEIGHBOURS = 8
"""Sizes on either side from which a size left out is predicted; no curve reaches further."""

HOST_BOUND = 1024
"""Passes of fewer tokens wait for the host for much of their time, unless recorded; errors are stated apart."""
LONG_PROMPT = f"whole prompt, from {HOST_BOUND} tokens"
DEVICE_BOUND = 2.0
"""What takes the device so many times as long as the host takes to launch it waits for the device alone, whatever the
host's unrest."""
Errors = dict[str, dict[str, float]]


class Residual(NamedTuple):
    """One measured size and what the model says of it: seconds both."""

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

    Of an imported table only what was measured counts: what a formula filled in would but tell of the formula.
    """
    table = replace(table, operators=tuple(row for row in table.operators if not filled_in(row)))
    waves = Waves.of(table.provenance)
    for operator in OPERATORS:
        if operator in (*HOST_OPERATORS, *OPTIONAL_HOST_OPERATORS) or not table.has(operator):
            continue
        rows = table.curve(operator)
        for context in np.unique(rows.context):
            at = rows.context == context
            tokens, seconds = rows.tokens[at], rows.device_s[at]
            sizes = quantized_work(tokens.tolist(), int(context), waves) if operator == "attention" else tokens
            for i in range(1, len(tokens) - 1):
                near = [j for j in range(max(0, i - NEIGHBOURS), min(len(tokens), i + NEIGHBOURS + 1)) if j != i]
                predicted = Curve(sizes[near], seconds[near])(float(sizes[i]))
                yield Residual(operator, int(tokens[i]), int(context), float(seconds[i]), predicted)


def leave_one_out(table: OperatorTable) -> Errors:
    """For each operator, the number of sizes left out one by one, and the median and largest relative error there."""
    errors: dict[str, list[float]] = {}
    for residual in left_out(table):
        if residual.measured_s:
            errors.setdefault(residual.operator, []).append(abs(residual.error))
    return _summary(errors, "sizes")


def pass_residuals(model: CostModel, table: OperatorTable) -> Iterator[tuple[PassRow, str, float]]:
    """Every whole forward that the table holds and the model knows: its row, its kind, and the relative error."""
    for row in table.passes:
        if row.graph_tokens and (model.graph is None or row.graph_tokens > model.graph.most):
            continue  # of another table, whose recorded forwards this model knows nothing of
        slices = [Slice(*pair) for pair in row.shape]
        predicted_s = model.forward(slices, row.cut, row.graph_tokens).duration_s
        what = ("graph: " if row.graph_tokens else "") + kind(row.cut, slices)
        yield row, what, predicted_s / (row.wall_us * 1e-6) - 1


def pass_errors(model: CostModel, table: OperatorTable, longer: float = 0.0) -> Errors:
    """How far the model is off the whole forwards that the table holds and the fit never saw.

    `model` must be of what was measured (`fit_passes`). `longer`: of how much slower their GPU is (`bias`) the model is
    to be told.

    Returns:
        For each kind of pass that was measured, the number of passes, and the median and largest relative error.
        Kinds: one prompt from 1024 tokens and below, chunks on context, packed prompts, passes checked at each cut;
        and those that were recorded as graphs.
    """
    errors: dict[str, list[float]] = {}
    for _, what, error in pass_residuals(model, table):
        errors.setdefault(what, []).append(abs((1 + error) * (1 + longer) - 1))
    return _summary(dict(sorted(errors.items())), "passes")


def bias(model: CostModel, table: OperatorTable) -> float | None:
    """By how much the table's whole passes take longer than the model says: median, of unchecked ones from 1024 tokens.

    Of these only those count that wait for the device alone, so that it is how much slower one GPU is than another.
    None without such passes.
    """
    longer = [
        1 / (1 + error) - 1
        for row, what, error in pass_residuals(model, table)
        if what == LONG_PROMPT and _waits_for_device(model, row)
    ]
    return float(np.median(longer)) if longer else None


def _waits_for_device(model: CostModel, row: PassRow) -> bool:
    """Whether the device takes DEVICE_BOUND times what the host takes to launch this pass, as the model says."""
    steps = model.launches([Slice(*pair) for pair in row.shape])
    launches = [*steps.lead, *steps.layer * model.layers, steps.head]
    return sum(one.device_s for one in launches) > DEVICE_BOUND * sum(one.host_s for one in launches)


def kind(cut: str, slices: Sequence[Slice]) -> str:
    """The kind of a pass, by which errors are stated apart."""
    tokens = sum(slice_.tokens for slice_ in slices)
    size = f"from {HOST_BOUND} tokens" if tokens >= HOST_BOUND else f"below {HOST_BOUND} tokens"
    if cut != "none":
        return f"checked at every {cut}, {size}"
    if len(slices) > 1:
        return "packed prompts"
    return "chunk on context" if slices[0].context else f"whole prompt, {size}"


def _summary(errors: Mapping[str, list[float]], counted: str) -> Errors:
    return {what: {counted: len(of), "median": float(np.median(of)), "max": max(of)} for what, of in errors.items()}
