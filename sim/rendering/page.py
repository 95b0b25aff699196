"""Pages that need no other file: sections of parts (tables, charts, facts), each a value, in one HTML file.

A page opens from disk, asks the network for nothing, follows the reader's choice of light or dark, fits a phone and
prints. To make one, put values together and save them:

    from flowsim.rendering.page import Axis, Chart, Column, Page, Rows, Section, Series, save_page

    rank = Rows([Column("policy", ["fcfs", "edf"]), Column("of bound", [0.61, 0.87], "percent")])
    line = Series("edf", x=[0.7, 0.9], y=[99.0, 87.0], low=[98.0, 80.0], high=[100.0, 93.0], tags={"traffic": "qwen"})
    curve = Chart(Axis("load"), Axis("of bound, %", low=0, high=100), [line], selects={"traffic": "qwen"})
    save_page(Page("Arena", [Section("Ranking", [rank]), Section("Load", [curve])]), "arena.html")

`Table` and `Facts` hold text that is ready and need no script; `Rows` holds values, which the page sorts, filters and
writes out as far as they can be seen: 10,000 rows stay quick. Charts are drawn by scripts of this package from data in
the page. Text is escaped in both: no name becomes markup.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import msgspec
import numpy as np
from msgspec import Struct

from flowsim.io.folders import writing_file
from flowsim.rendering.html import render

Form = Literal["text", "count", "number", "percent", "seconds"]
"""How values are written: as they are, as whole numbers, with four digits, a share in per cent, or a duration."""


class PagePart(Struct, frozen=True, tag_field="part", tag=str.lower):
    """A part of a section. Those with `scripts` are drawn by them, the others are written by the template."""

    scripts: ClassVar[Sequence[str]] = ()


class Paragraph(PagePart, frozen=True):
    """A few sentences; `small` ones are notes."""

    text: str
    small: bool = False


class Facts(PagePart, frozen=True):
    """Names and, beside each, its value."""

    rows: Sequence[tuple[str, str]]


class Tiles(PagePart, frozen=True):
    """A few numbers in large print: name, value, and what else there is to say of it."""

    tiles: Sequence[tuple[str, str, str]]


class Table(PagePart, frozen=True):
    """A small table of text, sorted by a click on a heading; the cells of the first column name the rows."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


class Column(Struct, frozen=True):
    """A column of `Rows`: its title, one value per row (None or NaN for none), and how they are written."""

    title: str
    values: Sequence[Any]
    form: Form = "text"


class Rows(PagePart, frozen=True):
    """A large table of values, sorted by a click on a heading and filtered by what is typed.

    Attributes:
        columns: of equal length.
        opens: if given, the event that a click on a row sends to the page, and the values that it sends.
    """

    scripts: ClassVar[Sequence[str]] = ("rows.js",)
    columns: Sequence[Column]
    opens: tuple[str, Sequence[Any]] | None = None


class Axis(Struct, frozen=True):
    """An axis: its label, whether it is logarithmic, where it begins and ends, and the words at 0, 1, 2, ... if any."""

    label: str
    log: bool = False
    low: float | None = None
    high: float | None = None
    words: Sequence[str] = ()


class Series(Struct, frozen=True):
    """Points of a chart, joined by lines or steps.

    Attributes:
        name: as the legend has it.
        x, y: shape [k], x ascending.
        low, high: bounds of intervals, shape [k]; NaN for none, empty for none at all.
        kind: "line" (with its points), "step" (constant until the next x) or "area" (a step that is filled).
        tags: by which the reader selects series, see `Chart.selects`.
        colour: its place among the colours.
        dashes: its place among the ways of dashing.
    """

    name: str
    x: Any
    y: Any
    low: Any = ()
    high: Any = ()
    kind: Literal["line", "step", "area"] = "line"
    tags: Mapping[str, str] = {}
    colour: int = 0
    dashes: int = 0


class Mark(Struct, frozen=True):
    """A vertical line of a chart: where, its label, and by which tags it is selected, as a series is."""

    x: float
    label: str
    tags: Mapping[str, str] = {}


class Chart(PagePart, frozen=True):
    """Series on two axes.

    Attributes:
        selects: by the name of a tag, the value that is shown first; "" for all of them.
        title: above the chart.
        marks: such as an SLO on the axis of TTFT.
    """

    scripts: ClassVar[Sequence[str]] = ("charts.js",)
    x: Axis
    y: Axis
    series: Sequence[Series]
    selects: Mapping[str, str] = {}
    title: str = ""
    marks: Sequence[Mark] = ()


class Metric(Struct, frozen=True):
    """A metric of an `Explorer`: its title, and its mean and the bounds of its interval in each setting, shape [n]."""

    title: str
    mean: Any
    low: Any = ()
    high: Any = ()


class Explorer(PagePart, frozen=True):
    """Metrics of n settings, of which the reader chooses what is drawn against what, by what, and for which values.

    Attributes:
        dimensions: what tells the settings apart, one value per setting.
        metrics: of the settings.
        x: the title of the dimension that is the horizontal axis at first.
        lines: the title of the one of which each value is a line.
    """

    scripts: ClassVar[Sequence[str]] = ("charts.js", "explorer.js")
    dimensions: Sequence[Column]
    metrics: Sequence[Metric]
    x: str
    lines: str


class Section(Struct, frozen=True):
    """A heading and what stands below it."""

    heading: str
    parts: Sequence[PagePart]


class Page(Struct, frozen=True):
    """A page: its title, its sections, and the parts above them."""

    title: str
    sections: Sequence[Section]
    lead: Sequence[PagePart] = ()


def page_html(page: Page) -> str:
    """The page as one HTML document."""
    parts = [*page.lead, *(part for section in page.sections for part in section.parts)]
    return render("sections.html", page=page, **drawing(parts))


def drawing(parts: Iterable[PagePart]) -> dict[str, Any]:
    """What a template is given to draw those of these parts that scripts draw."""
    drawn = list({id(part): part for part in parts if part.scripts}.values())
    scripts = dict.fromkeys(name for part in drawn for name in part.scripts)
    places = {id(part): place for place, part in enumerate(drawn)}
    return {"places": places, "scripts": list(scripts), "data": msgspec.json.encode(drawn, enc_hook=_plain).decode()}


def write_page(page: Page, path: str | Path) -> None:
    """Write the page into a file, whole or not at all. InputError: it cannot be written."""
    with writing_file(path) as partial:
        partial.write_text(page_html(page), encoding="utf-8")


def _plain(value: Any) -> Any:
    """Arrays and numbers of NumPy as Python's; msgspec writes what is not finite as null."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise NotImplementedError(type(value))
