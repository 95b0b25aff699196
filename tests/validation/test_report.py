"""The report of a validation: its verdict, its figures, its page."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from flowsim.validation.compared import ComparedCase, compared_cases, verdict
from flowsim.validation.distance import Distance
from flowsim.validation.evidence import Evidence
from flowsim.validation.report import case_figure, page, save_report, validation_report
from support.places import DATA


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return Evidence.load(DATA / "evidence" / "h200-llama3-8b-qwen-90")


@pytest.fixture(scope="module")
def case(evidence: Evidence) -> ComparedCase:
    (case,) = compared_cases(evidence)
    return case


def test_the_verdict_counts_measures_in_which_two_real_runs_disagree(case: ComparedCase) -> None:
    near, far = (Distance("TTFT p50", 1.0, (1.0, 1.0), 0.01, floor, True, floor > 0.05) for floor in (0.02, 0.4))
    assert verdict([replace(case, distances={"a": near})]) == (
        "1 of 1 measures of 1 case pass; 1 of 1 are within 1.25 times the difference of two real runs, however small "
        "that is."
    )
    several = {"a": near, "b": far, "c": replace(far, good=None)}
    assert verdict([replace(case, distances=several)]).startswith(
        "2 of 2 measures of 1 case pass (in 1 of them, two real runs differ by more than the bar); 2 of 2"
    )


def test_a_blocking_curve_is_drawn_for_every_run() -> None:
    preempting = Evidence.load(DATA / "evidence" / "h200-llama3-8b-qwen")
    of = ComparedCase.now(preempting.recorded[-1], preempting)
    *_, axes = case_figure(replace(of, real=[*of.real] * 5)).axes
    assert len(axes.lines) == 11


def test_a_result_of_evidence_shows_itself_in_a_notebook(case: ComparedCase) -> None:
    assert "<b>chunked:2048</b>" in case.simulated._repr_html_()
    assert "<b>chunked:2048</b>" in case.real[0]._repr_html_()


def test_the_screen_says_where_the_evidence_comes_from_and_how_near_it_is(
    evidence: Evidence, case: ComparedCase
) -> None:
    out = io.StringIO()
    Console(file=out, width=200).print(validation_report([evidence], [case]))
    facts, (header, row), *_ = (part.splitlines() for part in out.getvalue().split("\n\n"))
    assert [line.split()[0] for line in facts] == ["trace", "machine", "costs"]
    assert " ".join(header.split()) == "policy load simulated real runs TTFT p50 p90 p99 blocking per request"
    assert row.startswith("chunked:2048  90 %")


def test_the_page_names_the_folder_of_a_case_if_there_are_several(evidence: Evidence, case: ComparedCase) -> None:
    one = page([evidence], [case], [b""], [None])
    assert "<h2>chunked:2048, 90 %</h2>" in one
    two = page([evidence, evidence], [case, replace(case, folder=2)], [b"", b""], [None, None])
    assert "<h2>chunked:2048, 90 % (folder 1)</h2>" in two and "<h2>chunked:2048, 90 % (folder 2)</h2>" in two
    assert two.count("<dt>folder</dt>") == 2


def test_what_is_saved(evidence: Evidence, case: ComparedCase, tmp_path: Path) -> None:
    save_report([evidence], [case], tmp_path / "page", [None])
    names = sorted(str(path.relative_to(tmp_path / "page")) for path in (tmp_path / "page").rglob("*.*"))
    assert names == ["figures/chunked-2048-90.png", "validation.html"]
    text = (tmp_path / "page" / "validation.html").read_text(encoding="utf-8")
    assert text.count("data:image/png;base64,") == 1
    assert "99 % of the requests were taken in within" in text
