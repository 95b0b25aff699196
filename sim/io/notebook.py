"""How notebooks show values: a few facts under a title, as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

MOST_SHOWN = 20


def facts_html(title: str, rows: Iterable[Sequence[str]], note: str = "") -> str:
    """A table below a title and a note; the first cell of each row names it. Every cell is escaped."""
    body = "".join(
        f"<tr><th>{escape(name)}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
        for name, *cells in rows
    )
    return f"<div><b>{escape(title)}</b>{escape(note)}<table>{body}</table></div>"


def shortened(values: Sequence[Any]) -> str:
    """The values of a list or, of many, the first and the last."""
    if len(values) > MOST_SHOWN:
        return f"{values[0]} to {values[-1]}, {len(values):,} values"
    return ", ".join(map(str, values))
