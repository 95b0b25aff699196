"""Text on the screen: tables without lines, facts under their names, and how both are printed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from flowsim.errors import printable

WIDTH_WITHOUT_TERMINAL = 120
MOST_WIDTH = 240
"""Columns of the widest table whose rows are not broken."""


class Numbers(Table):
    """A table whose cells are short: where there is no terminal, its rows are not broken."""


class Screen(Console):
    """A console that prints names as they are: no markup in them, and nothing that a terminal obeys."""

    def __init__(self, width: int | None = None) -> None:
        super().__init__(width=width, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **how: Any) -> Text:
        """What a cell or a line says."""
        return super().render_str(printable(text), **how)


def table(first: str, *columns: str) -> Numbers:
    """A table without lines; all columns but the first are numbers, aligned to the right."""
    made = Numbers(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
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
    """Print it, as wide as the terminal; if there is none, WIDTH_WITHOUT_TERMINAL columns or as its tables need."""
    console = Screen()
    if not console.is_terminal:
        options = console.options.update(width=MOST_WIDTH)
        widths = [Measurement.get(console, options, one).maximum for one in _numbers(what)]
        console = Screen(max(WIDTH_WITHOUT_TERMINAL, *widths, 0))
    console.print(what)


def _numbers(what: RenderableType) -> Iterator[Numbers]:
    """The tables of numbers in it."""
    if isinstance(what, Numbers):
        yield what
    elif isinstance(what, Group):
        for part in what.renderables:
            yield from _numbers(part)
