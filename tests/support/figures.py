"""What of a drawn figure lies outside it."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.figure import Figure
from matplotlib.text import Text

HAIR = 1.0
"""Pixels by which a text may stick out."""


def texts_outside(figure: Figure) -> list[str]:
    """The texts of a drawn figure that are not wholly inside it."""
    width, height = figure.canvas.get_width_height()
    outside, hidden = [], set(_beyond(figure))
    for text in figure.findobj(Text):
        if text in hidden or not (text.get_visible() and text.get_text()):
            continue
        box = text.get_window_extent()
        if box.x0 < -HAIR or box.y0 < -HAIR or box.x1 > width + HAIR or box.y1 > height + HAIR:
            outside.append(text.get_text())
    return outside


def _beyond(figure: Figure) -> Iterator[Text]:
    """The labels of ticks beyond the ends of their axes, which are not drawn."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                if not low <= tick.get_loc() <= high:
                    yield from (tick.label1, tick.label2)
