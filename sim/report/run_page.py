"""The page of a run or a comparison: headline, classes, distributions, over time, the worst seconds, provenance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from flowsim.core.summary import FullSummary
from flowsim.io.counts import percent
from flowsim.rendering.format import rate, seconds
from flowsim.rendering.page import Axis, Chart, Facts, Mark, Page, PagePart, Paragraph, Section, Series, Tiles
from flowsim.rendering.page_text import parts_of
from flowsim.rendering.result_figures import Distribution
from flowsim.rendering.run_text import compare_report, run_report
from flowsim.rendering.summary_text import offered, ttft
from flowsim.report.explain_text import explanation_report
from flowsim.report.gantt import gantt_of, requests_in, worst_window
from flowsim.report.over_time import over_time
from flowsim.report.stories import misses_table, stories, worst_misses
from flowsim.results.explain import Explanation, explain
from flowsim.results.quantiles import Floats
from flowsim.results.result import RunResult

MOST_POINTS = 400
"""Points of a distribution."""
ALL = "all"


def run_page(
    results: Mapping[str, RunResult], summaries: Mapping[str, FullSummary], differences: Sequence[PagePart] = ()
) -> Page:
    """The page of several policies on the same requests, or of one.

    Args:
        results: by policy, with their events.
        summaries: by policy.
        differences: what there is to say of the differences of the policies.

    Raises:
        InputError: a result has no events.
    """
    explanations = {name: explain(result) for name, result in results.items()}
    first, trace = next(iter(summaries.values())), next(iter(results.values())).trace.name
    alone = len(results) == 1
    head, *tables = parts_of(run_report(first, True) if alone else compare_report(summaries, True))
    sections = [
        Section("By class" if alone else "By policy", tables),
        *([Section("Differences", differences)] if differences else []),
        Section("Time to first token", [ttft_chart(results)]),
        Section("Over time", list(_over_time(results))),
        *_worst(explanations),
        Section("Provenance", [_provenance(summaries)]),
    ]
    title = f"{next(iter(results))} on {trace}" if alone else f"{len(results)} policies on {trace}"
    tiles = list(_tiles(first)) if alone else list(map(_tile, summaries, summaries.values()))
    return Page(title, sections, [Tiles(tiles), head])


def ttft_chart(results: Mapping[str, RunResult]) -> Chart:
    """The distribution of TTFT among the counted requests of each policy and class, those without a token included."""
    first = next(iter(results.values()))
    alone, classes = len(results) == 1, first.slo.class_names
    series = []
    for place, (name, result) in enumerate(results.items()):
        codes = np.asarray(result.slo.class_code)
        groups = {ALL: result.counted} | {c: result.counted & (codes == code) for code, c in enumerate(classes)}
        for number, (group, members) in enumerate(groups.items()):
            if group == ALL or members.any():
                x, y = _thinned(Distribution.of(result.ttft_s[members]))
                colour, dashes = (6 if group == ALL else number - 1, 0) if alone else (place, number)
                called = group if alone else f"{name}, {group}"
                tags = {"class": group, "policy": name}
                series.append(Series(called, x, y, kind="step", tags=tags, colour=colour, dashes=dashes))
    marks = [
        Mark(slos_s[0], f"SLO {seconds(slos_s[0])}", {"class": name})
        for code, name in enumerate(classes)
        if len(slos_s := np.unique(first.slo.ttft_slo_s[np.asarray(first.slo.class_code) == code]).tolist()) == 1
        and slos_s[0] == slos_s[0]
    ]
    selects = {"class": "" if alone else ALL} | ({} if alone else {"policy": ""})
    axes = Axis("TTFT, s", log=True), Axis("requests, %", low=0, high=100)
    return Chart(*axes, series, selects, marks=marks)


def _thinned(distribution: Distribution) -> tuple[Floats, Floats]:
    """A distribution with no more than MOST_POINTS points; a logarithmic axis has no place for a zero."""
    shown = distribution.values > 0
    values, share = distribution.values[shown], distribution.percent[shown]
    places = np.unique(np.linspace(0, len(values) - 1, MOST_POINTS).astype(int)) if len(values) else np.arange(0)
    return values[places], share[places]


def _over_time(results: Mapping[str, RunResult]) -> Iterator[PagePart]:
    alone = len(results) == 1
    found = {name: over_time(result) for name, result in results.items()}
    for title, label, top in (("Waiting requests", "waiting", None), ("Utilisation", "used, %", 100.0)):
        series = [
            Series(
                name,
                course.began_s,
                np.append(column := course.waiting if label == "waiting" else 100 * course.used, column[-1:]),
                kind="area" if alone else "step",
                colour=place,
            )
            for place, (name, course) in enumerate(found.items())
        ]
        yield Chart(Axis("time, s", low=0.0), Axis(label, low=0.0, high=top), series, title=title)


def _worst(explanations: Mapping[str, Explanation]) -> Iterator[Section]:
    window = worst_window(explanations.values())
    worst = worst_misses(explanations)
    missed = any(len(why.missed) for why in explanations.values())
    when = "Where most requests missed their deadline" if missed else "Where most requests waited; none missed its SLO"
    how = "Above the line what ran, below it the requests by arrival; a click tells the story of a request."
    yield Section("The worst seconds", [Paragraph(f"{when}. {how}"), gantt_of(explanations, window)])
    why = [part for explanation in explanations.values() for part in parts_of(explanation_report(explanation))]
    listed: list[PagePart] = [misses_table(explanations, worst)] if missed else []
    shown = {name: [*worst[name], *requests_in(explanation, window)] for name, explanation in explanations.items()}
    yield Section("Who missed and why", [*why, *listed, stories(explanations, shown)])


def _tiles(summary: FullSummary) -> Iterator[tuple[str, str, str]]:
    bound, blocking = summary["bound"], summary["blocking_s"]
    of_bound = f"{percent(bound['share'])} of the bound" if bound else summary["no_bound"] or ""
    yield "attained", percent(summary["attainment"]), of_bound
    yield "goodput", rate(summary["goodput_rps"]), offered(summary)
    yield "TTFT p50", ttft(summary, "p50"), f"p99 {ttft(summary, 'p99')}"
    yield "preemptions", f"{summary['preemptions']:,}", f"blocking p99 {seconds(blocking['p99'])}"
    yield "device used", percent(summary["utilization"]), f"checks {percent(summary['check_share'])}"


def _tile(name: str, summary: FullSummary) -> tuple[str, str, str]:
    return name, percent(summary["attainment"]), f"{rate(summary['goodput_rps'])}, p99 {ttft(summary, 'p99')}"


def _provenance(summaries: Mapping[str, FullSummary]) -> Facts:
    """What it takes to run it again."""
    inputs = next(iter(summaries.values()))["inputs"]
    names = ("trace_sha256", "cost_model_sha256", "predictor", "seed", "version")
    return Facts([(name.replace("_", " "), str(inputs.get(name))) for name in names if inputs.get(name) is not None])
