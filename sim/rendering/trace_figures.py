"""A figure of a trace: its request rate over time and its lengths."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flowsim.io.counts import number_of
from flowsim.rendering.style import COLOURS, new_panels, plain, short
from flowsim.traces.statistics import groups, rate_over_time
from flowsim.traces.trace import Trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def trace_figure(trace: Trace) -> Figure:
    """Three panels: the request rate over time, and the distributions of input and of output length by class."""
    drawn, panels = new_panels(1, 3, (13, 3.8))
    axes = panels[0]
    if trace.span_s:
        _, rates = rate_over_time(trace, 120)
        edges = np.linspace(0, trace.span_s, len(rates) + 1)
        axes[0].stairs(rates, edges, fill=True, color=COLOURS[0], alpha=0.8)
    else:
        _note(axes[0], "all at one instant")
    requests = number_of(len(trace), "request")
    axes[0].set(xlabel="time, s", ylabel="requests per second")
    axes[0].set_title(f"{short(trace.name)}: {requests}", parse_math=False)
    for panel, column in zip(axes[1:], ("input_length", "output_length"), strict=True):
        _distributions(panel, trace, column)
    for panel in axes:
        plain(panel)
    return drawn


def _distributions(panel: Axes, trace: Trace, column: str) -> None:
    """Cumulative distributions of a length, by class."""
    some, drawn = groups(trace), list[str]()
    colours = [COLOURS[0]] if len(some) == 1 else ["#444444", *(COLOURS[k % 7] for k in range(len(some)))]
    for (name, rows), colour in zip(some.items(), colours, strict=False):
        lengths = np.sort(getattr(trace, column)[rows])
        if lengths.any():
            share = 100 * np.arange(lengths.size + 1) / lengths.size
            panel.step(np.maximum(np.append(lengths[0], lengths), 1), share, where="post", color=colour)
            drawn.append(name)
    if not panel.lines:
        _note(panel, "not known")
    elif len(some) > 1:
        for text in panel.legend(panel.lines, map(short, drawn), frameon=False).get_texts():
            text.set_parse_math(False)
    panel.set(xscale="log", xlabel=f"{column.replace('_', ' ')}, tokens", ylabel="requests, %", ylim=(0, 102))


def _note(panel: Axes, text: str) -> None:
    panel.text(0.5, 0.5, text, transform=panel.transAxes, ha="center")
