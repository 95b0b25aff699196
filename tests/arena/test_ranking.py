"""The ranking, on shares of the bound that are made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from flowsim.arena.ranking import share_series, standings


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


def test_a_score_is_a_share_and_so_is_its_interval() -> None:
    (standing,) = standings({"fcfs": [hits(0.9, 1, 100) / 0.94]}, "fcfs")  # nobody attains more than 94 %
    assert 0.8 < standing.score.low < standing.score.mean < standing.score.high == 1


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
    assert not any(standing.few for standing in found)  # this difference may be chance, so no rank rests on it


def test_a_rank_that_rests_on_few_stretches_is_marked() -> None:
    queues = np.repeat([0.0, 1.0] * 4, 250)
    found = standings({"a": [np.ones(2000)], "flowprefill": [queues]}, "flowprefill")
    assert [(standing.low, standing.high, standing.few) for standing in found] == [(1, 1, True), (2, 2, True)]
