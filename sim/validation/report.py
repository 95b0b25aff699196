"""A validation as people read it: a table in the shell, a figure a case, and one HTML page."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.io.folders import writing
from flowsim.results.result import RunResult
from flowsim.show.format import percent
from flowsim.show.result_figures import attainment_by_class, style, ttft_distribution
from flowsim.show.text import cost_line
from flowsim.validation.distance import PER_REQUEST, Distance, distances
from flowsim.validation.evidence import Evidence, Recorded

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from rich.console import RenderableType

SHOWN = {
    "TTFT p50": "TTFT p50",
    "TTFT p90": "p90",
    "TTFT p99": "p99",
    "blocking mean": "blocking",
    PER_REQUEST: "a request",
}
"""Measure -> its column."""
HEADER = ("policy", "load", "simulated", "really", *SHOWN.values())
STYLE = """body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: .5rem 0 1.5rem } th, td { padding: .15rem .9rem .15rem 0; text-align: right }
th:first-child, td:first-child { text-align: left } th { border-bottom: 1px solid #999 } img { max-width: 100% }
dt { float: left; clear: left; width: 9rem; color: #666 } dd { margin-left: 9rem; overflow-wrap: anywhere }
.miss { color: #b00; font-weight: 600 }
"""
LEGEND = (
    "Attainment simulated and in each real run, in per cent. Then TTFT quantiles, mean blocking time and the median "
    "request's TTFT: by how many per cent the simulation is off the real runs on average, and in brackets two real "
    "runs are off each other. ! marks a miss: beyond the bar (attainment 1 point, p50 and p90 5 %, p99 10 %, blocking "
    "15 %) where two real runs agree within it; or else, and for a request always, beyond 1.25 times their distance; "
    "or only one side has such a thing."
)


class Compared:
    """A case, its simulation, its real runs, and the distances between them, as they are now.

    Attributes:
        folder: the number of its folder of evidence, from 1.
    """

    def __init__(self, recorded: Recorded, cost: CostModel, folder: int = 1) -> None:
        self.recorded = recorded
        self.folder = folder
        self.case = recorded.case
        self.simulated = self.case.simulate(cost)
        self.real = [self.case.really(run, cost) for run in recorded.runs]
        self.distances = {d.measure: d for d in distances(self.simulated, self.real)}

    @property
    def results(self) -> dict[str, RunResult]:
        """All runs, by the name under which they are shown."""
        return {"simulated": self.simulated} | {f"real {i}": run for i, run in enumerate(self.real, 1)}

    @property
    def misses(self) -> list[str]:
        """The measures whose verdict is bad."""
        return [name for name, distance in self.distances.items() if distance.good is False]


def compared(*evidence: Evidence) -> list[Compared]:
    """Every case of which there is a real run, folder by folder, each simulated anew with its folder's costs."""
    folders = enumerate(evidence, 1)
    return [Compared(of, folder.cost, number) for number, folder in folders for of in folder.recorded if of.runs]


def validation_report(evidence: Sequence[Evidence], cases: Sequence[Compared]) -> RenderableType:
    """One screen: for each folder where its evidence comes from, and a row a case."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[RenderableType] = []
    for facts, of_folder in _by_folder(evidence, cases):
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        for place, name in enumerate(HEADER):
            table.add_column(name, justify="right" if place else "left", no_wrap=place < 4, overflow="fold")
        for of in of_folder:
            table.add_row(*(Text(cell, style="bold red" if cell.endswith("!") else "") for cell in _cells(of)))
        parts += [Text("\n".join(f"{key:<8} {value}" for key, value in facts.items())), Text(), table, Text()]
    return Group(*parts, Text(LEGEND), Text(), Text(verdict(cases)))


def verdict(cases: Sequence[Compared]) -> str:
    """How many verdicts are good, in one line."""
    judged = [d for of in cases for d in of.distances.values() if d.good is not None]
    floored = [d.near for d in judged if d.near is not None]
    many = "cases" if len(cases) != 1 else "case"
    said = f"{sum(bool(d.good) for d in judged)} of {len(judged)} measures of {len(cases)} {many} are as near as asked"
    if apart := sum(d.apart for d in judged):
        said += f" (of {apart}, two real runs are further apart than the bar)"
    return (
        f"{said}; {sum(floored)} of {len(floored)} are within 1.25 times what two real runs differ by, however little."
    )


def save_report(evidence: Sequence[Evidence], cases: Sequence[Compared], folder: str | Path) -> None:
    """Write validation.html and, a file a case, figures/*.png into the folder: all of them, or none."""
    with writing(folder) as stage:
        (stage / "figures").mkdir()
        images = []
        for of in cases:
            out = io.BytesIO()
            figure(of).savefig(out, format="png", dpi=110, metadata={"Software": None})
            images.append(out.getvalue())
            name = of.case.slug if len(evidence) == 1 else f"{of.folder}-{of.case.slug}"
            (stage / "figures" / f"{name}.png").write_bytes(out.getvalue())
        (stage / "validation.html").write_text(page(evidence, cases, images), encoding="utf-8")


def figure(of: Compared) -> Figure:
    """Three panels: attainment by class, and the distributions of TTFT and of blocking times."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(14, 4.2), layout="constrained")
    left, middle, right = made.subplots(1, 3, width_ratios=(3, 2, 2))
    attainment_by_class(of.results, left)
    ttft_distribution(of.results, middle)
    _blocking(of.results, right)
    made.suptitle(of.case.name, x=0.01, ha="left", parse_math=False)
    made.legend(left.containers, list(of.results), loc="outside lower center", ncols=len(of.results), frameon=False)
    return made


def page(evidence: Sequence[Evidence], cases: Sequence[Compared], images: Sequence[bytes]) -> str:
    """The page, as HTML that needs no other file; `images` are the cases' figures, as PNG."""
    parts = ["<h1>Simulated and real</h1>"]
    for facts, of_folder in _by_folder(evidence, cases):
        parts += [_terms(facts), _table(HEADER, [_cells(of) for of in of_folder])]
    parts.append(f"<p>{html.escape(LEGEND)}</p><p>{html.escape(verdict(cases))}</p>")
    for of, png in zip(cases, images, strict=True):
        image = base64.b64encode(png).decode()
        title = of.case.name if len(evidence) == 1 else f"{of.case.name} (folder {of.folder})"
        rows = [_row(distance, len(of.real)) for distance in of.distances.values()]
        header = ["", "simulated", *(f"real {i}" for i in range(1, len(of.real) + 1)), "off", "two real runs", "ratio"]
        parts += [
            f"<h2>{html.escape(title)}</h2><p>{html.escape(_about(of))}</p>",
            f"<img alt='' src='data:image/png;base64,{image}'>",
            _table(header, rows),
        ]
    head = f"<meta charset='utf-8'><title>Simulated and real</title><style>{STYLE}</style>"
    return f"<!doctype html><html lang='en'><head>{head}</head><body>{''.join(parts)}</body></html>\n"


def _terms(facts: Mapping[str, str]) -> str:
    return f"<dl>{''.join(f'<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>' for k, v in facts.items())}</dl>"


def _by_folder(
    evidence: Sequence[Evidence], cases: Sequence[Compared]
) -> Iterator[tuple[dict[str, str], list[Compared]]]:
    """For each folder where its evidence comes from, and its cases; numbered if there are several."""
    for number, of in enumerate(evidence, 1):
        origin = {} if len(evidence) == 1 else {"folder": f"{number}: {of.folder}"}
        yield origin | _facts(of), [case for case in cases if case.folder == number]


def _cells(of: Compared) -> list[str]:
    real = [percent(run.summary["attainment"]).removesuffix(" %") for run in of.real]
    miss = " !" if of.distances["attainment"].good is False else ""
    shares = [percent(of.simulated.summary["attainment"]).removesuffix(" %"), ", ".join(real) + miss]
    return [of.case.policy, of.case.at, *shares, *(_cell(of.distances[name]) for name in SHOWN)]


def _cell(distance: Distance) -> str:
    if distance.off is None:
        return "- !" if distance.good is False else "-"
    floor = "" if distance.floor is None else f" ({_hundred(distance.floor)})"
    return f"{_hundred(distance.off)}{floor}{' !' if distance.good is False else ''}"


def _row(distance: Distance, runs: int) -> list[str]:
    values = [distance.simulated, *(distance.real or [None] * runs)]
    ratio = "-" if distance.ratio is None else f"{distance.ratio:.2f}"
    floor = "-" if distance.floor is None else f"{_hundred(distance.floor)} %"
    off = "-" if distance.off is None else f"{_hundred(distance.off)} %"
    miss = " !" if distance.good is False else ""
    return [distance.measure, *("-" if v is None else f"{v:.4g}" for v in values), off, floor, ratio + miss]


def _hundred(share: float) -> str:
    return f"{100 * share:.1f}"


def _facts(evidence: Evidence) -> dict[str, str]:
    about = evidence.about
    machine, table = about["machine"], about["table"]
    costs = cost_line(evidence.cost.name, evidence.cost.provenance.get("error"))
    return {
        "trace": f"{about['trace']['name']} (SHA-256 {about['trace']['sha256'][:12]})",
        "machine": f"{machine['gpu_name']}, torch {machine['torch']}, {machine['cpu']}, {about['date']}",
        "costs": f"{costs} (SHA-256 {table['sha256'][:12]})",
    }


def _about(of: Compared) -> str:
    """What else is known of a case, in a sentence or two."""
    runs, case = of.recorded.runs, of.case
    late = ", ".join(f"{1e3 * run.lateness_s['p99']:.2f} ms" for run in runs)
    gaps = ", ".join(f"{1e3 * run.hand_overs_s['p50']:.2f} ms" for run in runs if run.hand_overs_s)
    clocks = [run.machine["clocks_mhz"]["median"] for run in runs if "clocks_mhz" in run.machine]
    said = f"{len(case.arrival_s)} requests in {case.arrival_s[-1]:.1f} s, {case.rate_rps:.2f} req/s."
    said += f" 99 % of the arrivals were taken in within {late} of their time."
    said += f" From one pass to the next that was ready: {gaps} (medians)." if gaps else ""
    if any(run.scattered for run in runs):
        counts = ", ".join(str(run.scattered) for run in runs)
        said += f" Decisions at which the cache's free rows were too scattered to count as free: {counts}."
    if any(run.crowded for run in runs):
        counts = ", ".join(str(run.crowded) for run in runs)
        said += f" Forwards launched without a graph, whose recording was in use: {counts}."
    if len(tokens := [run.first_tokens for run in runs if run.first_tokens]) > 1:
        alike = sum(len(set(of)) == 1 for of in zip(*tokens, strict=True))
        said += f" The runs made the same first token of {alike} of {len(tokens[0])} prompts."
    return said + (f" Median clocks: {', '.join(f'{mhz:g} MHz' for mhz in clocks)}." if clocks else "")


def _blocking(results: Mapping[str, RunResult], axes: Axes) -> None:
    """The share of blocking times within a time."""
    for place, (name, result) in enumerate(results.items()):
        colour, _, dashes = style(place)
        blocking_s = np.sort(result.blocking_s)
        share = 100 * np.arange(1, blocking_s.size + 1) / max(blocking_s.size, 1)
        axes.step(1e3 * blocking_s, share, where="post", label=name, color=colour, ls=dashes, lw=1.6)
    if not any(result.blocking_s.size for result in results.values()):
        axes.text(0.5, 0.5, "no pass was told to stop", transform=axes.transAxes, ha="center", color="grey")
    axes.set_xlim(left=0)
    axes.set_ylim(0, 102)
    axes.set_xlabel("blocking time, ms")
    axes.set_ylabel("preemptions, %")
    axes.set_title("Blocking time", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["".join(f"<th>{html.escape(cell)}</th>" for cell in header)]
    lines += ["".join(_data(cell) for cell in row) for row in rows]
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _data(cell: Any) -> str:
    kind = " class='miss'" if str(cell).endswith("!") else ""
    return f"<td{kind}>{html.escape(str(cell))}</td>"
