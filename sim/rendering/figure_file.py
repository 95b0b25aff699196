"""A figure in a file of its own, for the commands that have --figure."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from flowsim.errors import InputError, InputWarning
from flowsim.io.folders import writing_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MISSING = "missing from font"
"""What Matplotlib says of a letter that a font does not have."""
NO_DATE: Mapping[str, Mapping[str, None]] = {
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Producer": None},
    ".svg": {"Date": None},
}
"""What is left out of a figure by the ending of its file, so that the same figure has the same bytes."""


def check_figure_file(path: str | Path) -> None:
    """Raise `InputError` if the path does not end as an image does."""
    if Path(path).suffix not in NO_DATE:
        raise InputError(str(path), "unknown figure format", expected=".png, .pdf or .svg")


def save_figure(figure: Figure, path: str | Path) -> None:
    """Draw a figure into a file, whole or not at all.

    Raises:
        InputError: the path does not end as an image does, or the file cannot be written.
    """
    import matplotlib as mpl  # slow to import, and only figures need it

    check_figure_file(path)
    with writing_file(path) as partial, mpl.rc_context({"svg.hashsalt": "flowsim", "pdf.fonttype": 42}):
        draw_into(partial, figure, metadata=NO_DATE[partial.suffix])


def draw_into(file: Path | IO[bytes], figure: Figure, **how: Any) -> None:
    """Draw a figure into a file, as `Figure.savefig` does; a "$" in a name begins no formula.

    Warns:
        InputWarning: names have letters that no font here has; one line for all of them.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _take_literally(figure)
        figure.savefig(file, **how)
    lacking = [one for one in caught if MISSING in str(one.message)]
    for one in caught:
        if one not in lacking:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    if lacking:
        problem = "names have letters that no font of the figure has, and are drawn as boxes"
        warnings.warn(problem, InputWarning, stacklevel=2)


def _take_literally(figure: Figure) -> None:
    """No text of a figure is read as a formula; so the numbers on logarithmic axes are plain text too."""
    from matplotlib.text import Text
    from matplotlib.ticker import LogFormatter

    class Numbers(LogFormatter):  # type: ignore[misc]
        def __call__(self, x: float, pos: int | None = None) -> str:
            return f"{x:g}" if super().__call__(x, pos) else ""  # "" where there is no room

    for axis in (axis for panel in figure.axes for axis in (panel.xaxis, panel.yaxis)):
        for formatter, replace in (
            (axis.get_major_formatter(), axis.set_major_formatter),
            (axis.get_minor_formatter(), axis.set_minor_formatter),
        ):
            if isinstance(formatter, LogFormatter):
                replace(Numbers())
    for text in figure.findobj(Text):
        text.set_parse_math(False)
