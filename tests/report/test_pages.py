"""Pages of all results: from objects and from folders; and driven in Chromium, where there is one."""

from __future__ import annotations

from pathlib import Path

import pytest

import flowsim
from flowsim.errors import InputError
from flowsim.rendering.page import Column, Page, Rows, Section, Tiles
from flowsim.rendering.page import write_page as save
from flowsim.report.pages import save_page
from support.pages import opened, parts_of
from support.places import DATA
from support.runs import preempted, replayed

OPTIONS = {"rate_scale": 8, "limit": 150}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages of a comparison and of a study."""
    folder = tmp_path_factory.mktemp("pages")
    compared = flowsim.compare("example", ["fcfs", "flowprefill"], events=True, **OPTIONS)
    compared.save(folder / "compared")
    save_page(compared, folder / "compared.html")
    study = {
        "run": {"trace": "synthetic:qwen:40"},
        "axes": {"policy": ["fcfs", "edf"], "workload.rate_rps": [8, 16, 32], "slo.scale": [0.25, 1]},
    }
    runs = flowsim.sweep(study, workers=1)
    save_page(runs, folder / "study.html")
    return folder


def test_a_folder_gives_the_page_of_its_result(pages: Path) -> None:
    save_page(pages / "compared", pages / "again.html")
    assert (pages / "again.html").read_bytes() == (pages / "compared.html").read_bytes()


def test_a_run_gives_a_page(tmp_path: Path) -> None:
    result = preempted()
    save_page(result, tmp_path / "run.html")
    html = (tmp_path / "run.html").read_text(encoding="utf-8")
    assert [part["part"] for part in parts_of(html, "gantt") + parts_of(html, "stories")] == ["gantt", "stories"]


def test_names_of_classes_and_traces_are_not_markup(tmp_path: Path) -> None:
    evil = "<img src=x>"
    trace = flowsim.Trace.of([0, 1], [5, 5], classes=[evil, "b"], slo_s=[1, 1], name=evil)
    save_page(flowsim.run(trace, "fcfs", slo=None, events=True), tmp_path / "run.html")
    html = (tmp_path / "run.html").read_text(encoding="utf-8")
    assert "<img" not in html and "&lt;img src=x&gt;" in html and "\\u003cimg src=x\\u003e" in html


def test_a_validation_gives_its_own_page(tmp_path: Path) -> None:
    save_page(DATA / "evidence" / "h200-qwen2.5-14b-azure-90", tmp_path / "v.html")
    assert "<h1>Simulated and real</h1>" in (tmp_path / "v.html").read_text(encoding="utf-8")


def test_a_run_without_events_has_no_page(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a run with events=True"):
        save_page(replayed(), tmp_path / "run.html")


# In a browser.


def test_a_class_is_filtered_and_a_point_is_told(pages: Path) -> None:
    with opened(pages / "compared.html") as page:
        chart = page.locator("section", has_text="Time to first token").locator(".drawn").first
        assert chart.locator(".legend button").all_inner_texts() == ["fcfs, all", "flowprefill, all"]
        chart.locator("select[name=class]").select_option("text")
        assert chart.locator(".legend button").all_inner_texts() == ["fcfs, text", "flowprefill, text"]
        assert chart.locator("svg text", has_text="SLO 250 ms").count() == 1
        chart.locator("svg[role=img]").hover(position={"x": 500, "y": 150})
        tip = page.locator(".tip")
        assert tip.is_visible() and "flowprefill, text: " in tip.inner_text()
        chart.locator(".legend button").first.click()
        assert chart.locator(".series").count() == 1


def test_the_story_of_the_worst_request_opens(pages: Path) -> None:
    with opened(pages / "compared.html") as page:
        section = page.locator("section", has_text="Who missed and why").last
        worst = section.locator(".rows tbody tr").first
        policy, request = worst.locator("td").all_inner_texts()[:2]
        assert section.locator("h3").inner_text() == f"Request {request} under {policy}"
        second = section.locator(".rows tbody tr").nth(1)
        policy, request = second.locator("td").all_inner_texts()[:2]
        second.click()
        assert section.locator("h3").inner_text() == f"Request {request} under {policy}"
        missed = page.locator("g.missed").first
        key = missed.get_attribute("data-story")
        missed.locator("text").click()
        assert section.locator("h3").inner_text() == f"Request {key}"


def test_the_worst_seconds_of_another_policy(pages: Path) -> None:
    with opened(pages / "compared.html") as page:
        section = page.locator("section", has_text="The worst seconds").first
        assert section.locator("rect.paused").count() == 0
        section.locator("select[name=policy]").select_option("flowprefill")
        assert section.locator("rect.running").count() > 0
        section.locator("rect.running").first.hover()
        assert page.locator(".tip").inner_text().startswith("request")
        box = section.locator("svg[role=img]").bounding_box()
        for bar in section.locator("rect.bar").all()[::7]:  # none sticks out
            assert bar.bounding_box()["x"] + bar.bounding_box()["width"] <= box["x"] + box["width"]


def test_a_study_is_sorted_filtered_and_drawn_against_another_option(pages: Path) -> None:
    with opened(pages / "study.html") as page:
        table = page.locator(".rows")
        heading = table.locator("th", has_text="attainment").first
        heading.click()
        assert heading.get_attribute("aria-sort") == "ascending"
        place = [*table.locator("th").all_inner_texts()].index(heading.inner_text())
        shown = [float(row.locator("td").nth(place).inner_text().split()[0]) for row in table.locator("tbody tr").all()]
        assert shown == sorted(shown) and len(shown) == 12
        chart = page.locator("section", has_text="Against an option").locator(".drawn")
        assert chart.locator("circle.point").count() == 6
        chart.locator("select[name='a line for each']").select_option("slo.scale")
        assert chart.locator(".legend button").all_inner_texts() == ["0.25", "1"]
        chart.locator("circle.point").first.hover()
        assert "workload.rate_rps: 8" in page.locator(".tip").inner_text()


def test_a_table_of_text_sorts_by_what_its_cells_mean(pages: Path) -> None:
    """Durations in any unit, by a click or by a key."""
    in_seconds = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
    with opened(pages / "compared.html") as page:
        table = page.locator("table.sortable").first
        heading = table.locator("th", has_text="TTFT p50")
        heading.focus()
        for ascending in (True, False):
            page.keyboard.press("Enter")
            cells = [row.locator("td").nth(3).inner_text().split() for row in table.locator("tbody tr").all()]
            values = [float(number) * in_seconds[unit] for number, unit in cells]
            assert len(set(values)) == 2 and values == sorted(values, reverse=not ascending)
            assert heading.get_attribute("aria-sort") == ("ascending" if ascending else "descending")


def test_a_page_is_dark_where_the_reader_wants_it(pages: Path) -> None:
    with opened(pages / "study.html") as page:
        back = "getComputedStyle(document.body).backgroundColor"
        page.emulate_media(color_scheme="light")
        assert page.evaluate(back) == "rgb(255, 255, 255)"
        page.emulate_media(color_scheme="dark")
        assert page.evaluate(back) == "rgb(20, 23, 27)"


@pytest.mark.parametrize("name", ["compared.html", "study.html"])
def test_a_phone_scrolls_down_alone(name: str, pages: Path) -> None:
    with opened(pages / name, width=390, height=800) as page:
        page.wait_for_selector("svg[role=img]")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_long_name_in_large_print_is_broken_on_a_phone(tmp_path: Path) -> None:
    tiles = Tiles([("rank 1", "my_own_policies:TheMostOverdueFirst (yours)", ""), ("rank 2", "edf", "")])
    save(Page("Arena", [], [tiles]), tmp_path / "tiles.html")
    with opened(tmp_path / "tiles.html", width=390, height=800) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_long_classes_stay_in_the_page_and_leave_the_numbers_of_requests(tmp_path: Path) -> None:
    classes = ["W" * 90, "a_class_" * 9]
    trace = flowsim.Trace.of([0, 0.001] * 9, [9000] * 18, classes=classes * 9, name="wide")
    save_page(flowsim.run(trace, "fcfs", slo=0.01, events=True), tmp_path / "wide.html")
    with opened(tmp_path / "wide.html", width=390, height=800) as page:
        names = page.locator("svg text.name")
        assert {label.bounding_box()["height"] < 40 for label in page.locator(".controls label").all()} == {True}
        assert {name[:1].isdigit() for name in names.all_text_contents()[1:]} == {True}
        assert (
            page.evaluate("Math.min(...[...document.querySelectorAll('svg text.name')].map((of) => of.getBBox().x))")
            >= 0
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_heading_is_broken_between_the_parts_of_a_specification(tmp_path: Path) -> None:
    save(Page("mine:Gate:patience=0.5,hold=1,000 on <b>", [], []), tmp_path / "heading.html")
    html = (tmp_path / "heading.html").read_text(encoding="utf-8")
    assert "<h1>mine:<wbr>Gate:<wbr>patience=<wbr>0.5,<wbr>hold=<wbr>1,000 on &lt;b&gt;</h1>" in html


def test_ten_thousand_rows_are_quick(tmp_path: Path) -> None:
    """Only those that are visible are in the document."""
    columns = [Column("id", list(range(10_000)), "count"), Column("name", [f"row-{i % 97}" for i in range(10_000)])]
    save(Page("Large", [Section("Rows", [Rows(columns)])]), tmp_path / "large.html")
    with opened(tmp_path / "large.html") as page:
        assert page.locator(".rows tbody tr").count() < 60
        page.locator(".rows th").first.click()
        page.locator(".rows th").first.click()
        assert page.locator(".rows tbody tr").first.locator("td").first.inner_text() == "9,999"
        page.locator("input[name=filter]").fill("row-96")
        assert page.locator(".note").first.inner_text() == "103 of 10,000 rows"
