"""Differences of policies on the same requests, as a table of text and what is to be said of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flowsim.rendering.screen import table

FEW = "*"
"""Marks an interval that rests on too few stretches of requests."""
METRICS = {"attainment": "attained, % points", "goodput_rps": "goodput, req/s"}
QUANTILES = {"ttft_p50_s": "TTFT p50", "ttft_p90_s": "p90", "ttft_p99_s": "p99"}
"""The metrics and their headings."""
LONG_S = 10
"""Differences of TTFT as large as this are shown in seconds, smaller ones in milliseconds."""
BASIS = (
    "Paired by request; 95 % intervals of a moving-block bootstrap over this one trace; p: of no difference in "
    "attainment, by Holm's method for {n}."
)
UNPAIRED = (
    "They leave out the requests that only one of the two counts, so they are not the differences of its figures above."
)
TOO_FEW = f"{FEW} rests on fewer than 20 stretches of requests: too narrow, use a longer trace."


def differences_report(rows: Sequence[Mapping[Any, Any]], alike: Iterable[Sequence[str]] = ()) -> RenderableType:
    """The differences of policies to one of them, as `Comparison.differences` gives them.

    Args:
        rows: one per policy and metric: policy, against, metric, mean, low, high, few (whether the interval rests on
            few stretches), unpaired (requests that only one of the two counts) and p_holm.
        alike: groups of policies that made the same decisions.
    """
    said = [Text(line, "yellow") for line in alike_lines(alike)]
    return Group(*said, *([Text()] if said else []), differences_table(rows), Text(differences_footing(rows)))


def alike_lines(groups: Iterable[Sequence[str]]) -> list[str]:
    """A line for each group of policies that made the same decisions."""
    return [f"{_listed(names)} made the same decisions for every request." for names in groups]


def interval_text(row: Mapping[Any, Any], factor: float, number: str) -> str:
    """A difference and its bounds, if they are known, as in "+8.1 [6.0, 10.2]"."""
    if row["mean"] != row["mean"]:
        return "-"
    mean, low, high = (number.format(factor * row[name]) for name in ("mean", "low", "high"))
    low, high = low.removeprefix("+"), high.removeprefix("+")
    return mean if row["low"] != row["low"] else f"{mean} [{low}, {high}]{FEW * bool(row['few'])}"


def p_text(p: float) -> str:
    """A p-value, with no more digits than it deserves."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def differences_table(rows: Sequence[Mapping[Any, Any]], by: Sequence[str] = ()) -> Table:
    """One row per policy and combination of the keys `by`, one column per metric."""
    cells: dict[tuple[str, ...], dict[str, Mapping[Any, Any]]] = {}
    for row in rows:
        cells.setdefault((row["policy"], *(str(row[name]) for name in by)), {})[row["metric"]] = row
    long = any(abs(row["mean"]) >= LONG_S for row in rows if row["metric"] in QUANTILES)
    unit, factor, number = ("s", 1, "{:+.1f}") if long else ("ms", 1000, "{:+.0f}")
    goodput = "{:+.1f}" if any(abs(row["mean"]) >= 1 for row in rows if row["metric"] == "goodput_rps") else "{:+.2f}"
    headings = [*METRICS.values(), *(f"{name}, {unit}" for name in QUANTILES.values())]
    made = table(f"minus {rows[0]['against']}", *by, *headings, "p")
    forms = {
        "attainment": (100, "{:+.1f}"),
        "goodput_rps": (1, goodput),
        **dict.fromkeys(QUANTILES, (factor, number)),
    }
    for place, found in cells.items():
        texts = [interval_text(found[name], *form) for name, form in forms.items()]
        made.add_row(*place, *texts, p_text(found["attainment"]["p_holm"]))
    return made


def differences_footing(rows: Sequence[Mapping[Any, Any]]) -> str:
    """What the intervals of a table of differences are, and what its marks mean."""
    policies = len({row["policy"] for row in rows})
    basis = BASIS.format(n=f"{policies} comparisons" if policies > 1 else "one comparison")
    unpaired = f" {UNPAIRED}" if any(row["unpaired"] for row in rows) else ""
    few = f" {TOO_FEW}" if any(row["few"] and row["low"] == row["low"] for row in rows) else ""
    return f"{basis}{unpaired}{few}"


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"
