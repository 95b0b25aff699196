"""Figures of results, in Okabe and Ito's colours, which colour-blind readers tell apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from flowsim.results.result import RunResult

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
ROUNDS = (("", "-"), ("///", "--"), ("...", ":"))
"""Hatching of bars and dashes of lines, each time all colours have been used."""
LEGEND_CHARACTERS, LABEL_CHARACTERS = 130, 70
"""What a line of the legend, and the labels of the classes side by side, have room for."""


def comparison(results: Mapping[str, RunResult]) -> Figure:
    """Two panels: attainment by class, and the distribution of TTFT, of several policies on the same requests."""
    import matplotlib.pyplot as plt

    columns = max(1, min(len(results), LEGEND_CHARACTERS // (max(map(len, results)) + 8)))
    legend_rows = -(-len(results) // columns)
    size = (11, 4.2 + 0.22 * (legend_rows - 1))
    figure, (left, right) = plt.subplots(1, 2, figsize=size, layout="constrained", width_ratios=(3, 2))
    plt.close(figure)  # pyplot lets a notebook show the figure that a cell returns, and is to show it once
    attainment_by_class(results, left)
    ttft_distribution(results, right)
    legend = figure.legend(left.containers, list(results), loc="outside lower center", ncols=columns, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def attainment_by_class(results: Mapping[str, RunResult], axes: Axes) -> Axes:
    """Bars: the share of requests within their TTFT SLO, overall and for each class, a colour a policy.

    Classes without an SLO have no bar.
    """
    first = next(iter(results.values())).summary
    classes = [("all", None), *((name, of["ttft_slo_s"]) for name, of in first["classes"].items())]
    width = 0.8 / len(results)
    for place, (name, result) in enumerate(results.items()):
        shares = [result.summary["attainment"]] + [of["attainment"] for of in result.summary["classes"].values()]
        heights = [math.nan if share is None else 100 * share for share in shares]
        left = np.arange(len(classes)) + (place - (len(results) - 1) / 2) * width
        colour, hatch, _ = style(place)
        bars = axes.bar(left, heights, width, label=name, color=colour, hatch=hatch, edgecolor="white", linewidth=0)
        if len(results) * len(classes) <= 20:
            axes.bar_label(bars, fmt="%.3g", fontsize=7, padding=1)
    axes.set_xticks(range(len(classes)), **_class_labels(classes))
    axes.set_xlim(-0.6, len(classes) - 0.4)
    axes.set_ylim(0, 106)
    axes.set_ylabel("within their TTFT SLO, %")
    axes.set_title("Attainment by class", loc="left")
    _plain(axes)
    return axes


def ttft_distribution(results: Mapping[str, RunResult], axes: Axes) -> Axes:
    """The share of requests with a first token within a time; those that never got one keep the curve below 100 %."""
    for place, (name, result) in enumerate(results.items()):
        ttft_s = np.sort(result.ttft_s[~np.isnan(result.ttft_s)])
        share = 100 * np.arange(1, ttft_s.size + 1) / len(result.trace)
        shown = ttft_s > 0  # a logarithmic axis has no zero
        colour, _, dashes = style(place)
        axes.step(ttft_s[shown], share[shown], where="post", label=name, color=colour, ls=dashes, lw=1.6)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_ylim(0, 102)
    axes.set_xlabel("TTFT, s")
    axes.set_ylabel("requests, %")
    axes.set_title("Time to first token", loc="left")
    axes.grid(axis="x", alpha=0.25)
    _plain(axes)
    return axes


def style(place: int) -> tuple[str, str, str]:
    """Colour, hatching and dashes of the policy or run at this place."""
    times, place = divmod(place, len(COLOURS))
    return COLOURS[place], *ROUNDS[times % len(ROUNDS)]


def _class_labels(classes: Sequence[tuple[str, float | None]]) -> dict[str, Any]:
    """Each class with its SLO below, or slanted when they would not fit side by side. Names are no formulas."""
    if sum(len(name) + 2 for name, _ in classes) <= LABEL_CHARACTERS:
        labels = [name if slo_s is None else f"{name}\n{slo_s:g} s" for name, slo_s in classes]
        return {"labels": labels, "parse_math": False}
    labels = [name if slo_s is None else f"{name}, {slo_s:g} s" for name, slo_s in classes]
    return {"labels": labels, "parse_math": False, "rotation": 30, "ha": "right", "rotation_mode": "anchor"}


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25)
    axes.set_axisbelow(True)
