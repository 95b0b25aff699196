"""One HTML page about an operator table: its errors, each apart, its curves, its residuals, and where it comes from."""

from __future__ import annotations

import base64
import html
import io
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flowsim.calibration.costs.accuracy import Residual, leave_one_out, left_out, pass_residuals
from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.fit import fit_passes
from flowsim.calibration.costs.power import Boost
from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.public.compare import beside, titles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = """body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: .5rem 0 1.5rem } th, td { padding: .15rem .9rem .15rem 0; text-align: right }
th:first-child, td:first-child { text-align: left } th { border-bottom: 1px solid #999 } img { max-width: 100% }
dt { float: left; clear: left; width: 9rem; color: #666 } dd { margin-left: 9rem; overflow-wrap: anywhere }
"""
HIDDEN = ("notes", "model_spec")
COLUMNS = 3


def calibration_page(table: OperatorTable, other: OperatorTable | None = None) -> str:
    """The page, as HTML that needs no other file; `other` is a table to hold this one against."""
    model = fit_passes(table)
    about = table.provenance
    title = f"{about['gpu']}/{about['model']}/tp{about['tp']}"
    residuals = list(left_out(table))
    parts = [f"<h1>{html.escape(title)}</h1>", _errors(table, model), _curves(table, model), _residuals(residuals)]
    if table.passes:
        parts.append(_passes(table, model))
    if other is not None:
        parts.append(_beside(table, other))
    parts.append(_boost(table))
    parts.append(_provenance(about))
    head = f"<meta charset='utf-8'><title>{html.escape(title)}</title><style>{STYLE}</style>"
    return f"<!doctype html><html lang='en'><head>{head}</head><body>{''.join(parts)}</body></html>\n"


def _errors(table: OperatorTable, model: CostModel) -> str:
    """The four errors apart: whole passes, chunks, packed batches (and checked passes), operators left out."""
    signed: dict[str, list[float]] = {}
    for _, kind, error in pass_residuals(model, table):
        signed.setdefault(kind, []).append(error)
    rows = [
        (kind, len(of), *_percents(statistics.median(of), statistics.median(map(abs, of)), max(map(abs, of))))
        for kind, of in signed.items()
    ]
    left = leave_one_out(table)
    operators = [(name, int(of["sizes"]), *_percents(of["median"], of["max"])) for name, of in left.items()]
    return (
        "<h2>Passes measured and not fitted</h2>"
        + (
            _table(("passes", "number", "median (+: longer by the model)", "without sign", "largest"), sorted(rows))
            if rows
            else "<p>None were measured: the error of whole passes is not known.</p>"
        )
        + "<h2>Operators, one size left out at a time</h2>"
        "<p>Sizes on both sides of a tile border are measured; without one of them the jump is lost, so what is "
        "left out is harder to tell than a size between two that are in the table. Of an import only what was measured "
        "counts.</p>" + _table(("operator", "sizes", "median", "largest"), operators)
    )


def _curves(table: OperatorTable, model: CostModel) -> str:
    """A panel an operator: dots measured, lines fitted; attention by context."""
    import numpy as np

    names = [name for name in model.device if name in {row.operator for row in table.operators}]
    figure, axes = _panels([*names, "attention"], "device time, ms")
    for name, ax in zip(names, axes, strict=False):
        curve = table.curve(name)
        sizes = np.unique(np.geomspace(1, max(curve.tokens[-1], 2), 400).astype(int))
        ax.plot(sizes, [1e3 * model.device[name](int(n)) for n in sizes], lw=1)
        ax.plot(curve.tokens, 1e3 * curve.device_s, ".", ms=3)
    attention, ax = table.curve("attention"), axes[len(names)]
    for context in sorted(set(attention.context.tolist())):
        at = attention.context == context
        (line,) = ax.plot(attention.tokens[at], 1e3 * attention.device_s[at], ".", ms=3, label=f"{context:,}")
        sizes = np.unique(np.geomspace(attention.tokens[at][0], attention.tokens[at][-1], 400).astype(int))
        ax.plot(sizes, [1e3 * model.attention(int(n), context) for n in sizes], lw=1, color=line.get_color())
    ax.legend(title="context", fontsize=6, title_fontsize=6, ncols=2)
    note = "Dots were measured, lines are the fit; tokens across. Steps are the waves in which a GPU takes a chunk."
    return f"<h2>Curves</h2><p>{note}</p>" + _image(figure)


