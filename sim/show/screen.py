"""Text on the screen: tables without lines, facts under their names, and how both are printed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table

WIDTH_WITHOUT_TERMINAL = 120


def table(first: str, *columns: str) -> Table:
    """A table without lines; all columns but the first are numbers, aligned to the right."""
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    made.add_column(first, overflow="fold")
    for column in columns:
        made.add_column(column, justify="right", overflow="fold")
    return made


def facts(rows: Iterable[tuple[str, str]]) -> Table:
    """Names in bold and, beside each, its value."""
    made = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows:
        made.add_row(name, value)
    return made


def show(what: RenderableType) -> None:
    """Print it, as wide as the terminal, or WIDTH_WITHOUT_TERMINAL columns if there is none."""
    plain: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False}  # names are not markup
    console = Console(**plain)
    if not console.is_terminal:
        console = Console(width=WIDTH_WITHOUT_TERMINAL, **plain)
    console.print(what)
