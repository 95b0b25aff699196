"""Figures of results: each draws a small value that was computed before (`flowsim.results.figure_data`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flowsim.rendering.style import new_panels, plain, short, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
LEGEND_CHARACTERS, LABEL_CHARACTERS = 130, 70
"""How many characters fit in a line of the legend, and in the labels of all classes side by side."""
MOST_OF_POLICY = 100
"""Characters of a policy's specification in a legend."""
MOST_LABELLED_BARS = 20
"""With more bars than this, none has its value written above it."""


@dataclass(frozen=True)
class ClassAttainment:
    """Attainment overall and by class, of several results on the same requests.

    Attributes:
        classes: name and TTFT SLO (seconds) of each group of bars; the first is all requests, without an SLO.
        percent: by the name of the result, its attainment of each group, per cent; NaN where no request has an SLO.
    """

    classes: Sequence[tuple[str, float | None]]
    percent: Mapping[str, Sequence[float]]


@dataclass(frozen=True, eq=False)
class Distribution:
    """An empirical distribution function.

    Attributes:
        values: in ascending order, shape [k].
        percent: how many per cent of all have this value or a lower one, shape [k].
    """

    values: Floats
    percent: Floats

    @classmethod
    def of(cls, values: Floats, total: int | None = None) -> Distribution:
        """The distribution of `values` (NaN = never) among a `total` of this many; default: among all of them."""
        known = np.sort(values[~np.isnan(values)])
        return cls(known, 100 * np.arange(1, known.size + 1) / max(values.size if total is None else total, 1))


def comparison(attainment: ClassAttainment, ttft_s: Mapping[str, Distribution], note: str = "") -> Figure:
    """Two panels: attainment by class, and the distribution of TTFT, of several policies on the same requests.

    Args:
        attainment: of each policy.
        ttft_s: of each policy.
        note: small print above the legend.
    """
    names = [short(name, MOST_OF_POLICY) for name in attainment.percent]
    columns = max(1, min(len(names), LEGEND_CHARACTERS // (max(map(len, names)) + 8)))
    legend_rows = -(-len(names) // columns)
    figure, panels = new_panels(1, 2, (11, 4.2 + 0.22 * (legend_rows - 1)), width_ratios=(3, 2))
    left, right = panels[0]
    attainment_by_class(attainment, left)
    ttft_distribution(ttft_s, right)
    legend = figure.legend(left.containers, names, loc="outside lower center", ncols=columns, frameon=False)
    legend.set_title(note, prop={"size": 7})
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def attainment_by_class(attainment: ClassAttainment, axes: Axes) -> Axes:
    """Bars: the share of requests within their TTFT SLO, overall and by class, one colour per policy."""
    groups, many = len(attainment.classes), len(attainment.percent)
    width = 0.8 / many
    for place, (name, heights) in enumerate(attainment.percent.items()):
        left = np.arange(groups) + (place - (many - 1) / 2) * width
        colour, hatch, _ = style(place)
        bars = axes.bar(left, heights, width, label=name, color=colour, hatch=hatch, edgecolor="white", linewidth=0)
        if many * groups <= MOST_LABELLED_BARS:
            axes.bar_label(bars, fmt="%.3g", fontsize=7, padding=1)
    axes.set_xticks(range(groups), **_class_labels(attainment.classes))
    axes.set_xlim(-0.6, groups - 0.4)
    axes.set_ylim(0, 106)
    axes.set_ylabel("within their TTFT SLO, %")
    axes.set_title("Attainment by class", loc="left")
    plain(axes)
    return axes


def ttft_distribution(ttft_s: Mapping[str, Distribution], axes: Axes) -> Axes:
    """The share of requests with a first token within a time; those that never got one keep the curve below 100 %.

    The axis of times is logarithmic if they span a doubling or more.
    """
    values = np.concatenate([distribution.values for distribution in ttft_s.values()])
    log = bool(values.size) and values.max() >= 2 * values.min()
    for place, (name, distribution) in enumerate(ttft_s.items()):
        draw_steps(axes, place, name, distribution, log=log)
    if log:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
    axes.set_ylim(0, 102)
    axes.set_xlabel("TTFT, s")
    axes.set_ylabel("requests, %")
    axes.set_title("Time to first token", loc="left")
    axes.grid(axis="x", alpha=0.25)
    plain(axes)
    return axes


def blocking_distribution(blocking_s: Mapping[str, Distribution], axes: Axes) -> Axes:
    """The share of preemptions whose blocking time is within a time."""
    for place, (name, distribution) in enumerate(blocking_s.items()):
        draw_steps(axes, place, name, Distribution(1e3 * distribution.values, distribution.percent))
    if not any(distribution.values.size for distribution in blocking_s.values()):
        axes.text(0.5, 0.5, "no pass was told to stop", transform=axes.transAxes, ha="center", color="grey")
    axes.set_xlim(left=0)
    axes.set_ylim(0, 102)
    axes.set_xlabel("blocking time, ms")
    axes.set_ylabel("preemptions, %")
    axes.set_title("Blocking time", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return axes


def draw_steps(axes: Axes, place: int, name: str, distribution: Distribution, log: bool = False) -> None:
    """The distribution of the policy or run at this place; a logarithmic axis has no room for a zero."""
    shown = distribution.values > 0 if log else slice(None)
    colour, _, dashes = style(place)
    values, percent = distribution.values[shown], distribution.percent[shown]
    axes.step(values, percent, where="post", label=name, color=colour, ls=dashes, lw=1.6)


def _class_labels(classes: Sequence[tuple[str, float | None]]) -> dict[str, Any]:
    """Each class with its SLO below it, or slanted if they do not fit side by side. Names are not formulas."""
    classes = [(short(name), slo_s) for name, slo_s in classes]
    if sum(len(name) + 2 for name, _ in classes) <= LABEL_CHARACTERS:
        labels = [name if slo_s is None else f"{name}\n{slo_s:g} s" for name, slo_s in classes]
        return {"labels": labels, "parse_math": False}
    labels = [name if slo_s is None else f"{name}, {slo_s:g} s" for name, slo_s in classes]
    return {"labels": labels, "parse_math": False, "rotation": 30, "ha": "right", "rotation_mode": "anchor"}
