"""What all figures share: Okabe and Ito's colours, which colour-blind readers tell apart, and plain axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
ROUNDS = (("", "-"), ("///", "--"), ("...", ":"))
"""Hatching of bars and dashes of lines: the next pair each time all colours have been used."""


def style(place: int) -> tuple[str, str, str]:
    """Colour, hatching and dashes of the policy or run at this place."""
    times, place = divmod(place, len(COLOURS))
    return COLOURS[place], *ROUNDS[times % len(ROUNDS)]


def new_axes(size: tuple[float, float]) -> Axes:
    """The axes of a new figure of this size, inches."""
    _, panels = new_panels(1, 1, size)
    axes: Axes = panels[0, 0]
    return axes


def new_panels(rows: int, columns: int, size: tuple[float, float], **more: Any) -> tuple[Figure, np.ndarray]:
    """A new figure of this size, inches, and its axes, shape [rows, columns]."""
    figure = _new_figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **more)


def _new_figure(**how: Any) -> Figure:
    """A new figure; made by pyplot, so that a notebook shows it, unless its backend cannot be loaded here."""
    import matplotlib.pyplot as plt  # slow to import, and only figures need it
    from matplotlib.figure import Figure

    try:
        figure = plt.figure(**how)
    except ImportError:
        return Figure(**how)
    plt.close(figure)  # a notebook shows the figure that a cell returns; pyplot would show it again
    return figure


def short(name: str, most: int = 30) -> str:
    """A name that has room in a figure: of a longer one the beginning and the end."""
    return name if len(name) <= most else f"{name[: most - 13]}...{name[-10:]}"


def foot(figure: Figure, text: str) -> None:
    """A line of small print at the foot of a figure, in place of one that is there."""
    figure.supxlabel(text, x=0.01, ha="left", fontsize=7, color="dimgrey", parse_math=False)


def plain(axes: Axes) -> None:
    """Horizontal grid lines behind the data, and no box around it."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25)
    axes.set_axisbelow(True)
