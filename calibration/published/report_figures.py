"""Figures of the page about an operator table, as PNG: its curves, its residuals, its ratios to another table."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flowsim.calibration.costs.accuracy import Residual
from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.published.compare import Ratios

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 3
"""Panels side by side."""
POINTS = 400
"""Sizes at which a fitted line is drawn."""


def curves_png(table: OperatorTable, model: CostModel) -> bytes:
    """One panel per operator: dots are measured, lines fitted; attention by context."""
    names = [name for name in model.device if table.has(name)]
    figure, axes = _panels([*names, "attention"], "device time, ms")
    for name, ax in zip(names, axes, strict=False):
        rows = table.samples(name)
        sizes = _sizes(1, max(rows.tokens[-1], 2))
        ax.plot(sizes, [1e3 * model.device[name](n) for n in sizes], lw=1)
        ax.plot(rows.tokens, 1e3 * rows.device_s, ".", ms=3)
    rows, ax = table.samples("attention"), axes[len(names)]
    for context in sorted(set(rows.context.tolist())):
        tokens, device_s = rows.tokens[rows.context == context], rows.device_s[rows.context == context]
        (line,) = ax.plot(tokens, 1e3 * device_s, ".", ms=3, label=f"{context:,}")
        sizes = _sizes(tokens[0], tokens[-1])
        ax.plot(sizes, [1e3 * model.attention(n, context) for n in sizes], lw=1, color=line.get_color())
    ax.legend(title="context", fontsize=6, title_fontsize=6, ncols=2)
    return _png(figure)


def residuals_png(residuals: Sequence[Residual]) -> bytes:
    """One panel per operator: the error at sizes left out."""
    names = list(dict.fromkeys(r.operator for r in residuals))
    figure, axes = _panels(names, "error when left out, %", y_scale="linear")
    for name, ax in zip(names, axes, strict=False):
        shown = [r for r in residuals if r.operator == name and r.measured_s]
        ax.axhline(0, color="grey", lw=0.5)
        ax.plot([r.tokens for r in shown], [100 * r.error for r in shown], ".", ms=3)
    return _png(figure)


def pass_residuals_png(points: Iterable[tuple[str, int, float]]) -> bytes:
    """The errors at whole passes: points are (kind, tokens, relative error)."""
    figure, (ax,) = _panels(["passes measured and not fitted"], "error, %", y_scale="linear", columns=1)
    by_kind: dict[str, list[tuple[int, float]]] = {}
    for kind, tokens, error in points:
        by_kind.setdefault(kind, []).append((tokens, 100 * error))
    ax.axhline(0, color="grey", lw=0.5)
    for kind, points_of_kind in by_kind.items():
        ax.plot(*zip(*points_of_kind, strict=True), ".", label=kind)
    figure.legend(fontsize=8, loc="outside right upper")
    return _png(figure)


def ratios_png(ratios: Sequence[Ratios]) -> bytes:
    """One panel per operator: this table's device time over the other's."""
    figure, axes = _panels([ratio.operator for ratio in ratios], "this / other", y_scale="linear")
    for ratio, ax in zip(ratios, axes, strict=True):
        ax.axhline(1, color="grey", lw=0.5)
        ax.plot(*zip(*ratio.points, strict=True), ".-", ms=3, lw=0.5)
    return _png(figure)


def _sizes(first: float, last: float) -> list[int]:
    sizes: list[int] = np.unique(np.geomspace(first, last, POINTS).astype(int)).tolist()
    return sizes


def _panels(
    names: Sequence[str], y_label: str, *, y_scale: str = "log", columns: int = COLUMNS
) -> tuple[Figure, list[Any]]:
    from matplotlib.figure import Figure

    rows = -(-len(names) // columns)
    figure = Figure(figsize=(11, 2.4 * rows + 0.3), layout="constrained")
    axes = [figure.add_subplot(rows, columns, i + 1) for i in range(len(names))]
    for name, ax in zip(names, axes, strict=True):
        ax.set_title(name, fontsize=9)
        ax.set_xscale("log", base=2)
        ax.set_yscale(y_scale)
        ax.tick_params(labelsize=7)
        ax.grid(alpha=0.2)
    for ax in axes[::columns]:
        ax.set_ylabel(y_label, fontsize=8)
    return figure, axes


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110, metadata={"Software": None})
    return out.getvalue()
