"""The arena as one screen of text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flowsim.arena.decision_costs import DecisionCost
from flowsim.arena.grid import REFERENCE
from flowsim.arena.tables import AT, ON
from flowsim.io.counts import number_of
from flowsim.rendering.differences_text import FEW, p_text
from flowsim.rendering.screen import table as new_table
from flowsim.results.interval import Interval

if TYPE_CHECKING:
    from flowsim.arena.compete import Arena

RULE = (
    "Score: the mean over all cells of attainment / the clairvoyant bound of the cell, in %. Differences are paired by "
    "request; 95 % intervals of a moving-block bootstrap, each traffic for itself; p: of no difference to {reference}, "
    "by Holm's method for {compared}. [ranks]: those that a policy may have, by its differences to all others "
    "(Holm). Below: the score by load and by traffic; leads: cells in which no policy attains more; worst: the lowest "
    "share in any cell. The intervals allow for other requests of the same traffic; on other traffic policies may rank "
    "otherwise."
)
TOO_FEW = f" {FEW} rests on fewer than 20 stretches of requests: too narrow, take more requests."


def arena_report(arena: Arena) -> RenderableType:
    """The ranking, who failed, and what the figures are."""
    ranking = arena.ranking.to_dict("records")
    runs, cells = len(arena.runs.table), len(arena.table.groupby(["traffic", "load", "mix"]))
    done = f"{arena.runs.new:,} new, in {arena.runs.cpu_s:,.0f} s of CPU" if arena.runs.new else "all done before"
    policies = f"{len(ranking) + len(arena.failed)} policies" + (
        f" ({len(arena.failed)} not ranked)" if arena.failed else ""
    )
    said = [Text(f"arena: {policies} on {cells} cells, {runs:,} runs ({done})")]
    said += [Text(f"not ranked: {name}: {error}", "red") for name, error in arena.failed.items()]
    rule = Text(rule_text(ranking))
    return Group(*said, Text(), _ranking(ranking, arena), Text(), _details(ranking, arena), Text(), rule)


def rule_text(ranking: Sequence[Mapping[Any, Any]]) -> str:
    """What the figures of a ranking are, and its marks if it has some."""
    few = any(row[name] is True for row in ranking for name in ("rank_few", "less_best_few", f"less_{REFERENCE}_few"))
    compared = number_of(len(ranking) - 1, "comparison")
    return RULE.format(reference=REFERENCE, compared=compared) + TOO_FEW * few


def _ranking(ranking: list[dict[Any, Any]], arena: Arena) -> Table:
    made = new_table("policy", "rank", "score", "minus the best", f"minus {REFERENCE}", "p")
    for row in ranking:
        p = row[f"less_{REFERENCE}_p"]
        made.add_row(
            shown_name(row["policy"], arena),
            rank_text(row),
            share_text(row, "share_of_bound", "{:.1f}"),
            share_text(row, "less_best", "{:+.1f}"),
            share_text(row, f"less_{REFERENCE}", "{:+.1f}"),
            "-" if is_unknown(p) else p_text(p),
        )
    return made


def _details(ranking: list[dict[Any, Any]], arena: Arena) -> Table:
    """The score by load and by traffic, and what else is told of each policy."""
    parts = [str(name) for name in ranking[0] if str(name).startswith((AT, ON))]
    heads = [name.removeprefix(AT).removeprefix(ON) for name in parts]
    made = new_table("policy", *heads, "leads", "worst", "us a request")
    for row in ranking:
        shares = [f"{100 * row[part]:.1f}" for part in parts]
        last = (str(row["best_cells"]), f"{100 * row['worst_share']:.0f}", cost_text(arena.costs, row["policy"]))
        made.add_row(shown_name(row["policy"], arena), *shares, *last)
    return made


def shown_name(policy: str, arena: Arena) -> str:
    """The policy, marked if it is one's own."""
    return f"{policy} (yours)" if policy in arena.own else policy


def rank_text(row: Mapping[Any, Any]) -> str:
    """The rank and the ranks that it may be: "3 [2, 5]", marked if these rest on few stretches of requests."""
    return f"{row['rank']} [{row['rank_low']}, {row['rank_high']}]{FEW * bool(row['rank_few'])}"


def cost_text(costs: Mapping[str, DecisionCost], policy: str) -> str:
    """Microseconds of CPU that a policy takes for each request; "-" if they were not measured."""
    return f"{costs[policy].us_a_request:.0f}" if policy in costs else "-"


def share_text(row: Mapping[Any, Any], name: str, number: str) -> str:
    """A share and its interval, in %; "-" for none."""
    if is_unknown(row[name]):
        return "-"
    interval = Interval(row[name], row[f"{name}_low"], row[f"{name}_high"], 0).scaled(100)
    return interval.format(number) + FEW * (row.get(f"{name}_few") is True)


def is_unknown(value: float | None) -> bool:
    """Whether there is no such number."""
    return value is None or math.isnan(value)
