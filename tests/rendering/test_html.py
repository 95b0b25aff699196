"""HTML: what notebooks and pages show, and that no name becomes markup."""

from __future__ import annotations

import math
import re
from typing import Any

import pandas as pd
import pytest
from jinja2 import UndefinedError

import flowsim
from flowsim.calibration.costs.table_catalogue import load_table
from flowsim.clairvoyant.bound import Bound
from flowsim.rendering.html import render, summary_html
from support.explained import explained
from support.results import INPUTS, by_hand, six


def test_a_notebook_shows_the_same_metrics_as_the_screen() -> None:
    html = summary_html(six().full_summary)
    assert "<tr><td>text</td><td>3</td><td>1 s</td><td>33.3 %</td><td>0.17 req/s</td>" in html
    assert "<b>fcfs on by hand</b>" in html
    assert "preemptions 4; blocking time p50 500 ms" in html


def test_a_result_without_a_trace_file_is_titled_by_its_policy() -> None:
    """Results made from evidence state their costs and nothing else."""
    costs = {name: value for name, value in INPUTS.items() if name.startswith("cost_model")}
    html = by_hand([0], [1], [2], inputs=costs)._repr_html_()
    assert "<b>fcfs</b>" in html
    assert "costs pencil, given in Python; error not known" in html


def test_names_are_not_markup() -> None:
    inputs = INPUTS | {"trace": "<script>alert(1)</script>"}
    html = by_hand([0], [1], [2], ["<img src=x>"], policy="<b>mine</b>", inputs=inputs)._repr_html_()
    for bad in ("<img", "<b>mine", "<script"):
        assert bad not in html
    assert "&lt;img src=x&gt;" in html
    assert "<b>&lt;b&gt;mine&lt;/b&gt; on &lt;script&gt;alert(1)&lt;/script&gt;</b>" in html


def test_a_study_shows_its_first_runs() -> None:
    table = pd.DataFrame({"policy": ["<b>mine</b>", "fcfs"], "error": [None, "broken"]})
    html = flowsim.Runs(table, title="<i>rates</i>")._repr_html_()
    assert "<b>&lt;i&gt;rates&lt;/i&gt;</b>: 2 runs, 1 failed" in html
    assert "<td>&lt;b&gt;mine&lt;/b&gt;</td>" in html


def test_a_study_shows_what_varies_and_its_figures() -> None:
    told = {"policy": "fcfs", "cost": None, "slots": 1, "attainment": [0.51239, math.nan], "error": None}
    table = pd.DataFrame({"slo.scale": [1.0, 2.0], **told, "requests_text": 9, "attainment_text": 0.5, "key": "ab"})
    html = flowsim.Runs(table)._repr_html_()
    assert re.findall("<th>(.*?)</th>", html)[1:5] == ["policy", "slo.scale", "attainment", "attainment_text"]
    assert re.findall("<td>(.*?)</td>", html) == ["fcfs", "1", "0.5124", "0.5", "fcfs", "2", "-", "0.5"]


def page(**given: object) -> str:
    drawn = {"png": b"png", "gantt": None}
    case = {"title": "a & b", "about": "", **drawn, "header": ["", "x"], "rows": [["<m>", "1 !"], ["n", "2"]]}
    values = {"title": "T", "header": ("p", "q"), "legend": "L", "verdict": "V", "folders": [], "cases": [case]}
    return render("validation.html", **{**values, "is_miss": lambda cell: cell.endswith("!"), **given})


def test_a_page_needs_no_other_file_and_marks_misses() -> None:
    html = page()
    assert html.startswith("<!doctype html>\n<html")
    assert "<title>T</title>" in html and "<h1>T</h1>" in html
    assert "<h2>a &amp; b</h2>" in html
    assert '<tr><td>&lt;m&gt;</td><td class="miss">1 !</td></tr>' in html
    assert "<tr><td>n</td><td>2</td></tr>" in html
    assert re.findall(r'src="([^"]*)"', html) == ["data:image/png;base64,cG5n"]
    assert re.findall(r"https?:[^\"\s]*", html) == ["http://www.w3.org/2000/svg"]  # a name, of what SVG is
    assert "content=\"default-src 'none'; " in html  # so no browser would fetch anything


def test_facts_are_listed_under_their_names() -> None:
    assert "<dt>trace</dt><dd>&lt;t&gt;</dd>" in page(folders=[{"facts": {"trace": "<t>"}, "rows": []}])


def test_a_value_that_a_template_lacks_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="legend"):
        render("validation.html", title="T", header=(), folders=[])


def test_names_are_escaped_in_notebooks() -> None:
    odd = "a$x_{b}$<i>"
    trace = flowsim.Trace.of([0, 1], [5, 6], classes=[odd, odd], slo_s=[1, 1], name=odd)
    trace_html = flowsim.run(trace, "fcfs")._repr_html_()
    compared_html = flowsim.compare(trace, ["fcfs", "edf"])._repr_html_()
    study = {"title": odd, "run": {"trace": "synthetic:qwen:20"}, "axes": {"policy": ["fcfs"]}}
    study_html = flowsim.sweep(study, workers=1)._repr_html_()
    for html in (trace_html, compared_html, study_html):
        assert "<i>" not in html and "NaN" not in html
    assert "a$x_{b}$&lt;i&gt;" in trace_html
    assert "a$x_{b}$&lt;i&gt;" in study_html


ODD = "<i>.csv"


@pytest.mark.parametrize(
    ("shown", "row"),
    [
        (Bound(4, 1, 3, 2), "<th>lower bound</th><td>50.0 %: a scheduler that knows all arrivals attains 2</td>"),
        (flowsim.SLOMix.parse("<i>=0.25,text=0.5").scaled(2), "<th>text</th><td>1 s</td>"),
        (flowsim.RunOptions(ODD, gpu="h100"), "<table><tr><th>gpu</th><td>h100</td></tr></table>"),
        (flowsim.Plan({"trace": ODD}, loads=[0.5, 0.75]), "<th>rates</th><td>loads 0.5, 0.75</td>"),
        (
            flowsim.Study.of({"run": {"trace": ODD}, "axes": {"seed": {"from": 0, "to": 99}}}),
            "<th>seed</th><td>0 to 99, 100 values</td>",
        ),
        (load_table("h200", "llama3-8b"), "<th>attention</th><td>193 sizes, to 32,768 tokens</td>"),
        (
            flowsim.StackFit({"jitter": "none"}, {}, 2, 9, ("<i> from <b>",), 0.004, 0.001, (ODD, "")),
            "<th>from</th><td>2 of 9 requests ran alone</td>",
        ),
    ],
    ids=lambda value: "" if isinstance(value, str) else type(value).__name__,
)
def test_a_notebook_shows_what_a_value_says(shown: Any, row: str) -> None:
    html = shown._repr_html_()
    assert row in html
    assert "<i>" not in html


def test_a_notebook_shows_why_requests_missed() -> None:
    """Passes: request 0 until 10, 1 until 13; 1 is due at 7."""
    why = explained([(0.0, 10, 100.0), (2.0, 3, 5.0)], "edf:cut=none")
    html = why._repr_html_()
    assert repr(why) == "Explanation(edf:cut=none: 1 of 2 requests missed)"
    assert "<b>edf:cut=none: 1 of 2 requests missed</b>" in html
    assert "<tr><th>missed</th><th>text</th><th>all</th></tr>" in html
    assert "<tr><td>blocked by a running pass</td><td>1</td><td>1</td></tr>" in html
