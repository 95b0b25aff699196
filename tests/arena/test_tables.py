"""The tables of an arena, on shares of the bound that are made by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from flowsim.arena.ranking import Standing
from flowsim.arena.tables import cells_table, class_attainments, leading_cells, ranking_table, shares_by
from flowsim.results.interval import Interval


def table() -> pd.DataFrame:
    shares = {
        ("qwen", 0.7): (1.0, 0.5),
        ("qwen", 1.4): (0.6, 0.8),
        ("code", 0.7): (0.9, 0.9),
        ("code", 1.4): (0.2, 0.4),
    }
    rows = [
        {"traffic": traffic, "load": load, "mix": "paper", "policy": policy, "attainment": share / 2}
        | {"share_of_bound": share, "attainment_text": share / 4, "attainment_<=1k": math.nan}
        for (traffic, load), pair in shares.items()
        for policy, share in zip(("fcfs", "edf"), pair, strict=True)
    ]
    return pd.DataFrame(rows)


def test_the_tables_hold_means_by_load_traffic_and_class_and_the_cells_where_a_policy_leads() -> None:
    assert shares_by(table(), "load") == {"fcfs": {0.7: 0.95, 1.4: 0.4}, "edf": {0.7: 0.7, 1.4: pytest.approx(0.6)}}
    assert cells_table(table().assign(bound_attainment=0.5), "abcd").to_dict("list") == {
        "traffic": ["qwen", "qwen", "code", "code"],
        "load": [0.7, 1.4, 0.7, 1.4],
        "mix": ["paper"] * 4,
        "bound_attainment": [0.5] * 4,
        "best": ["fcfs", "edf", "fcfs", "edf"],
        "share_of_bound": [1.0, 0.8, 0.9, 0.4],
        "typed": ["a", "b", "c", "d"],
    }
    assert leading_cells(table()) == {"fcfs": 2, "edf": 3}
    assert class_attainments(table()).to_dict("list") == {
        "traffic": ["qwen", "qwen", "code", "code"],
        "class": ["text"] * 4,
        "policy": ["fcfs", "edf"] * 2,
        "attainment": pytest.approx([0.2, 0.1625, 0.1375, 0.1625]),
    }
    hopeless = pd.concat([table(), table().assign(mix="short", attainment=0.0, share_of_bound=math.nan)])
    assert leading_cells(hopeless) == {"fcfs": 2, "edf": 3}
    standing = Standing("fcfs", 1, 1, 2, False, Interval(0.675, 0.6, 0.7, 8), {})
    row = ranking_table([standing], hopeless).iloc[0]
    assert (row["best_cells"], row["worst_share"], row["worst_cell"]) == (2, 0.2, "code 1.4 paper")
    assert (row["share_at_0.7"], row["share_on_code"]) == (0.95, pytest.approx(0.55))
    assert (row["share_of_bound"], row["share_of_bound_low"]) == (0.675, 0.6) and math.isnan(row["less_best"])
