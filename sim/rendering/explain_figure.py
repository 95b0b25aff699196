"""Why requests missed their SLOs, as a figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from flowsim.rendering.reasons import REASONS, SERVABLE
from flowsim.rendering.style import foot, new_axes, plain, short, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def misses_by_class(
    by_class: Mapping[str, Mapping[str, int]],
    counted: Mapping[str, int],
    policy: str,
    servable: Mapping[str, int] | None = None,
) -> Figure:
    """One bar per class, of the share of its counted requests that missed, divided by reason.

    Args:
        by_class: of each class, how many missed for each of REASONS.
        counted: how many requests of each class count.
        policy: what the figure is of.
        servable: for how many a perfect scheduler could have done what, by the names of SERVABLE.
    """
    names = [name for name in by_class if counted[name]]
    axes = new_axes((6.4, 0.9 + 0.36 * max(len(names), 4)))
    left = np.zeros(len(names))
    for place, (reason, text) in enumerate(REASONS.items()):
        share = np.array([100 * by_class[name].get(reason, 0) / counted[name] for name in names])
        if share.any():
            colour, hatch, _ = style(place)
            axes.barh(range(len(names)), share, left=left, color=colour, hatch=hatch, edgecolor="white", label=text)
        left += share
    axes.set_yticks(range(len(names)), [f"{short(name)} ({counted[name]:,})" for name in names], parse_math=False)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("requests that missed their TTFT SLO, % of the class")
    axes.set_title(policy, fontsize=9, loc="left", parse_math=False)
    plain(axes)
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", alpha=0.25)
    if axes.containers:
        axes.figure.legend(loc="outside right center", frameon=False, fontsize=8)
    if servable is not None:
        could = ", ".join(f"{text}: {servable[name]:,}" for name, text in SERVABLE.items())
        foot(axes.figure, f"Could be in time: {could}")
    return axes.get_figure(root=True)
