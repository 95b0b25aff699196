"""Figures of studies, each a function that returns its Axes; `flowsim.studies.plot` makes all of a study."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from flowsim.rendering.result_figures import draw_steps
from flowsim.rendering.style import COLOURS, new_axes, plain, short
from flowsim.results.saved_files import is_share
from flowsim.studies.figure_data import (
    Floats,
    HeatMap,
    Line,
    LineChart,
    RateBars,
    class_chart,
    heat_map_of,
    line_chart,
    rate_bars,
    ttft_distributions,
)
from flowsim.studies.goodput_rules import RULES
from flowsim.studies.sweep import Runs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINES_SIZE, MAP_SIZE = (6.4, 4.2), (5.6, 4.4)
BARS_WIDTH = 7
"""Sizes of figures, inches."""
CHARACTER = 0.56
"""The mean width of a character, as a share of its size."""
MARKERS = "osD^vPX*"
LINES: dict[str, Any] = {"markersize": 4, "linewidth": 1.5, "elinewidth": 1, "capsize": 2}
ERROR_BARS: dict[str, Any] = {"capsize": 3, "elinewidth": 1.2, "ecolor": "0.45"}
HIGH_PERCENT = 60
"""Where all shares are above it, the axis does not begin at zero."""
SHARE = "workload.mix."
"""What the option of a class's share begins with."""
LABELS = {
    "workload.rate_rps": "request rate, req/s",
    "workload.rate_scale": "request rate, as a multiple of the trace's",
    "slo.scale": "SLO scale",
    "attainment": "requests within their TTFT SLO, %",
    "max_rate_attainment_rps": "max goodput by attainment, req/s",
    "max_rate_sustained_rps": "max goodput, sustained, req/s",
    "goodput_rps": "goodput: attainment x offered rate, req/s",
    "policy.budget": "chunk, tokens",
    "predictor": "predictor",
}


def lines(runs: Runs, x: str, value: str = "attainment", axes: Axes | None = None) -> Axes:
    """A metric of the runs against an option, one line per policy, with 95 % intervals; see `line_chart`.

    Raises:
        InputError: no such column, or runs that differ in a further option: select one value of it.
    """
    return draw_lines(line_chart(runs, x, value), axes or new_axes(LINES_SIZE))


def class_tradeoff(runs: Runs, x: str, policy: str, axes: Axes | None = None) -> Axes:
    """Attainment of each class against an option, under one policy: who pays, and from where on.

    Raises:
        InputError: no such policy in the study; or as `lines`.
    """
    axes = axes or new_axes(LINES_SIZE)
    chart = class_chart(runs, x, policy)
    _draw_chart(replace(chart, lines=[replace(line, name=short(line.name)) for line in chart.lines]), axes)
    axes.set_title(policy, loc="left")
    return axes


def max_goodput(runs: Runs, axes: Axes | None = None) -> Axes:
    """Bars: the highest rates of each policy by both rules, with intervals, and their paired ratios to the first's.

    Raises:
        InputError: the study did not search for highest rates.
    """
    bars = [rate_bars(runs, rule) for rule in RULES]
    return draw_bars(bars, axes or new_axes((BARS_WIDTH, bars_height(len(bars[0].policies)))))


def heat_map(
    runs: Runs,
    x: str,
    y: str,
    value: str = "attainment",
    axes: Axes | None = None,
    ends: tuple[float, float] | None = None,
) -> Axes:
    """A metric of the runs of one policy over two options, the mean of the replications written in each cell.

    The colours go from one of `ends` to the other, those of all policies if they are to be compared; default: its own.

    Raises:
        InputError: no such column, or runs of several policies or of a further option: select one.
    """
    return draw_heat_map(heat_map_of(runs, x, y, value, ends), axes or new_axes(MAP_SIZE))


def ttft_distribution(runs: Runs, axes: Axes | None = None) -> Axes:
    """The share of requests with a first token within a time, all runs of a policy together.

    Raises:
        InputError: the study kept no requests ("requests: true").
    """
    distributions = ttft_distributions(runs)
    axes = axes or new_axes(LINES_SIZE)
    for place, (policy, distribution) in enumerate(distributions.items()):
        draw_steps(axes, place, policy, distribution, log=True)
    axes.set_xscale("log")
    axes.set_ylim(0, 102)
    axes.set_xlabel("TTFT, s")
    axes.set_ylabel("requests, %")
    axes.legend(frameon=False)
    axes.set_title("Time to first token", loc="left")
    plain(axes)
    return axes


def draw_lines(chart: LineChart, axes: Axes) -> Axes:
    """Draw a chart with one line per policy."""
    _draw_chart(chart, axes)
    if chart.x == "policy":
        axes.get_legend().remove()
    lowest = float(np.nanmin([(line.mean, line.low) for line in chart.lines]))
    if chart.value == "attainment" and lowest > HIGH_PERCENT:
        axes.set_ylim(bottom=10 * math.floor(lowest / 10))
    return axes


def _draw_chart(chart: LineChart, axes: Axes) -> None:
    shares = is_share(chart.value)
    for place, line in enumerate(chart.lines):
        draw_line(axes, place, len(chart.lines), line, (0, 100 if shares else np.inf), "" if chart.words else "-")
    if chart.words:
        word_ticks(axes, chart.ticks)
    else:
        axis_limits(axes, chart.ticks)
    if shares:
        axes.set_ylim(0, 103)
    else:
        axes.autoscale_view()
        axes.set_ylim(bottom=0)
    axes.set_xlabel(label(chart.x))
    axes.set_ylabel(label(chart.value))
    axes.legend(frameon=False, fontsize=9)
    plain(axes)


