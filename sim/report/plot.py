"""The figures of results and their files: what `flowsim plot` does."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowsim.errors import InputError, InputWarning, unknown
from flowsim.io.folders import writing
from flowsim.rendering.costs_text import cost_footing
from flowsim.rendering.figure_file import NO_DATE, draw_into
from flowsim.report.chart import ChartColumns, chart
from flowsim.report.chart_figure import draw_chart, inches
from flowsim.report.saved import Saved
from flowsim.report.saved_runs import comparison_figure, runs_of
from flowsim.studies.plot import draw, selected
from flowsim.studies.sweep import Runs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS: Mapping[str, Mapping[str, Any]] = {
    "png": {"dpi": 300, "metadata": NO_DATE[".png"]},
    "svg": {"metadata": NO_DATE[".svg"]},
    "pdf": {"metadata": NO_DATE[".pdf"]},
}
"""How a file of each format is written, so that the same figure has the same bytes."""
DEFAULT_FORMATS = ("png", "svg")


def plot(
    results: Runs | str | Path,
    out: str | Path | None = None,
    select: Sequence[str] = (),
    *,
    x: str | None = None,
    y: str | None = None,
    hue: str | None = None,
    facet: str | None = None,
    against: str | None = None,
    width: str | float | None = None,
    formats: Sequence[str] = DEFAULT_FORMATS,
) -> dict[str, Figure]:
    """The figures of a study, a run or a comparison by name, with what was selected, written if `out` is given.

    Without x, y, hue, facet, against or width they are those that fit what varies; with any of them it is one chart of
    these columns.

    Args:
        results: the runs of a study, or the folder that holds them, a run or a comparison.
        out: the folder for the files.
        select: options and their values, each "NAME=VALUE"; only runs that have them are shown.
        x, y: the columns on the axes, options or figures of the runs; default: the first option that varies, and
            attainment.
        hue: the column with a line for each of its values; "family" is the policy without its options, "class" the
            class of requests. Default: the policy.
        facet: the column with a panel for each of its values.
        against: a policy; y is then the difference to its own, paired by replication.
        width: "column" or "page" of a paper, or inches; default: page.
        formats: png, svg, pdf.

    Raises:
        InputError: no such results, column, policy, width or format; more varies than a figure shows: select one value
            of it; or `out` cannot be written.

    Warns:
        InputWarning: points that are not finite are left out.
    """
    if not isinstance(results, Runs | str | Path):
        raise InputError("results", found=results, expected="a study's Runs, or the folder that holds them")
    for name in formats:
        if name not in FORMATS:
            raise unknown("format", name, FORMATS, where="format")
    if width is not None:
        inches(width)
    given = (x, y, hue, facet, against, width)
    if all(one is None for one in given):
        figures = _usual(results, select)
    else:
        runs = selected(_runs(results), select)
        columns = chart(runs, ChartColumns(x, y or "attainment", hue, facet, against))
        footing = cost_footing(runs.costs) if runs.costs else ""
        shown = [columns.columns.y, columns.columns.x, facet, hue and f"by {hue}", against and f"against {against}"]
        name = "-".join(str(part) for part in shown if part)
        if columns.left_out:
            warnings.warn(columns.left_out, InputWarning, stacklevel=2)
        figures = {name: draw_chart(columns, "page" if width is None else width, footing, runs.title)}
    told = [*select, *([str(width)] if width not in (None, "page") else [])]
    figures = {"-".join([name, *told]): figure for name, figure in figures.items()}
    if out is not None:
        save(figures, out, formats)
    return figures


def save(figures: Mapping[str, Figure], folder: str | Path, formats: Sequence[str] = DEFAULT_FORMATS) -> list[str]:
    """Write each figure in each format: all of them, or none. Returns the names of the files.

    Raises:
        InputError: the folder has the name of a figure, or cannot be written.
    """
    import matplotlib as mpl  # slow to import, and only figures need it

    if Path(folder).suffix.removeprefix(".") in FORMATS:
        raise InputError("out", found=str(folder), expected="a folder; --format says of which kind its figures are")
    names, stems = [], list[str]()
    with writing(folder) as stage, mpl.rc_context({"svg.hashsalt": "flowsim", "pdf.fonttype": 42}):
        for name, figure in figures.items():
            stem = re.sub(r"[^\w.=,-]+", "-", name)
            taken = sum(other == stem for other in stems)
            stems.append(stem)
            for ending in dict.fromkeys(formats):
                file = f"{stem}-{taken + 1}.{ending}" if taken else f"{stem}.{ending}"
                draw_into(stage / file, figure, **FORMATS[ending])
                names.append(file)
    return names


def _usual(results: Runs | str | Path, select: Sequence[str]) -> dict[str, Figure]:
    """The figures that fit what varies."""
    if isinstance(results, Runs):
        return draw(selected(results, select))
    saved = Saved.read(results)
    if saved.kind == "study":
        return draw(selected(saved.study, select))
    if select:
        raise InputError("select", "is of a study", expected="--x or --y with it, or a study")
    return {"comparison": comparison_figure(saved)}


def _runs(results: Runs | str | Path) -> Runs:
    return results if isinstance(results, Runs) else runs_of(Saved.read(results))
