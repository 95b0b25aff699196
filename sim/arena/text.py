"""The arena as one screen of text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flowsim.arena.decision_costs import DecisionCost
from flowsim.arena.grid import REFERENCE
from flowsim.results.interval import Interval
from flowsim.show.differences import FEW, p_text
from flowsim.show.screen import table as new_table

if TYPE_CHECKING:
    from flowsim.arena.compete import Arena

RULE = (
    "Score: the mean over all cells of attainment / the clairvoyant bound of the cell, in %. Differences are paired by "
    "request; 95 % intervals of a moving-block bootstrap, each traffic for itself; p: of no difference to {reference}, "
    "by Holm's method for {n} policies. [ranks]: those that a policy may have, by its differences to all others (Holm). "
    "Leads: cells in which no policy attains more. Worst: its lowest share of the bound in any cell. Other requests of "
    "the same traffic are what the intervals allow for; other traffic may rank otherwise."
)
TOO_FEW = f" {FEW} rests on fewer than 20 stretches of requests: too narrow, take more requests."


def arena_report(arena: Arena) -> RenderableType:
    """The ranking, who failed, and what the figures are."""
    ranking = arena.ranking.to_dict("records")
    runs, cells = len(arena.runs.table), len(arena.table.groupby(["traffic", "load", "mix"]))
    done = f"{arena.runs.new:,} run now, in {arena.runs.cpu_s:,.0f} s of CPU" if arena.runs.new else "all done before"
    said = [Text(f"arena: {len(ranking)} policies on {cells} cells, {runs:,} runs ({done})")]
    said += [Text(f"not ranked: {name}: {error}", "red") for name, error in arena.failed.items()]
    if not ranking:
        return Group(*said)
    few = any(row[f"less_{base}_few"] for row in ranking for base in ("best", REFERENCE))
    rule = RULE.format(reference=REFERENCE, n=len(ranking) - 1)
    return Group(*said, Text(), _ranking(ranking, arena), Text(), Text(rule + TOO_FEW * few))


def _ranking(ranking: list[dict[Any, Any]], arena: Arena) -> Table:
    loads = [name for name in ranking[0] if str(name).startswith("share_at_")]
    heads = [f"at {str(name).removeprefix('share_at_')}" for name in loads]
    made = new_table(
        "policy", "rank", "score", "- best", f"- {REFERENCE}", "p", "leads", "worst", *heads, "us a decision"
    )
    for row in ranking:
        name = row["policy"]
        made.add_row(
            f"{name} (yours)" if name in arena.own else name,
            rank_text(row),
            _share(row, "share_of_bound", "{:.1f}"),
            _share(row, "less_best", "{:+.1f}"),
            _share(row, f"less_{REFERENCE}", "{:+.1f}"),
            "-" if _unknown(row[f"less_{REFERENCE}_p"]) else p_text(row[f"less_{REFERENCE}_p"]),
            str(row["best_cells"]),
            f"{100 * row['worst_share']:.0f}",
            *(f"{100 * row[load]:.1f}" for load in loads),
            cost_text(arena.costs, name),
        )
    return made


def rank_text(row: Mapping[Any, Any]) -> str:
    """The rank and the ranks that it may be: "3 [2, 5]"."""
    return f"{row['rank']} [{row['rank_low']}, {row['rank_high']}]"


def cost_text(costs: Mapping[str, DecisionCost], policy: str) -> str:
    """Microseconds of a decision; "-" if they were not measured."""
    return f"{costs[policy].mean_us:.0f}" if policy in costs else "-"


def _share(row: Mapping[Any, Any], name: str, number: str) -> str:
    if _unknown(row[name]):
        return "-"
    interval = Interval(row[name], row[f"{name}_low"], row[f"{name}_high"], 0).scaled(100)
    return interval.format(number) + FEW * bool(row.get(f"{name}_few"))


def _unknown(value: float | None) -> bool:
    return value is None or math.isnan(value)