def _residuals(residuals: Sequence[Residual]) -> str:
    names = list(dict.fromkeys(r.operator for r in residuals))
    figure, axes = _panels(names, "left out: error, %", y_scale="linear")
    for name, ax in zip(names, axes, strict=False):
        of = [r for r in residuals if r.operator == name and r.measured_s]
        ax.axhline(0, color="grey", lw=0.5)
        ax.plot([r.tokens for r in of], [100 * r.error for r in of], ".", ms=3)
    return "<h2>Residuals of sizes left out</h2>" + _image(figure)


def _passes(table: OperatorTable, model: CostModel) -> str:
    figure, (ax,) = _panels(["passes measured and not fitted"], "error, %", y_scale="linear", columns=1)
    points: dict[str, list[tuple[int, float]]] = {}
    for row, kind, error in pass_residuals(model, table):
        points.setdefault(kind.partition(",")[0], []).append((sum(n for n, _ in row.shape), 100 * error))
    ax.axhline(0, color="grey", lw=0.5)
    for kind, of in points.items():
        ax.plot(*zip(*of, strict=True), ".", label=kind)
    figure.legend(fontsize=8, loc="outside right upper")
    return "<h2>Residuals of passes</h2>" + _image(figure)


def _beside(table: OperatorTable, other: OperatorTable) -> str:
    """Ratios of this table's times to the other's, by operator and size."""
    ratios = beside(table, other)
    rows = [
        (of.operator, of.backend, len(of.points), *("" if m is None else f"{m:.2f}" for m in of.medians()))
        for of in ratios
    ]
    figure, axes = _panels([of.operator for of in ratios], "this / other", y_scale="linear")
    for of, ax in zip(ratios, axes, strict=True):
        ax.axhline(1, color="grey", lw=0.5)
        ax.plot(*zip(*of.points, strict=True), ".-", ms=3, lw=0.5)
    gpu, model, tp, date = (other.provenance.get(key) for key in ("gpu", "model", "tp", "date"))
    name = other.provenance.get("source") or f"{gpu}/{model}/tp{tp}, {date}"
    return (
        f"<h2>Beside {html.escape(str(name))}</h2>"
        "<p>Medians of this table's device time over the other's. Ours are taken inside a layer on a GPU at its power "
        "limit, public ones of one kernel again and again; our o_proj and down_proj add the residual.</p>"
        + _table(("operator", "the other's", "sizes", *titles()), rows)
        + _image(figure)
    )


def _boost(table: OperatorTable) -> str:
    """What a rested GPU gains, in a line; nothing where none was measured."""
    about = table.provenance.get("boost")
    if about is None:
        return ""
    Boost.of(about)
    gains = ", ".join(f"{tokens:,} tokens {100 * gain:.1f} %" for tokens, gain in about["gain"])
    return (
        f"<h2>Rested</h2><p>A GPU that has rested is faster than all this by: {gains}; until its use, averaged over "
        f"{1e3 * about['window_s']:.0f} ms, passes {about['threshold']:.2f}, and then less and less.</p>"
    )


def _provenance(about: Mapping[str, Any]) -> str:
    facts = "".join(
        f"<dt>{html.escape(key)}</dt><dd>{html.escape(str(value))}</dd>"
        for key, value in about.items()
        if key not in HIDDEN
    )
    notes = "".join(f"<li>{html.escape(str(note))}</li>" for note in about.get("notes", ()))
    return f"<h2>Where it comes from</h2><dl>{facts}</dl>" + (f"<h3>Notes</h3><ul>{notes}</ul>" if notes else "")


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


def _image(figure: Figure) -> str:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110, metadata={"Software": None})
    return f"<img alt='' src='data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}'>"


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [_line("th", header), *(_line("td", row) for row in rows)]
    return f"<table>{''.join(lines)}</table>"


def _line(cell: str, values: Sequence[object]) -> str:
    return f"<tr>{''.join(f'<{cell}>{html.escape(str(value))}</{cell}>' for value in values)}</tr>"


def _percents(*values: float) -> list[str]:
    return [f"{100 * value:.1f} %" for value in values]
