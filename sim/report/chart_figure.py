"""A chart drawn as small panels with one legend above them, at the width of a paper's column or page."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from flowsim.errors import InputError
from flowsim.rendering.style import foot, new_panels, plain, short
from flowsim.report.chart import ChartColumns, PanelChart
from flowsim.results.saved_files import is_share
from flowsim.studies.figure_data import Line
from flowsim.studies.figures import CHARACTER, LABELS, axis_limits, draw_line, label, word_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTHS = {"column": 3.33, "page": 7.0}
"""Inches: a column and a page of two columns, as ACM and IEEE have them."""
LEAST_PANEL = 1.6
"""Inches: the narrowest panel."""
SIZES = {"column": 7, "page": 8}
"""Points of the text."""
NARROW = 4.0
"""Inches: up to this width the text is that of a column."""
MARK = 6
"""Characters that have the room of a line's mark in the legend."""
FOOTING_SIZE = 7
"""Points."""
UNITS = {"_s": "s", "_rps": "req/s", "_tokens": "tokens", "_bytes": "bytes"}
ACRONYMS = {"ttft": "TTFT", "slo": "SLO", "kv": "KV"}


def inches(width: str | float) -> float:
    """A width, by its name or in inches. InputError: it is neither."""
    expected = f"{', '.join(WIDTHS)}, or inches from {LEAST_PANEL} to 40"
    try:
        found = WIDTHS[width] if isinstance(width, str) and width in WIDTHS else float(width)
    except (TypeError, ValueError):
        raise InputError("width", found=width, expected=expected) from None
    if not LEAST_PANEL <= found <= 40:
        raise InputError("width", found=width, expected=expected)
    return found