def draw_line(axes: Axes, place: int, many: int, line: Line, limits: tuple[float, float], dash: str) -> None:
    """One line with its error bars, shifted by a point (of the page) from the next so that neither hides the other.

    The bars stay within `limits`: a share between 0 and 100 %.
    """
    from matplotlib.transforms import ScaledTranslation  # slow to import, and only figures need it

    low, high = line.low.clip(*limits), line.high.clip(*limits)
    error = np.maximum(np.nan_to_num([line.mean - low, high - line.mean]), 0)
    bars = error if error.any() else None
    shift = ScaledTranslation((place - (many - 1) / 2) * 1.2 / 72, 0, axes.figure.dpi_scale_trans)
    style = {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)], **LINES}
    axes.update_datalim(np.column_stack([line.x, line.mean + error[1]]))
    axes.errorbar(line.x, line.mean, bars, label=line.name, linestyle=dash, transform=axes.transData + shift, **style)


def word_ticks(axes: Axes, names: Sequence[str]) -> None:
    """Names on the horizontal axis, slanted where they would run into one another."""
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.5, len(names) - 0.5)
    labels = [tick.label1 for tick in axes.xaxis.get_major_ticks()]
    room = 72 * axes.get_figure(root=True).get_size_inches()[0] * axes.get_position().width / len(names)
    if (max(map(len, names)) + 1) * CHARACTER * labels[0].get_fontsize() > room:
        for text in labels:
            text.set(rotation=30, ha="right", rotation_mode="anchor")


def axis_limits(axes: Axes, at: Sequence[float]) -> None:
    """Limits around these values; a logarithmic axis for what spans three doublings or more."""
    if at[0] > 0 and at[-1] >= 8 * at[0]:
        shown = [at[0]]
        for value in at:
            if value >= 1.3 * shown[-1]:
                shown.append(value)
        axes.set_xscale("log", base=2)
        axes.set_xticks(shown, [f"{value:g}" for value in shown])
        axes.set_xticks(at, [""] * len(at), minor=True)
        axes.set_xlim(at[0] / 1.1, at[-1] * 1.1)
    else:
        margin = 0.04 * (at[-1] - at[0]) or 0.5
        axes.set_xlim(at[0] - margin, at[-1] + margin)


def draw_bars(rules: Sequence[RateBars], axes: Axes) -> Axes:
    """Draw a horizontal bar for each policy and rule, the first at the top; the later rules are paler."""
    policies, height = rules[0].policies, 0.8 / len(rules)
    right = max(float((np.nan_to_num(bars.mean) + _spread(bars)[1]).max()) for bars in rules)
    for row, bars in enumerate(rules):
        places = np.arange(len(policies))[::-1] - height * (row - (len(rules) - 1) / 2)
        error, lengths = _spread(bars), np.nan_to_num(bars.mean)
        colours = [COLOURS[place % len(COLOURS)] for place in range(len(policies))]
        look: dict[str, Any] = {"color": colours, "alpha": 1 - 0.5 * row, "error_kw": ERROR_BARS}
        axes.barh(places, lengths, 0.9 * height, xerr=error, **look)
        for place, mean, more, ratio in zip(places, bars.mean, error[1], bars.ratio, strict=True):
            times = f" ({ratio:.2f} x)" if ratio > 0 else ""
            said = f"not limited by {bars.rule}" if np.isnan(mean) else f"{mean:.3g}{times} {bars.rule}"
            axes.text(np.nan_to_num(mean) + more + 0.015 * right, place, said, va="center", fontsize=8)
    axes.set_yticks(np.arange(len(policies))[::-1], policies)
    axes.set_xlim(0, 1.4 * right or 1)
    axes.set_xlabel(f"highest rate by each rule, req/s (ratio to {policies[0]})")
    axes.set_title("Max goodput", loc="left")
    plain(axes)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", alpha=0.25)
    return axes


def _spread(bars: RateBars) -> Floats:
    """How far the intervals reach below and above the means, shape [2, policies]; 0 where none is known."""
    return np.array(np.nan_to_num([bars.mean - bars.low, bars.high - bars.mean]))


def bars_height(policies: int) -> float:
    """The height of a figure with bars for this many policies, inches."""
    return 0.6 * policies + 1.3


def draw_heat_map(found: HeatMap, axes: Axes) -> Axes:
    """Draw the cells, each with its value."""
    bottom, top = found.ends
    image = axes.imshow(found.cells, cmap="cividis", aspect="auto", vmin=bottom, vmax=top)
    for (row, column), cell in np.ndenumerate(found.cells):
        if not np.isnan(cell):
            colour = "black" if cell > (bottom + top) / 2 else "white"
            axes.text(column, row, f"{cell:.3g}", ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(found.across)), [f"{at:g}" for at in found.across])
    axes.set_yticks(range(len(found.down)), [f"{at:g}" for at in found.down])
    axes.set_xlabel(label(found.x))
    axes.set_ylabel(label(found.y))
    axes.figure.colorbar(image, ax=axes, label=label(found.value))
    axes.set_title(", ".join(found.policies), loc="left")
    return axes


def label(name: str) -> str:
    """A column as an axis names it."""
    if name.startswith(SHARE):
        return f"share of {name.removeprefix(SHARE)}"
    return LABELS.get(name, f"{name.replace('_', ' ')}, %" if is_share(name) else name)
