"""Pages: one file, in which text is text, values are null where there are none, and only what is drawn has scripts."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from flowsim.errors import InputError
from flowsim.rendering.page import (
    Axis,
    Chart,
    Column,
    Facts,
    Page,
    PagePart,
    Paragraph,
    Rows,
    Section,
    Series,
    Table,
    Tiles,
    page_html,
    write_page,
)
from support.pages import data_of

EVIL = "</script><script>alert(1)</script><b>"


def with_parts(*parts: PagePart) -> str:
    return page_html(Page("A page", [Section("One", parts)]))


def test_text_stands_in_the_page_and_needs_no_data() -> None:
    html = with_parts(
        Facts([("trace", "<t>")]), Tiles([("attained", "98 %", "of 99 %")]), Paragraph("a & b", small=True)
    )
    assert "<h2>One</h2>" in html
    assert "<dt>trace</dt><dd>&lt;t&gt;</dd>" in html
    assert "<div><span>attained</span><b>98 %</b><small>of 99 %</small></div>" in html
    assert '<p class="small">a &amp; b</p>' in html
    assert 'id="data"' not in html and "drawers.rows" not in html


def test_a_table_is_written_out() -> None:
    html = with_parts(Table(["policy", "p50"], [["<fcfs>", "1.2 s"]]))
    assert "<thead><tr><th>policy</th><th>p50</th></tr></thead>" in html
    assert "<tr><td>&lt;fcfs&gt;</td><td>1.2 s</td></tr>" in html


def test_what_is_drawn_is_data_and_brings_its_script() -> None:
    rows = Rows([Column("policy", ["fcfs", "edf"]), Column("attained", np.array([0.5, np.nan]), "percent")])
    chart = Chart(Axis("load"), Axis("%", low=0), [Series("fcfs", np.array([0.7]), [np.inf], tags={"mix": "even"})])
    html = with_parts(rows, chart, rows)
    first, second = data_of(html)
    assert first["columns"][1] == {"title": "attained", "values": [0.5, None], "form": "percent"}
    assert (second["part"], second["series"][0]["x"], second["series"][0]["y"]) == ("chart", [0.7], [None])
    assert html.count("drawers.rows =") == html.count("drawers.chart =") == 1
    assert re.findall(r'data-part="(\d)"', html) == ["0", "1", "0"]


def test_data_cannot_leave_its_script() -> None:
    html = with_parts(Rows([Column(EVIL, [EVIL])]))
    assert EVIL not in html and "<b>" not in html
    assert data_of(html)[0]["columns"][0]["values"] == [EVIL]


def test_the_page_asks_the_network_for_nothing() -> None:
    html = with_parts(Rows([Column("a", [1])]), Chart(Axis("x"), Axis("y"), []))
    assert re.findall(r"https?:[^\"\s]*", html) == ["http://www.w3.org/2000/svg"]
    assert not re.findall(r"<(?:link|img|iframe)|@import|\burl\(|\bfetch\(|XMLHttpRequest|innerHTML", html)


def test_the_same_page_is_the_same_bytes(tmp_path: Path) -> None:
    page = Page("A page", [Section("One", [Rows([Column("a", [1, 2], "count")])])], [Paragraph("first")])
    write_page(page, tmp_path / "a.html")
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == page_html(page)
    with pytest.raises(InputError, match="cannot be written"):
        write_page(page, tmp_path / "none" / "a.html")
