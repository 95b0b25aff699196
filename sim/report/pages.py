"""`flowsim.save_page`: a result as one page that needs no other file."""

from __future__ import annotations

from pathlib import Path

from flowsim.errors import InputError
from flowsim.io.folders import path_of, writing_file
from flowsim.io.progress import Progress
from flowsim.rendering.differences_text import differences_report
from flowsim.rendering.page import Page, page_html
from flowsim.rendering.page_text import parts_of
from flowsim.report.gantt import real_gantt
from flowsim.report.run_page import run_page
from flowsim.report.saved import Saved
from flowsim.report.saved_text import saved_differences
from flowsim.report.study_page import study_page
from flowsim.results.result import RunResult
from flowsim.runs.compare import Comparison
from flowsim.studies.sweep import Runs
from flowsim.validation.report import page as validation_page
from flowsim.validation.report import picture


def save_page(
    result: RunResult | Comparison | Runs | Saved | str | Path, path: str | Path, *, progress: Progress | None = None
) -> None:
    """Write a result as an HTML page that needs no other file and no network.

    Args:
        result: a run or a comparison with `events=True`, or the runs of a study; or a folder that flowsim wrote. Saved
            runs, but not those of a study, are replayed for what happened in them.
        path: of the file.
        progress: of replaying, called now and then with (requests arrived, requests in all).

    Raises:
        InputError: an argument is of another type, the result has no events, the folder holds no results or its run is
            not what was saved, or the file cannot be written.
    """
    if not isinstance(result, RunResult | Comparison | Runs | Saved | str | Path):
        raise InputError("result", found=result, expected="a result, or the folder of one")
    target = path_of(path, "path")
    html = result_html(Saved.read(result) if isinstance(result, str | Path) else result, progress)
    with writing_file(target) as partial:
        partial.write_text(html, encoding="utf-8")


def result_html(result: RunResult | Comparison | Runs | Saved, progress: Progress | None = None) -> str:
    """The page of a result; see `save_page`."""
    if isinstance(result, RunResult):
        return page_html(run_page({result.policy: result}, {result.policy: result.full_summary}))
    if isinstance(result, Comparison):
        return page_html(_comparison(result))
    if isinstance(result, Runs):
        return page_html(study_page(result))
    if result.kind == "study":
        return page_html(result.arena.page() if result.arena else study_page(result.study))
    if result.kind == "validation":
        images, charts = [picture(case) for case in result.cases], list(map(real_gantt, result.cases))
        return validation_page([result.evidence], result.cases, images, charts)
    return page_html(_saved_runs(result, progress))


def _comparison(comparison: Comparison) -> Page:
    summaries = {name: result.full_summary for name, result in comparison.results.items()}
    if len(summaries) == 1:
        return run_page(comparison.results, summaries)
    differences = differences_report(comparison.differences().to_dict("records"), comparison.alike)
    return run_page(comparison.results, summaries, list(parts_of(differences)))


def _saved_runs(saved: Saved, progress: Progress | None) -> Page:
    results = {shown.name: shown.result for shown in saved.replayed(progress)}
    differences = [] if len(results) == 1 else list(parts_of(saved_differences(saved, next(iter(results)))))
    return run_page(results, saved.summaries, differences)
