"""The page of a study or a search: metrics against any option, the results in short, and every run in one table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flowsim.rendering.costs_text import cost_footing
from flowsim.rendering.page import Column, Explorer, Form, Metric, Page, PagePart, Paragraph, Rows, Section, Tiles
from flowsim.rendering.page_text import parts_of
from flowsim.results.saved_files import is_share
from flowsim.studies.figure_data import OF_POLICY, family, is_number
from flowsim.studies.goodput_rules import RULES
from flowsim.studies.intervals import intervals
from flowsim.studies.replications import classes_of, independent, varied
from flowsim.studies.search import max_rate
from flowsim.studies.study_text import settings_by, study_report
from flowsim.studies.sweep import Runs

if TYPE_CHECKING:
    import pandas as pd

DIGITS = 7
"""Of numbers in a page."""
DRAWN = ("goodput_rps", "ttft_p50_s", "ttft_p90_s", "ttft_p99_s", "utilization")
"""The metrics that are drawn, after attainment and the highest rates."""


def study_page(runs: Runs) -> Page:
    """The page of a study: compared with the policy that `study_report` takes."""
    done = independent(runs.succeeded)
    title = runs.title or "Study"
    tiles = [
        ("runs", f"{len(runs.table):,}", f"{len(runs.failed):,} failed"),
        ("policies", f"{runs.table['policy'].nunique():,}", ""),
        ("options varied", f"{len(varied(runs.table)):,}", ", ".join(varied(runs.table))),
    ]
    sections = [] if done.empty else [Section("Against an option", [explorer(runs), Paragraph(BASIS, small=True)])]
    sections.append(Section("Results", list(parts_of(study_report(runs)))))
    sections.append(Section("Every run", [runs_table(runs)]))
    lead: list[PagePart] = [Tiles(tiles)]
    if runs.costs:
        lead.append(Paragraph(f"{cost_footing(runs.costs)}.", small=True))
    return Page(title, sections, lead)


BASIS = (
    "Lines: 95 % intervals, Student's t over the replications; of attainment with one replication each, Wilson's at "
    "the effective number of requests. A quantile that falls among requests without a first token is not drawn."
)


def explorer(runs: Runs) -> Explorer:
    """The metrics of each setting, for the reader to choose from."""
    done = independent(runs.succeeded)
    by = settings_by(done)
    settings = done.drop_duplicates(by)
    named = {max_rate(rule): f"max goodput ({rule}), req/s" for rule in RULES if max_rate(rule) in done}
    values = [*named, "attainment", *(f"attainment_{name}" for name in classes_of(done)), *DRAWN]
    metrics = [
        Metric(named.get(value, _title(value)), *_means(runs, done, value, by)) for value in values if value in done
    ]
    dimensions = [_column(name, settings[name]) for name in by[1:]]
    first = _policies(settings)
    numbers = [column.title for column in (*dimensions, *first) if column.form != "text"]
    axis = numbers[0] if numbers else (dimensions or first)[0].title
    return Explorer([*first, *dimensions], metrics, axis, first[0].title)


def runs_table(runs: Runs) -> Rows:
    """One row per run."""
    return Rows([_column(name, runs.table[name]) for name in runs.columns])


def _policies(settings: pd.DataFrame) -> list[Column]:
    """What tells the policies apart: their names; or their families and options, where these are columns."""
    options = [name for name in varied(settings) if name.startswith(OF_POLICY)]
    families = settings.assign(family=family(settings["policy"]))
    if options and len(families.drop_duplicates(["family", *options])) == settings["policy"].nunique():
        return [_column("family", families["family"]), *(_column(name, settings[name]) for name in options)]
    return [_column("policy", settings["policy"])]


def _means(runs: Runs, done: pd.DataFrame, value: str, by: Sequence[str]) -> tuple[Any, Any, Any]:
    """The mean of a column in each setting and the bounds of its interval."""
    scale = 100 if _form(value, done[value]) == "percent" else 1
    if not done.duplicated(by).any():  # one run each
        bounds = [f"ci_{value}_low", f"ci_{value}_high"]
        known = [done[name] if name in done else np.full(len(done), np.nan) for name in bounds]
        return tuple(scale * np.asarray(column, float) for column in (done[value], *known))  # type: ignore[return-value]
    found = intervals(runs.succeeded, value, by)
    return scale * found["mean"].to_numpy(), scale * found["low"].to_numpy(), scale * found["high"].to_numpy()


def _column(name: str, values: pd.Series) -> Column:
    form = _form(name, values)
    if form == "text":
        return Column(name, [None if value != value or value is None else str(value) for value in values])
    if form == "count":
        return Column(name, values.tolist(), form)
    return Column(name, [float(f"{value:.{DIGITS}g}") for value in values.astype(float)], form)


def _form(name: str, values: pd.Series) -> Form:
    if not is_number(values):
        return "text"
    if is_share(name):
        return "percent"
    if name.startswith("ttft") and name.endswith("_s"):
        return "seconds"
    return "count" if values.dtype.kind in "iu" else "number"


def _title(value: str) -> str:
    """A column as the label of an axis."""
    if is_share(value):
        return f"{value.replace('_', ' ')}, %"
    name, _, unit = value.rpartition("_")
    return f"{name.replace('_', ' ').replace('ttft', 'TTFT')}, {'req/s' if unit == 'rps' else unit}"
