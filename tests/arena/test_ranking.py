"""The ranking, on shares of the bound that are made by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from flowsim.arena.ranking import Standing, share_series, standings
from flowsim.arena.tables import by_class, cells_table, leading_cells, ranking_table, shares_by
from flowsim.results.interval import Interval


def test_a_request_counts_by_the_share_of_the_cells_in_which_it_is_in_time_in_shares_of_their_bounds() -> None:
    attained = np.array([[True, True, False, False], [True, False, True, False], [True, True, True, True]])
    counted = np.array([[True] * 4, [False, True, True, True], [True] * 4])
    series = share_series(attained, counted, np.array([0.5, 2 / 3, 0.0]))  # nothing can attain in the third cell
    assert series.tolist() == [1.0, 1.0, 1.0, 0.0]
    assert series.mean() == np.mean([(2 / 4) / 0.5, (1 / 3) / (2 / 3)])
    assert share_series(attained, counted, np.zeros(3)).size == 0


def hits(share: float, seed: int, n: int = 2000) -> np.ndarray:
    """Requests in time at this rate; those of a higher rate are so wherever those of a lower one are."""
    return (np.random.default_rng(seed).random(n) < share).astype(float)


def test_policies_rank_by_the_mean_over_traffic_and_chance_widens_their_ranks() -> None:
    series = {
        "fcfs": [hits(0.5, 1), hits(0.3, 2)],
        "good": [hits(0.9, 1), hits(0.8, 2)],
        "same": [hits(0.9, 1), hits(0.8, 2)],
        "luck": [hits(0.9, 11), hits(0.8, 12)],
        "flowprefill": [hits(0.8, 1), hits(0.7, 2)],
    }
    found = {standing.policy: standing for standing in standings(series, "flowprefill")}
    scores = {name: np.mean([part.mean() for part in parts]) for name, parts in series.items()}
    assert {name: standing.score.mean for name, standing in found.items()} == pytest.approx(scores)
    assert found["good"].rank == found["same"].rank
    assert found["luck"].rank in (1, 3)
    assert [(found[name].low, found[name].high) for name in series] == [(5, 5), (1, 3), (1, 3), (1, 3), (4, 4)]
    best = next(iter(found))
    assert found[best].rank == 1 and best not in found[best].less
    less = found["fcfs"].less["flowprefill"]
    assert less.interval.mean == pytest.approx(scores["fcfs"] - scores["flowprefill"])
    assert less.interval.high < 0 and less.p < 0.01 and not less.few
    assert found["good"].less["flowprefill"].interval.low > 0
    assert list(found["flowprefill"].less) == [best]


def test_holms_method_allows_for_every_policy_compared() -> None:
    """Of 20 policies that are all alike 19 in 20 may have any rank, although one in 20 of their pairs differ."""
    series = {str(seed): [hits(0.7, seed, 300)] for seed in range(20)}
    found = standings(series, "0")
    assert np.mean([(standing.low, standing.high) == (1, 20) for standing in found]) >= 0.9
    assert {standing.less["0"].p for standing in found if "0" in standing.less} >= {1.0}
    few = {name: series[name] for name in "012"}
    assert standings(few, "0") == standings(few, "0") != standings(few, "0", seed=1)


def test_a_difference_that_rests_on_few_stretches_is_marked() -> None:
    late = np.ones(2000)
    late[500:600] = 0  # one queue
    found = standings({"a": [np.ones(2000)], "flowprefill": [late]}, "flowprefill")
    assert found[0].policy == "a" and found[0].less["flowprefill"].few


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
    assert by_class(table()).to_dict("list") == {
        "traffic": ["qwen", "qwen", "code", "code"],
        "class": ["text"] * 4,
        "policy": ["fcfs", "edf"] * 2,
        "attainment": pytest.approx([0.2, 0.1625, 0.1375, 0.1625]),
    }
    standing = Standing("fcfs", 1, 1, 2, Interval(0.675, 0.6, 0.7, 8), {})
    row = ranking_table([standing], table()).iloc[0]
    assert (row["best_cells"], row["worst_share"], row["worst_cell"]) == (2, 0.2, "code 1.4 paper")
    assert (row["share_at_0.7"], row["share_on_code"]) == (0.95, pytest.approx(0.55))
    assert (row["share_of_bound"], row["share_of_bound_low"], row["less_best"]) == (0.675, 0.6, None)
