"""The page of the arena: the figure, the ranking, and every cell, in one HTML file."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flowsim.arena.arena_text import rank_text, rule_text, share_text, shown_name
from flowsim.arena.grid import REFERENCE
from flowsim.arena.tables import AT, ON, class_attainments
from flowsim.io.counts import percent
from flowsim.policies.registry import describe_policy
from flowsim.rendering.costs_text import cost_footing
from flowsim.rendering.page import Axis, Chart, Column, Facts, Page, PagePart, Paragraph, Rows, Section, Series, Tiles
from flowsim.rendering.style import COLOURS
from flowsim.results.interval import Interval

if TYPE_CHECKING:
    import pandas as pd

    from flowsim.arena.compete import Arena

ALL = "all"
"""The value of a select that stands for the mean over all."""
LEAD = (
    "Each policy replayed the same requests: {traffic}, at offered loads of {loads} (device seconds of the least work "
    "that arrive per second), under the SLO mixes {mixes}. Shares are of the clairvoyant bound, which no scheduler "
    "exceeds, whatever it knows."
)
TYPED = "Why requests missed in a cell: flowsim explain with the options in the last column and a --policy."


def arena_page(arena: Arena, named: Sequence[str]) -> Page:
    """The page; `named` are the policies that the figure shows at first."""
    ranking = arena.ranking.to_dict("records")
    sections = [Section("Not ranked", [Facts(list(arena.failed.items()))])] if arena.failed else []
    sections += [
        Section("Share of the bound against the load", [_chart(arena, named)]),
        Section("Ranking", [_ranking(ranking, arena), Paragraph(rule_text(ranking), small=True)]),
        Section("By load and by traffic", [_details(ranking, arena)]),
        Section("Cells", [_cells(arena), Paragraph(TYPED, small=True)]),
        Section("Runs", [_runs(arena.table)]),
        Section("By class", [_classes(arena.table)]),
    ]
    about: list[tuple[str, str]] = [
        (each.name, f"{each.about} ({each.trace.rpartition('/')[2]})") for each in arena.traffic
    ]
    sections.append(
        Section("What was run", [Facts([*about, ("costs", cost_footing(arena.runs.costs).removeprefix("Costs: "))])])
    )
    return Page("The arena", sections, _lead(arena, ranking))


def _lead(arena: Arena, ranking: Sequence[Mapping[Any, Any]]) -> list[PagePart]:
    values = {name: arena.table[name].unique() for name in ("traffic", "load", "mix")}
    texts = {
        name: ", ".join(f"{value:g}" if name == "load" else str(value) for value in some)
        for name, some in values.items()
    }
    lead = LEAD.format(traffic=texts["traffic"], loads=texts["load"], mixes=texts["mix"])
    tiles = [
        (
            f"rank {rank_text(row)}",
            shown_name(row["policy"], arena),
            f"{percent(row['share_of_bound'])} of the bound",
        )
        for row in ranking
        if row is ranking[0] or row["policy"] == REFERENCE or row["policy"] in arena.own
    ]
    return [Paragraph(lead), Tiles(tiles)]


def _chart(arena: Arena, named: Sequence[str]) -> Chart:
    """Every policy's line, for each traffic and each SLO mix and for all of them."""
    ranked = arena.ranking["policy"].tolist()
    series = [
        Series(
            shown_name(policy, arena),
            x=list(shares),
            y=[100 * share for share in shares.values()],
            tags={"policies": "the best and some" if policy in named else "the others", "traffic": traffic, "mix": mix},
            colour=place % len(COLOURS),
            dashes=place // len(COLOURS),
        )
        for traffic, mix, part in _parts(arena.table)
        for place, policy in enumerate(sorted(ranked, key=lambda name: name not in named))
        for shares in [part[part["policy"] == policy].groupby("load")["share_of_bound"].mean().to_dict()]
    ]
    selects = {"policies": "the best and some", "traffic": ALL, "mix": ALL}
    return Chart(Axis("offered load"), Axis("% of the clairvoyant bound", high=100), series, selects)


