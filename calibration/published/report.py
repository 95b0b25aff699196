"""One HTML page about an operator table: its errors, by kind, its curves, its residuals, and its provenance."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from flowsim.calibration.costs.accuracy import leave_one_out, left_out, pass_residuals
from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.fit import fit_passes
from flowsim.calibration.costs.provenance import PowerFit, Provenance
from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.published.compare import compare_tables, titles
from flowsim.calibration.published.report_figures import curves_png, pass_residuals_png, ratios_png, residuals_png
from flowsim.io.counts import percent
from flowsim.rendering.html import render

HIDDEN = ("notes", "model_spec")
"""Facts of a provenance that are not listed; notes have a list of their own."""
Rows = list[Sequence[object]]


class TableComparison(NamedTuple):
    """This table against another: the other's name, a row of median ratios per operator, and the figure."""

    name: str
    header: Sequence[str]
    rows: Rows
    png: bytes


def calibration_page(table: OperatorTable, other: OperatorTable | None = None) -> str:
    """The page, as HTML that needs no other file; `other` is a table to compare this one with."""
    model = fit_passes(table)
    about = table.provenance
    return render(
        "calibration.html",
        title=about.rank().name,
        passes=pass_error_rows(table, model),
        operators=operator_rows(table),
        curves=curves_png(table, model),
        residuals=residuals_png(list(left_out(table))),
        pass_residuals=_pass_residuals(table, model) if table.passes else None,
        comparison=None if other is None else _comparison(table, other),
        boost=None if about.boost is None else boost_line(about.boost),
        facts=_facts(about),
        notes=about.notes,
    )


def pass_error_rows(table: OperatorTable, model: CostModel) -> Rows:
    """By kind of pass: how many were measured, and the median, median absolute and largest absolute error."""
    signed: dict[str, list[float]] = {}
    for _, kind, error in pass_residuals(model, table):
        signed.setdefault(kind, []).append(error)
    return [
        (kind, len(some), *_percents(statistics.median(some), statistics.median(map(abs, some)), max(map(abs, some))))
        for kind, some in sorted(signed.items())
    ]


def operator_rows(table: OperatorTable) -> Rows:
    """By operator: at how many sizes it was left out, and the median and the largest error there."""
    return [(name, error.sizes, *_percents(error.median, error.max)) for name, error in leave_one_out(table).items()]


def boost_line(boost: PowerFit) -> str:
    """How much faster an idle GPU starts, in a sentence."""
    gains = ", ".join(f"{tokens:,} tokens {percent(gain)}" for tokens, gain in boost.gain)
    return (
        f"An idle GPU starts faster than all this, by: {gains}; the gain fades once its utilisation, averaged over "
        f"{1e3 * boost.window_s:.0f} ms, passes {boost.threshold:.2f}."
    )


def _pass_residuals(table: OperatorTable, model: CostModel) -> bytes:
    return pass_residuals_png(
        (kind.partition(",")[0], sum(tokens for tokens, _ in row.shape), error)
        for row, kind, error in pass_residuals(model, table)
    )


def _comparison(table: OperatorTable, other: OperatorTable) -> TableComparison:
    ratios, about = compare_tables(table, other), other.provenance
    rows: Rows = [
        (ratio.operator, ratio.backend, len(ratio.points), *("" if m is None else f"{m:.2f}" for m in ratio.medians()))
        for ratio in ratios
    ]
    name = about.source or f"{about.rank().name}, {about.stated.get('date')}"
    return TableComparison(name, ("operator", "the other's", "sizes", *titles()), rows, ratios_png(ratios))


def _facts(about: Provenance) -> Mapping[str, Any]:
    return {"kind": about.kind} | {key: value for key, value in about.stated.items() if key not in HIDDEN}


def _percents(*values: float) -> list[str]:
    return list(map(percent, values))
