"""A validation as people read it: a table on the screen, one figure per case, and one HTML page."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from flowsim.io.counts import number_of, percent
from flowsim.io.folders import writing
from flowsim.rendering.costs_text import cost_line
from flowsim.rendering.figure_file import draw_into
from flowsim.rendering.html import render
from flowsim.rendering.page import drawing
from flowsim.rendering.result_figures import attainment_by_class, blocking_distribution, ttft_distribution
from flowsim.rendering.run_parts import Gantt
from flowsim.rendering.screen import table
from flowsim.results.figure_data import blocking_distributions, class_attainment, ttft_distributions
from flowsim.runs.costs import described
from flowsim.validation.case import GpuRun
from flowsim.validation.compared import ComparedCase, verdict
from flowsim.validation.distance import PER_REQUEST, Distance
from flowsim.validation.evidence import Evidence

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = {
    "TTFT p50": "TTFT p50",
    "TTFT p90": "p90",
    "TTFT p99": "p99",
    "blocking mean": "blocking",
    PER_REQUEST: PER_REQUEST,
}
"""Measure -> its column."""
HEADER = ("policy", "load", "simulated", "real runs", *SHOWN.values())
NEVER_WRAPPED = 4
"""Columns of HEADER, the first ones, whose cells stay on one line."""
LEGEND = (
    "Attainment of the simulation and of each real run, in per cent. Then, for TTFT quantiles, mean blocking time and "
    "the TTFT of the median request: by how many per cent the simulation differs from the real runs on average and, in "
    "brackets, two real runs differ from each other. ! marks a miss: the difference exceeds the bar (attainment 1 "
    "point, p50 and p90 5 %, p99 10 %, blocking 15 %) where two real runs agree within it; elsewhere, and always per "
    "request, it exceeds 1.25 times theirs; or only one side has a value."
)


def validation_report(evidence: Sequence[Evidence], cases: Sequence[ComparedCase]) -> RenderableType:
    """One screen: for each folder where its evidence comes from, and one row per case."""
    parts: list[RenderableType] = []
    for facts, of_folder in _by_folder(evidence, cases):
        made = table(*HEADER)
        for column in made.columns[:NEVER_WRAPPED]:
            column.no_wrap = True
        for compared in of_folder:
            made.add_row(*(Text(cell, style="bold red" if is_miss(cell) else "") for cell in _cells(compared)))
        parts += [Text("\n".join(f"{name:<8} {value}" for name, value in facts.items())), Text(), made, Text()]
    return Group(*parts, Text(LEGEND), Text(), Text(verdict(cases)))


def save_report(
    evidence: Sequence[Evidence], cases: Sequence[ComparedCase], folder: str | Path, charts: Sequence[Gantt | None]
) -> None:
    """Write validation.html and one figures/*.png per case into the folder: all of them, or none; see `page`."""
    with writing(folder) as stage:
        (stage / "figures").mkdir()
        images = [picture(compared) for compared in cases]
        for compared, image in zip(cases, images, strict=True):
            name = compared.case.slug if len(evidence) == 1 else f"{compared.folder}-{compared.case.slug}"
            (stage / "figures" / f"{name}.png").write_bytes(image)
        (stage / "validation.html").write_text(page(evidence, cases, images, charts), encoding="utf-8")


def picture(compared: ComparedCase) -> bytes:
    """The figure of a case, as PNG."""
    out = io.BytesIO()
    draw_into(out, case_figure(compared), format="png", dpi=110, metadata={"Software": None})
    return out.getvalue()


def case_figure(compared: ComparedCase) -> Figure:
    """Three panels: attainment by class, and the distributions of TTFT and of blocking times."""
    from matplotlib.figure import Figure  # slow to import, and only figures need it

    made = Figure(figsize=(14, 4.2), layout="constrained")
    left, middle, right = made.subplots(1, 3, width_ratios=(3, 2, 2))
    attainment_by_class(class_attainment(compared.results), left)
    ttft_distribution(ttft_distributions(compared.results), middle)
    blocking_distribution(blocking_distributions(compared.results), right)
    made.suptitle(compared.case.name, x=0.01, ha="left", parse_math=False)
    names = list(compared.results)
    made.legend(left.containers, names, loc="outside lower center", ncols=len(names), frameon=False)
    return made


def page(
    evidence: Sequence[Evidence],
    cases: Sequence[ComparedCase],
    images: Sequence[bytes],
    charts: Sequence[Gantt | None],
) -> str:
    """The page, as HTML that needs no other file.

    Args:
        evidence: the folders.
        cases: their cases.
        images: the figure of each case, as PNG.
        charts: a stretch of each case as a Gantt chart, None for a case whose events were not kept.
    """
    return render(
        "validation.html",
        title="Simulated and real",
        header=HEADER,
        folders=[{"facts": facts, "rows": list(map(_cells, own))} for facts, own in _by_folder(evidence, cases)],
        legend=LEGEND,
        verdict=verdict(cases),
        cases=[
            _section(compared, len(evidence) > 1) | {"png": png, "gantt": chart}
            for compared, png, chart in zip(cases, images, charts, strict=True)
        ],
        is_miss=is_miss,
        **drawing([chart for chart in charts if chart is not None]),
    )


def _section(compared: ComparedCase, several_folders: bool) -> dict[str, object]:
    """What the page says of one case."""
    runs = len(compared.real)
    return {
        "title": f"{compared.case.name} (folder {compared.folder})" if several_folders else compared.case.name,
        "about": _about(compared),
        "header": ["", "simulated", *(f"real {i}" for i in range(1, runs + 1)), "difference", "two real runs", "ratio"],
        "rows": [_row(distance, runs) for distance in compared.distances.values()],
    }


def _by_folder(
    evidence: Sequence[Evidence], cases: Sequence[ComparedCase]
) -> Iterator[tuple[dict[str, str], list[ComparedCase]]]:
    """For each folder where its evidence comes from, and its cases; numbered if there are several."""
    for number, one in enumerate(evidence, 1):
        origin = {} if len(evidence) == 1 else {"folder": f"{number}: {one.folder}"}
        yield origin | _facts(one), [case for case in cases if case.folder == number]


def is_miss(cell: str) -> bool:
    """Whether a cell marks a miss."""
    return cell.endswith("!")


def _cells(compared: ComparedCase) -> list[str]:
    real = [percent(run.summary["attainment"]).removesuffix(" %") for run in compared.real]
    miss = " !" if compared.distances["attainment"].good is False else ""
    shares = [percent(compared.simulated.summary["attainment"]).removesuffix(" %"), ", ".join(real) + miss]
    return [compared.case.policy, compared.case.at, *shares, *(_cell(compared.distances[name]) for name in SHOWN)]


def _cell(distance: Distance) -> str:
    if distance.off is None:
        return "- !" if distance.good is False else "-"
    floor = "" if distance.floor is None else f" ({_hundred(distance.floor)})"
    return f"{_hundred(distance.off)}{floor}{' !' if distance.good is False else ''}"


def _row(distance: Distance, runs: int) -> list[str]:
    values = [distance.simulated, *(distance.real or [None] * runs)]
    ratio = "-" if distance.ratio is None else f"{distance.ratio:.2f}"
    floor = percent(distance.floor)
    off = percent(distance.off)
    miss = " !" if distance.good is False else ""
    return [distance.measure, *("-" if v is None else f"{v:.4g}" for v in values), off, floor, ratio + miss]


def _hundred(share: float) -> str:
    return f"{100 * share:.1f}"


def _facts(evidence: Evidence) -> dict[str, str]:
    """Where the evidence comes from, as the report names it."""
    about, machine = evidence.about, evidence.about.machine
    costs = cost_line(described(evidence.cost))
    return {
        "trace": f"{about.trace.name} (SHA-256 {about.trace.sha256[:12]})",
        "machine": f"{machine.gpu_name}, torch {machine.torch}, {machine.cpu}, {about.date}",
        "costs": f"{costs} (SHA-256 {about.table.sha256[:12]})",
    }


def _about(compared: ComparedCase) -> str:
    """What else is known of a case, in a few sentences."""
    return " ".join([*_timing(compared), *_oddities(compared.recorded.runs)])


def _timing(compared: ComparedCase) -> Iterator[str]:
    runs, case = compared.recorded.runs, compared.case
    late = ", ".join(f"{1e3 * run.lateness_s['p99']:.2f} ms" for run in runs)
    gaps = ", ".join(f"{1e3 * run.hand_overs_s['p50']:.2f} ms" for run in runs if run.hand_overs_s)
    yield f"{number_of(len(case.arrival_s), 'request')} in {case.arrival_s[-1]:.1f} s, {case.rate_rps:.2f} req/s."
    yield f"99 % of the requests were taken in within {late} of their arrival."
    if gaps:
        yield f"From the end of a pass to the start of the next one, where that was ready: {gaps} (medians)."


def _oddities(runs: Sequence[GpuRun]) -> Iterator[str]:
    """What should be rare in a real run, whether the runs agree, and the clocks meanwhile."""
    scattered, crowded = [run.scattered for run in runs], [run.crowded for run in runs]
    tokens = [run.first_tokens for run in runs if run.first_tokens]
    clocks = [run.machine["clocks_mhz"]["median"] for run in runs if "clocks_mhz" in run.machine]
    if any(scattered):
        yield f"Decisions at which the free rows of the cache were too scattered to be used: {_list(scattered)}."
    if any(crowded):
        yield f"Forwards launched without a CUDA graph, because its recording was in use: {_list(crowded)}."
    if len(tokens) > 1:
        alike = sum(len(set(tokens_of_all)) == 1 for tokens_of_all in zip(*tokens, strict=True))
        yield f"The runs agree on the first token of {alike} of {len(tokens[0])} prompts."
    if clocks:
        yield f"Median clocks: {', '.join(f'{mhz:g} MHz' for mhz in clocks)}."


def _list(counts: Sequence[int]) -> str:
    return ", ".join(map(str, counts))
