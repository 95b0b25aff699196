"""The arena as tables: the ranking, shares of the bound by load, and attainment by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flowsim.arena.grid import REFERENCE
from flowsim.arena.ranking import Difference, Standing
from flowsim.arena.scores import CLASS, is_class

if TYPE_CHECKING:
    import pandas as pd


def ranking_table(standings: Sequence[Standing], table: pd.DataFrame) -> pd.DataFrame:
    """One row per ranked policy.

    Columns: policy; rank, rank_low, rank_high; share_of_bound, _low, _high (the score); less_best, _low, _high, _p and
    less_flowprefill, ... (NaN for the policy itself); best_cells (in how many cells no policy attains more);
    worst_share and worst_cell; share_at_LOAD (the mean share of the bound at each load).
    """
    import pandas as pd  # slow to import, and only tables need it

    by_load = shares_by_load(table)
    shares = table.set_index("policy")
    leads = leading_cells(table)
    rows = []
    for standing in standings:
        cells = shares.loc[[standing.policy]]
        worst = cells.iloc[int(cells["share_of_bound"].to_numpy().argmin())]
        rows.append(
            {"policy": standing.policy, "rank": standing.rank, "rank_low": standing.low, "rank_high": standing.high}
            | _interval("share_of_bound", standing.score.mean, standing.score.low, standing.score.high)
            | _less("less_best", standing.less.get(standings[0].policy))
            | _less(f"less_{REFERENCE}", standing.less.get(REFERENCE))
            | {"best_cells": leads[standing.policy], "worst_share": worst["share_of_bound"]}
            | {"worst_cell": f"{worst['traffic']} {worst['load']:g} {worst['mix']}"}
            | {f"share_at_{load:g}": share for load, share in by_load.loc[standing.policy].items()}
        )
    return pd.DataFrame(rows)


def shares_by_load(table: pd.DataFrame) -> pd.DataFrame:
    """The mean share of the bound of each policy (rows) at each load (columns)."""
    return table.pivot_table("share_of_bound", "policy", "load", sort=False).sort_index(axis="columns")


def leading_cells(table: pd.DataFrame) -> Mapping[str, int]:
    """In how many cells no policy attains more, by policy."""
    most = table.groupby(["traffic", "load", "mix"], sort=False)["attainment"].transform("max")
    leads: dict[str, int] = (
        (table["attainment"] == most).groupby(table["policy"], sort=False).sum().astype(int).to_dict()
    )
    return leads


def by_class(table: pd.DataFrame) -> pd.DataFrame:
    """The mean attainment of each class over the loads and SLO mixes: traffic, class, policy, attainment."""
    names = [name for name in table if is_class(name)]
    long = table.melt(["traffic", "policy"], names, "class", "attainment").dropna(subset="attainment")
    means = long.groupby(["traffic", "class", "policy"], sort=False, as_index=False)["attainment"].mean()
    return means.assign(**{"class": means["class"].str.removeprefix(CLASS)})


def _interval(name: str, mean: float, low: float, high: float) -> dict[str, float]:
    return {name: mean, f"{name}_low": low, f"{name}_high": high}


def _less(name: str, found: Difference | None) -> dict[str, Any]:
    if found is None:
        return dict.fromkeys((name, f"{name}_low", f"{name}_high", f"{name}_p", f"{name}_few"))
    interval = found.interval
    return _interval(name, interval.mean, interval.low, interval.high) | {
        f"{name}_p": found.p,
        f"{name}_few": found.few,
    }