def _parts(table: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """The rows of each traffic and SLO mix, and those of all of them."""
    for traffic, mix in itertools.product((ALL, *table["traffic"].unique()), (ALL, *table["mix"].unique())):
        of_traffic = table if traffic == ALL else table[table["traffic"] == traffic]
        yield traffic, mix, of_traffic if mix == ALL else of_traffic[of_traffic["mix"] == mix]


def _ranking(ranking: Sequence[Mapping[Any, Any]], arena: Arena) -> Rows:
    def less(title: str, name: str) -> list[Column]:
        bounds = [share_text(row, name, "{:+.1f}").partition(" ")[2] for row in ranking]
        return [Column(title, [row[name] for row in ranking], "percent"), Column("interval", bounds)]

    return Rows(
        [
            Column("policy", [shown_name(row["policy"], arena) for row in ranking]),
            Column("rank", [row["rank"] for row in ranking], "count"),
            Column("may be", [rank_text(row).partition(" ")[2] for row in ranking]),
            Column("score", [row["share_of_bound"] for row in ranking], "percent"),
            *less(f"minus {REFERENCE}", f"less_{REFERENCE}"),
            Column("p", [row[f"less_{REFERENCE}_p"] for row in ranking], "number"),
            *less("minus the best", "less_best"),
        ]
    )


def _details(ranking: Sequence[Mapping[Any, Any]], arena: Arena) -> Rows:
    parts = [str(name) for name in ranking[0] if str(name).startswith((AT, ON))]
    names = [row["policy"] for row in ranking]
    costs = [arena.costs.get(name) for name in names]
    return Rows(
        [
            Column("policy", [shown_name(name, arena) for name in names]),
            *(
                Column(part.replace(AT, "load ").removeprefix(ON), [row[part] for row in ranking], "percent")
                for part in parts
            ),
            Column("leads", [row["best_cells"] for row in ranking], "count"),
            Column("worst cell", [row["worst_share"] for row in ranking], "percent"),
            Column("which", [row["worst_cell"] for row in ranking]),
            Column("deciding, a request", [cost and cost.us_a_request / 1e6 for cost in costs], "seconds"),
            Column("family", [describe_policy(name).family for name in names]),
        ]
    )


def _cells(arena: Arena) -> Rows:
    """Every cell: its bound, and who attains most."""
    forms = {"traffic": "text", "load": "number", "mix": "text", "bound_attainment": "percent", "best": "text"}
    forms |= {"share_of_bound": "percent", "typed": "text"}
    return Rows([Column(name.replace("_", " "), arena.cells[name].tolist(), form) for name, form in forms.items()])  # type: ignore[arg-type]


def _runs(table: pd.DataFrame) -> Rows:
    """Every run, with its difference to the reference."""

    def interval(row: Mapping[Any, Any], name: str, number: str) -> str:
        bounds = Interval(0.0, row.get(f"{name}_low", float("nan")), row.get(f"{name}_high", float("nan")), 0)
        return bounds.scaled(100).bounds(number)

    rows = table.to_dict("records")
    less = f"less_{REFERENCE}"
    forms = {"traffic": "text", "load": "number", "mix": "text", "policy": "text"}
    figures = {"attainment": "percent", "bound_attainment": "percent", "share_of_bound": "percent", less: "percent"}
    last = {f"{less}_p": "number", "goodput_rps": "number", "ttft_p50_s": "seconds", "ttft_p99_s": "seconds"}
    last |= {"preemptions": "count", "rejected": "count", "starved": "count", "decisions": "count"}
    columns = []
    for name, form in (forms | figures | last).items():
        if name in table:
            columns.append(Column(name.replace("_", " "), table[name].tolist(), form))  # type: ignore[arg-type]
        if name in ("attainment", less):
            bounds = f"ci_{name}" if name == "attainment" else name
            columns.append(Column("interval", [interval(row, bounds, "{:.1f}") for row in rows]))
    return Rows(columns)


def _classes(table: pd.DataFrame) -> Rows:
    means = class_attainments(table)
    texts = [Column(name, means[name].tolist()) for name in ("traffic", "class", "policy")]
    return Rows([*texts, Column("attainment", means["attainment"].tolist(), "percent")])
