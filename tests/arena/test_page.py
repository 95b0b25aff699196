"""The page of the arena: its parts, and that it needs no other file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import flowsim
from flowsim.arena.arena_text import rank_text, rule_text, share_text
from flowsim.arena.compete import Arena
from flowsim.arena.grid import Traffic
from flowsim.arena.page import arena_page
from flowsim.io.counts import percent
from flowsim.rendering.page import Chart, Page, Paragraph, Rows, Tiles, page_html
from support.pages import opened


@pytest.fixture(scope="module")
def arena() -> Arena:
    traffic = [Traffic(name, "example", f"the {name} <example>", 40) for name in ("one", "two")]
    return flowsim.compete(["fcfs"], only=True, traffic=traffic, loads=(0.9, 1.4), mixes={"paper": {}}, workers=1)


@pytest.fixture(scope="module")
def page(arena: Arena) -> Page:
    return arena_page(arena, ["flowprefill"])


def part(page: Page, heading: str) -> Any:
    return next(section.parts[0] for section in page.sections if section.heading == heading)


def columns(rows: Rows) -> dict[str, Any]:
    return {column.title: list(column.values) for column in reversed(rows.columns)}


def test_the_first_and_the_reference_stand_at_the_top(page: Page) -> None:
    lead, tiles = page.lead
    assert isinstance(lead, Paragraph) and "one, two, at offered loads of 0.9, 1.4 (device seconds" in lead.text
    assert isinstance(tiles, Tiles) and [name for _, name, _ in tiles.tiles] == ["flowprefill"]


def test_the_figure_has_a_line_for_each_policy_traffic_and_mix(arena: Arena, page: Page) -> None:
    chart = part(page, "Share of the bound against the load")
    assert isinstance(chart, Chart) and len(chart.series) == 2 * 3 * 2
    chosen = [series for series in chart.series if dict(chart.selects).items() <= dict(series.tags).items()]
    (line,) = chosen
    means = arena.table[arena.table["policy"] == "flowprefill"].groupby("load")["share_of_bound"].mean()
    assert (line.name, line.x) == ("flowprefill", [0.9, 1.4])
    assert line.y == pytest.approx((100 * means).tolist())


def test_the_tables_have_a_row_for_each_policy_cell_and_class(arena: Arena, page: Page) -> None:
    ranking = columns(part(page, "Ranking"))
    assert (ranking["policy"], ranking["rank"]) == (["flowprefill", "fcfs"], [1, 2])
    assert ranking["minus flowprefill"][1] == pytest.approx(arena.ranking["less_flowprefill"][1])
    details = columns(part(page, "By load and by traffic"))
    assert details["family"] == ["deadline", "arrival"] and all(cost > 0 for cost in details["deciding, a request"])
    cells = columns(part(page, "Runs"))
    assert cells["share of bound"] == pytest.approx(arena.table["share_of_bound"].tolist())
    low, high = (100 * arena.table[f"ci_attainment_{end}"][0] for end in ("low", "high"))
    assert cells["interval"][0] == f"[{low:.1f}, {high:.1f}]"
    assert columns(part(page, "Cells"))["best"] == arena.cells["best"].tolist()
    classes = columns(part(page, "By class"))
    assert len(classes["class"]) == 2 * 4 * 2


@pytest.mark.parametrize("marked", [(), ("rank_few",), ("less_best_few",)])
def test_what_rests_on_few_stretches_is_marked_and_said(arena: Arena, marked: tuple[str, ...]) -> None:
    names = ("rank_few", "less_best_few", "less_flowprefill_few")
    last = {**arena.ranking.to_dict("records")[1], **{name: name in marked for name in names}}
    assert rank_text(last) == ("2 [2, 2]*" if "rank_few" in marked else "2 [2, 2]")
    assert share_text(last, "less_best", "{:+.1f}").endswith("]*") == ("less_best_few" in marked)
    assert ("* rests on fewer than 20 stretches" in rule_text([last])) == bool(marked)


def test_the_page_stands_alone_and_no_name_becomes_markup(page: Page) -> None:
    html = page_html(page)
    assert "the one &lt;example&gt; (example)" in html and "<example>" not in html
    assert not re.search(r"(src|href)=\"(?!data:|#)", html)
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert len(json.loads(data)) == 6


def test_the_runs_sort_by_their_share_of_the_bound(page: Page, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(page_html(page), encoding="utf-8")
    with opened(tmp_path / "page.html") as shown:
        table = shown.locator("section", has=shown.locator("h2", has_text="Runs")).locator(".rows")
        heading = table.locator("th", has_text="share of bound").first
        place = [text.strip() for text in table.locator("th").all_inner_texts()].index(heading.inner_text().strip())
        for ascending in (True, False):
            heading.click()
            assert heading.get_attribute("aria-sort") == ("ascending" if ascending else "descending")
            cells = [row.locator("td").nth(place).inner_text().split() for row in table.locator("tbody tr").all()]
            values = [float(cell[0]) for cell in cells]
            assert len(set(values)) > 1 and values == sorted(values, reverse=not ascending)
        shares = [0.9625, 0.9675, -0.0025, 0.333]
        assert shown.evaluate("(shares) => shares.map((share) => kit.told(share, 'percent'))", shares) == [
            percent(share) for share in shares
        ]
