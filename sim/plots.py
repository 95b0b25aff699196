"""Figures of results, in Okabe and Ito's colours, which colour-blind readers tell apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from flowsim.result import RunResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")


def comparison(results: Mapping[str, RunResult]) -> Figure:
    """Two panels: attainment by class, and the distribution of TTFT, of several policies on the same requests."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained", width_ratios=(3, 2))
    plt.close(figure)  # a notebook shows what a cell returns; pyplot is to show nothing besides
    attainment_by_class(results, left)
    ttft_distribution(results, right)
    names = list(results)
    handles, _ = left.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=min(len(names), 4), frameon=False)
    return figure


def attainment_by_class(results: Mapping[str, RunResult], axes: Axes) -> Axes:
    """Bars: the share of requests within their TTFT SLO, overall and for each class, a colour a policy."""
    first = next(iter(results.values())).summary
    classes = ["all", *first["classes"]]
    width = 0.8 / len(results)
    for place, (name, result) in enumerate(results.items()):
        shares = [result.summary["attainment"]] + [of["attainment"] for of in result.summary["classes"].values()]
        heights = [100 * share if share is not None else 0.0 for share in shares]
        left = np.arange(len(classes)) + (place - (len(results) - 1) / 2) * width
        bars = axes.bar(left, heights, width, label=name, color=COLOURS[place % len(COLOURS)])
        if len(results) <= 4:
            axes.bar_label(bars, fmt="%.0f", fontsize=7, padding=1)
    labels = ["all"] + [_class_label(name, of["ttft_slo_s"]) for name, of in first["classes"].items()]
    axes.set_xticks(range(len(classes)), labels)
    axes.set_ylim(0, 106)
    axes.set_ylabel("requests within their TTFT SLO, %")
    axes.set_title("Attainment by class", loc="left")
    _plain(axes)
    return axes


def ttft_distribution(results: Mapping[str, RunResult], axes: Axes) -> Axes:
    """The share of requests with a first token within a time; those that never got one keep the curve below 100 %."""
    for place, (name, result) in enumerate(results.items()):
        ttft_s = np.sort(result.ttft_s[~np.isnan(result.ttft_s)])
        share = 100 * np.arange(1, ttft_s.size + 1) / len(result.trace)
        axes.step(ttft_s, share, where="post", label=name, color=COLOURS[place % len(COLOURS)], linewidth=1.6)
    axes.set_xscale("log")
    axes.set_ylim(0, 102)
    axes.set_xlabel("TTFT, s")
    axes.set_ylabel("requests, %")
    axes.set_title("Time to first token", loc="left")
    axes.grid(axis="x", alpha=0.25)
    _plain(axes)
    return axes


def _class_label(name: str, slo_s: float | None) -> str:
    return name if slo_s is None else f"{name}\n{slo_s:g} s"


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25)
    axes.set_axisbelow(True)
