"""A saved run or comparison as a table of runs, and as a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowsim.core.summary import FullSummary
from flowsim.errors import InputError
from flowsim.rendering.costs_text import cost_footing, costs_of
from flowsim.rendering.result_figures import Distribution, comparison
from flowsim.report.saved import Saved
from flowsim.results.bootstrap import share_interval
from flowsim.results.figure_data import class_attainment_of
from flowsim.results.summary import as_columns, bound_columns
from flowsim.runs.options import columns
from flowsim.studies.sweep import Runs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COUNTED, ATTAINED, TTFT = "counted", "attained", "ttft_s"
"""Columns of requests.parquet."""


def runs_of(saved: Saved) -> Runs:
    """The runs of a folder: of a study as it has them, else one row per policy.

    Raises:
        InputError: it is a validation, or a file of it is missing or wrong.
    """
    import pandas as pd  # slow to import, and only tables need it

    _check(saved)
    if saved.kind == "study":
        return saved.study
    return Runs(pd.DataFrame([_row(saved, name, summary) for name, summary in saved.summaries.items()]))


def comparison_figure(saved: Saved) -> Figure:
    """Attainment by class, and the distribution of TTFT, of a run or of each policy of a comparison.

    Raises:
        InputError: it is a validation, or a file of it is missing or wrong.
    """
    _check(saved)
    tables = {name: saved.requests(name, [COUNTED, TTFT]) for name in saved.runs}
    ttft_s = {name: Distribution.of(table[TTFT][table[COUNTED]].to_numpy()) for name, table in tables.items()}
    costs = cost_footing(costs_of(summary["inputs"]) for summary in saved.summaries.values())
    return comparison(class_attainment_of(saved.summaries), ttft_s, costs)


def _check(saved: Saved) -> None:
    if saved.kind == "validation":
        expected = "what flowsim run, compare, sweep or capacity wrote; flowsim validate draws its own figures"
        raise InputError(str(saved.folder), "is a validation", expected=expected)


def _row(saved: Saved, name: str, summary: FullSummary) -> dict[str, Any]:
    """A run as a row of a study has it, under the name of its policy."""
    requests = saved.requests(name, [COUNTED, ATTAINED])
    interval = share_interval(requests[ATTAINED][requests[COUNTED]].to_numpy())
    row = {**columns(saved.options(name)), "policy": name, "key": name, "error": None, **_costs(summary)}
    row |= as_columns(summary) | bound_columns(summary) | {"policy": name}
    row |= {"ci_attainment_low": interval.low, "ci_attainment_high": interval.high}
    for group, values in summary["classes"].items():
        row |= {f"{column}_{group}": value for column, value in as_columns(values).items()}
    return row


def _costs(summary: FullSummary) -> dict[str, Any]:
    about = ("cost_model", "cost_model_kind", "cost_model_stated_error")
    return {name: value for name, value in summary["inputs"].items() if name in about}
