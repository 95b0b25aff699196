"""The arena as tables: the ranking, shares of the bound by load, and attainment by class."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flowsim.arena.grid import REFERENCE
from flowsim.arena.ranking import ShareDifference, Standing
from flowsim.arena.scores import CLASS, interval_columns, is_class

if TYPE_CHECKING:
    import pandas as pd

AT, ON = "share_at_", "share_on_"
"""Columns of the ranking: before a load, and before the name of a traffic."""


def ranking_table(standings: Sequence[Standing], table: pd.DataFrame) -> pd.DataFrame:
    """One row per ranked policy.

    Columns: policy; rank, rank_low, rank_high, rank_few; share_of_bound, _low, _high (the score); less_best, _low,
    _high, _p, _few and less_flowprefill, ... (NaN for the policy itself); best_cells (in how many cells no policy
    attains more, of those in which any request can attain); worst_share and worst_cell; share_at_LOAD and
    share_on_TRAFFIC (the mean shares of the bound of these cells).
    """
    import pandas as pd  # slow to import, and only tables need it

    by_load, by_traffic = shares_by(table, "load"), shares_by(table, "traffic")
    shares = table.set_index("policy")
    leads = leading_cells(table)
    rows = []
    for standing in standings:
        cells = shares.loc[[standing.policy]]
        worst = cells.iloc[int(np.nanargmin(cells["share_of_bound"]))]
        rows.append(
            {"policy": standing.policy, "rank": standing.rank, "rank_low": standing.low, "rank_high": standing.high}
            | {"rank_few": standing.few}
            | interval_columns("share_of_bound", standing.score)
            | _less("less_best", standing.less.get(standings[0].policy))
            | _less(f"less_{REFERENCE}", standing.less.get(REFERENCE))
            | {"best_cells": leads[standing.policy], "worst_share": worst["share_of_bound"]}
            | {"worst_cell": f"{worst['traffic']} {worst['load']:g} {worst['mix']}"}
            | {f"{AT}{load:g}": share for load, share in by_load[standing.policy].items()}
            | {f"{ON}{traffic}": share for traffic, share in by_traffic[standing.policy].items()}
        )
    return pd.DataFrame(rows)


def shares_by(table: pd.DataFrame, column: str) -> dict[str, dict[Any, float]]:
    """The mean share of the bound of each policy, by the values of a column in their order."""
    means = table.groupby(["policy", column], sort=False)["share_of_bound"].mean()
    found: dict[str, dict[Any, float]] = {}
    for policy, value, share in means.reset_index().itertuples(index=False):
        found.setdefault(policy, {})[value] = share
    return found


def leading_cells(table: pd.DataFrame) -> Mapping[str, int]:
    """In how many cells no policy attains more, by policy; cells in which nothing can attain have no leader."""
    most = table.groupby(["traffic", "load", "mix"], sort=False)["share_of_bound"].transform("max")
    leads = (table["share_of_bound"] == most).groupby(table["policy"], sort=False).sum()
    return {str(policy): int(cells) for policy, cells in leads.items()}


def cells_table(table: pd.DataFrame, typed: Sequence[str]) -> pd.DataFrame:
    """One row per cell: traffic, load, mix, bound_attainment, best (who attains most, the first of equals) and
    share_of_bound (of that policy), and `typed`, what to type after `flowsim run` for its requests.
    """
    shares = table.dropna(subset="attainment").reset_index()
    most = shares.groupby(["traffic", "load", "mix"], sort=False)["attainment"].idxmax()
    best = shares.loc[most, ["traffic", "load", "mix", "bound_attainment", "policy", "share_of_bound"]]
    found: pd.DataFrame = best.rename(columns={"policy": "best"}).assign(typed=list(typed)).reset_index(drop=True)
    return found


def class_attainments(table: pd.DataFrame) -> pd.DataFrame:
    """The mean attainment of each class over the loads and SLO mixes: traffic, class, policy, attainment."""
    names = [name for name in table if is_class(str(name))]
    classes = table[["traffic", "policy", *names]]
    long = classes.melt(["traffic", "policy"], names, "class", "attainment").dropna(subset="attainment")
    means = long.groupby(["traffic", "class", "policy"], sort=False, as_index=False)["attainment"].mean()
    named: pd.DataFrame = means.assign(**{"class": means["class"].str.removeprefix(CLASS)})
    return named


def _less(name: str, found: ShareDifference | None) -> dict[str, Any]:
    if found is None:
        return dict.fromkeys((name, f"{name}_low", f"{name}_high", f"{name}_p", f"{name}_few"), math.nan)
    return interval_columns(name, found.interval) | {f"{name}_p": found.p, f"{name}_few": found.few}
