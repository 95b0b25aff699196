"""Reports for the screen as parts of a page: the same words and numbers in both."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table as ScreenTable

from flowsim.rendering.page import Facts, PagePart, Paragraph, Table


def parts_of(report: RenderableType) -> Iterator[PagePart]:
    """The parts of a report: its tables, its facts (tables without headings) and its lines, blank ones left out."""
    if isinstance(report, Group):
        for inner in report.renderables:
            yield from parts_of(inner)
    elif isinstance(report, ScreenTable):
        yield _table(report)
    elif text := str(report).strip():
        yield Paragraph(text, small=True)


def _table(table: ScreenTable) -> PagePart:
    columns = [[str(cell) for cell in column.cells] for column in table.columns]
    rows = list(zip(*columns, strict=True))
    if table.show_header:
        return Table([str(column.header) for column in table.columns], rows)
    return Facts([(name, value) for name, value in rows])
