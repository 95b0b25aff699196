"""The page of a run and of a comparison: the numbers are those of the results."""

from __future__ import annotations

import numpy as np

import flowsim
from flowsim.rendering.page import Chart, Facts, Page, Rows, Table, Tiles
from flowsim.rendering.run_parts import Gantt, Stories
from flowsim.report.run_page import MOST_POINTS, run_page, ttft_chart
from support.runs import preempted


def headings(page: Page) -> list[str]:
    return [section.heading for section in page.sections]


def of_run(result: flowsim.RunResult) -> Page:
    return run_page({result.policy: result}, {result.policy: result.full_summary})


def test_the_page_of_a_run() -> None:
    page = of_run(preempted())
    assert page.title == "edf on preempted"
    sections = ["By class", "Time to first token", "Over time", "The worst seconds", "Who missed and why", "Provenance"]
    assert headings(page) == sections
    tiles, head = page.lead
    assert isinstance(tiles, Tiles) and isinstance(head, Facts)
    assert [tile[:2] for tile in tiles.tiles] == [
        ("attained", "0.0 %"),
        ("goodput", "0.00 req/s"),
        ("TTFT p50", "7.938 s"),
        ("preemptions", "1"),
        ("device used", "85.4 %"),
    ]
    assert dict(head.rows)["costs"].startswith("pencil, given in Python")
    *_, misses, told = page.sections[4].parts
    assert isinstance(misses, Rows) and isinstance(told, Stories)
    columns = {column.title: list(column.values) for column in misses.columns}
    assert columns["request"] == [1, 0]
    assert columns["missed"] == ["blocked by a running pass", "decisions and hand-overs"]
    assert columns["late by"] == [1.0, 0.875]
    assert misses.opens == ("story", ["1 under edf", "0 under edf"])
    story = told.stories["1 under edf"]
    assert isinstance(story.table, Table)
    assert [row[2] for row in story.table.rows] == [
        "arrived, urgent: 1 tokens, at least 1 s alone, due at 5.000 s",
        "blocked: 0",
        "ran",
        "first token, 1 s too late",
    ]


def test_a_comparison_has_differences_and_the_same_seconds_of_each() -> None:
    compared = flowsim.compare("example", ["fcfs", "flowprefill"], rate_scale=8, limit=120, events=True)
    summaries = {name: result.full_summary for name, result in compared.results.items()}
    page = run_page(compared.results, summaries, [Facts([("a", "b")])])
    assert headings(page)[:2] == ["By policy", "Differences"]
    (chart,) = [part for section in page.sections for part in section.parts if isinstance(part, Gantt)]
    assert [view.name for view in chart.views] == ["fcfs", "flowprefill"]
    waiting, used = (part for part in page.sections[3].parts if isinstance(part, Chart))
    assert [series.name for series in waiting.series] == [series.name for series in used.series] == list(summaries)


def test_distributions_are_of_counted_requests_by_class() -> None:
    result = flowsim.run("example", "fcfs", rate_scale=8, warmup=0.25, events=True)
    chart = ttft_chart({"fcfs": result})
    assert [series.name for series in chart.series] == ["all", *result.slo.class_names]
    for series in chart.series:
        members = result.counted.copy()
        if series.name != "all":
            members &= np.array(result.slo.class_names)[result.slo.class_code] == series.name
        ttft_s = result.ttft_s[members]
        for x, y in zip(series.x, series.y, strict=True):
            assert y == 100 * (ttft_s <= x).sum() / len(ttft_s)
        assert len(series.x) <= MOST_POINTS
    marks = {mark.tags["class"]: mark.x for mark in chart.marks}
    assert marks == {"text": 0.25, "image": 0.5, "search": 4.0, "file": 6.0}


def test_requests_that_never_got_a_token_keep_a_distribution_below_all() -> None:
    chart = ttft_chart({"edf": preempted(until_s=12.5)})  # the patient one is late by then, and has none
    known = {series.name: (list(series.x), list(series.y)) for series in chart.series}
    assert known == {"all": ([3.0], [50.0]), "patient": ([], []), "urgent": ([3.0], [100.0])}