def draw_chart(chart: PanelChart, width: str | float = "page", footing: str = "", title: str = "") -> Figure:
    """Draw a chart.

    Args:
        chart: what to draw.
        width: of the figure: "column", "page", or inches.
        footing: small print at the foot.
        title: above the chart.

    Raises:
        InputError: no such width.
    """
    import matplotlib as mpl  # slow to import, and only figures need it

    wide = inches(width)
    size = SIZES["column" if wide <= NARROW else "page"]
    across = min(len(chart.panels), max(1, int(wide / LEAST_PANEL)))
    down = -(-len(chart.panels) // across)
    panel = wide / across
    look = {"font.size": size, "axes.titlesize": size, "axes.labelsize": size, "xtick.labelsize": size - 1}
    with mpl.rc_context({**look, "ytick.labelsize": size - 1, "legend.fontsize": size - 1}):
        height = min(0.7 * panel, 3.6) if panel > LEAST_PANEL else panel
        small = textwrap.wrap(
            ". ".join(filter(None, (footing, chart.bars, chart.left_out))), _fitting(wide, FOOTING_SIZE)
        )
        tall = down * height + 0.7 + len(small) * 1.4 * FOOTING_SIZE / 72
        figure, panels = new_panels(down, across, (wide, tall), sharex=True, sharey=True)
        for place, axes in enumerate(panels.flat):
            if place < len(chart.panels):
                _draw_panel(chart, place, axes, _fitting(panel, size), _fitting(height, size))
                _outer(axes, place, across, len(chart.panels))
            else:
                axes.axis("off")
        _limits(chart, panels[0, 0])
        _legend(figure, panels, chart, _fitting(wide, size - 1), textwrap.fill(title, _fitting(wide, size)))
        if small:
            foot(figure, "\n".join(small))
    return figure


def x_label(columns: ChartColumns) -> str:
    """What the horizontal axis is called."""
    return _label(str(columns.x))


def y_label(columns: ChartColumns) -> str:
    """What the vertical axis is called."""
    if columns.against is None:
        return _label(columns.y)
    name = _label(columns.y).removesuffix(", %")
    return f"{name}, difference from {columns.against}{', % points' if is_share(columns.y) else ''}"


def _label(name: str) -> str:
    """A column in words, with its unit."""
    known = label(name)
    if known != name or name in LABELS or "." in name:
        return known
    for ending, unit in UNITS.items():
        if name.endswith(ending):
            return f"{_words(name.removesuffix(ending))}, {unit}"
    return _words(name)


def _words(name: str) -> str:
    return " ".join(ACRONYMS.get(part, part) for part in name.split("_"))


def _fitting(length: float, size: float) -> int:
    """How many characters of this size, points, fit in a length, inches."""
    return max(8, int(length * 72 / (CHARACTER * size)))


def _draw_panel(chart: PanelChart, place: int, axes: Axes, across: int, up: int) -> None:
    panel = chart.panels[place]
    limits = (0.0, 100.0) if is_share(chart.columns.y) else (0.0, np.inf)
    limits = limits if chart.columns.against is None else (-np.inf, np.inf)
    for line in panel.lines:
        number = chart.names.index(line.name)
        draw_line(axes, number, len(chart.names), line, limits, "-" if chart.joined else "")
    axes.set_title(textwrap.fill(panel.title, across), loc="left", parse_math=False)
    axes.set_xlabel(textwrap.fill(x_label(chart.columns), across), parse_math=False)
    axes.set_ylabel(textwrap.fill(y_label(chart.columns), up), parse_math=False)
    plain(axes)


def _outer(axes: Axes, place: int, across: int, many: int) -> None:
    """Labels only at the left, and where there is no panel below."""
    axes.tick_params(labelleft=place % across == 0, labelbottom=place + across >= many)
    if place % across:
        axes.set_ylabel("")
    if place + across < many:
        axes.set_xlabel("")


def _limits(chart: PanelChart, axes: Axes) -> None:
    """The limits of all panels, which share their axes."""
    if chart.words:
        for panel in axes.figure.axes:
            word_ticks(panel, [short(str(tick)) for tick in chart.ticks])
    elif chart.joined:
        axis_limits(axes, chart.ticks)
        _widen(axes)
    else:
        axes.margins(x=0.05)
    if chart.columns.against is not None:
        for panel in axes.figure.axes:
            panel.axhline(0, color="0.4", linewidth=0.8, zorder=1)
    lowest, highest = _extremes([line for panel in chart.panels for line in panel.lines])
    if chart.columns.against is not None:
        more = 0.08 * (max(highest, 0) - min(lowest, 0)) or 1
        axes.set_ylim(min(lowest, 0) - more, max(highest, 0) + more)
    elif is_share(chart.columns.y):
        axes.set_ylim(10 * np.floor(lowest / 10) if lowest > 60 else 0, 104)
    else:
        axes.set_ylim(min(0.0, 1.05 * lowest), 1.05 * highest if highest > 0 else 1)


def _widen(axes: Axes) -> None:
    """Room for the markers at both ends of the horizontal axis."""
    to_axis = axes.get_xaxis().get_transform()
    low, high = to_axis.transform(axes.get_xlim())
    more = 0.04 * (high - low)
    axes.set_xlim(*to_axis.inverted().transform([low - more, high + more]))


def _extremes(lines: list[Line]) -> tuple[float, float]:
    ends: list[Any] = [end for line in lines for end in (line.mean, line.low, line.high)]
    values = np.concatenate(ends) if ends else np.zeros(1)
    return float(np.nanmin(values)), float(np.nanmax(values))


def _legend(figure: Figure, panels: np.ndarray, chart: PanelChart, characters: int, title: str) -> None:
    """The title and one legend above all panels, so that it hides nothing."""
    alone = len(chart.names) < 2 and chart.columns.against is None  # of a difference a single line says whose it is
    if alone or chart.columns.hue == chart.columns.x:
        if title:
            figure.suptitle(title, parse_math=False)
        return
    handles: dict[str, Any] = {}
    for axes in panels.flat:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(name, handle)
    names = [name for name in chart.names if name in handles]
    longest = max(map(len, names))
    columns = max(1, min(len(names), characters // (longest + MARK)))
    legend = figure.legend(
        [handles[name] for name in names],
        [textwrap.fill(name, max(8, int(0.85 * characters) - MARK)) for name in names],
        title=title,
        loc="outside upper center",
        ncols=columns,
        frameon=False,
        columnspacing=1.2,
        handletextpad=0.4,
    )
    for text in (*legend.get_texts(), legend.get_title()):
        text.set_parse_math(False)
