"""A figure in a file of its own, for the commands that have --figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flowsim.errors import InputError
from flowsim.io.folders import writing_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".pdf", ".svg")


def check_figure_file(path: str | Path) -> None:
    """Raise `InputError` if the path does not end as an image does."""
    if Path(path).suffix not in SUFFIXES:
        raise InputError(str(path), "does not end as a figure does", expected=".png, .pdf or .svg")


def save_figure(figure: Figure, path: str | Path) -> None:
    """Draw a figure into a file, whole or not at all.

    Raises:
        InputError: the path does not end as an image does, or the file cannot be written.
    """
    check_figure_file(path)
    with writing_file(path) as partial:
        figure.savefig(partial)
