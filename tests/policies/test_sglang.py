"""SGLang's cache-aware orders, on timelines by hand. A token takes a second; where there is a cache, it is a block."""

from __future__ import annotations

import pytest

from flowsim.errors import InputError
from flowsim.policies.registry import load_policy
from support.costs import pencil
from support.timelines import ran, run, simulated

ROWS = [(0.0, 4, 99.0), (1.0, 3, 99.0), (2.0, 9, 99.0)]
BLOCKS = [range(4), range(10, 13), [*range(4), *range(20, 25)]]
"""The third prompt begins as the first: once that is computed, five tokens of it are left."""


def order(policy: str, rows: list[tuple[float, int, float]]) -> list[int]:
    return [members for _, _, (members,), _ in ran(run(policy, *rows))]


def test_the_longest_cached_prefix_goes_first() -> None:
    outcome = run("lpm:batch_tokens=1", *ROWS, blocks=BLOCKS)
    assert ran(outcome) == [(0.0, 4.0, (0,), True), (4.0, 9.0, (2,), True), (9.0, 12.0, (1,), True)]
    for other in ("sjf:batch_tokens=1", "fcfs:batch_tokens=1", "hrrn:batch_tokens=1"):
        assert ran(run(other, *ROWS, blocks=BLOCKS))[1] == (4.0, 7.0, (1,), True)


def test_where_nothing_is_cached_the_longest_prefix_is_the_earliest() -> None:
    rows = [(0.0, 4, 99.0), (1.0, 6, 99.0), (2.0, 4, 99.0)]
    assert order("lpm:batch_tokens=1", rows) == [0, 1, 2]


def test_a_batch_ends_at_the_first_that_does_not_fit() -> None:
    outcome = run("lpm:batch_tokens=8", *ROWS, blocks=BLOCKS)
    assert ran(outcome) == [(0.0, 4.0, (0,), True), (4.0, 12.0, (2, 1), True)]


def test_tokens_served_meanwhile_count_not_seconds() -> None:
    """At 6 s, six tokens have been served since either came: 6 / 4 against 6 / 2, though one waited 5 s, one 1 s."""
    assert order("hrrn:batch_tokens=1", [(0.0, 6, 99.0), (1.0, 4, 99.0), (5.0, 2, 99.0)]) == [0, 2, 1]


def test_the_longer_a_prompt_waits_the_higher_is_its_ratio() -> None:
    """At 4 s: 4 / 6 against 4 / 4. At 8 s: 8 / 6 against 4 / 4 of the last, which came when four had been served."""
    rows = [(0.0, 4, 99.0), (1.0, 6, 99.0), (2.0, 4, 99.0), (5.0, 4, 99.0)]
    assert order("hrrn:batch_tokens=1", rows) == [0, 2, 1, 3]
    assert order("sjf:batch_tokens=1", rows) == [0, 2, 3, 1]
    assert order("fcfs:batch_tokens=1", rows) == [0, 1, 2, 3]


def test_a_pass_that_has_ended_goes_first_until_the_scheduler_hears_of_it() -> None:
    """The first ends at 1 s and is heard of at 3 s; at 2 s no token of it is left."""
    outcome = simulated(load_policy("hrrn:cut=operator"), pencil(complete_s=2.0), (0.0, 1, 99.0), (2.0, 1, 99.0))
    assert ran(outcome) == [(0.0, 1.0, (0,), True), (3.0, 4.0, (1,), True)]


def test_once_more_wait_than_are_sorted_the_other_order_holds() -> None:
    """At 4 s two wait, at the next completion one: from 4 s on the earlier of two goes first, or the shorter."""
    assert ran(run("lpm:batch_tokens=1,most_sorted=1", *ROWS, blocks=BLOCKS))[1] == (4.0, 7.0, (1,), True)
    rows = [(0.0, 4, 99.0), (1.0, 6, 99.0), (2.0, 4, 99.0), (5.0, 4, 99.0)]
    assert order("hrrn:batch_tokens=1,most_sorted=1", rows) == [0, 1, 2, 3]
    assert order("hrrn:batch_tokens=1,most_sorted=1,order=sjf", rows) == [0, 2, 3, 1]
    many = [(0.0, 1, 999.0), *[(0.5, 2, 999.0)] * 128, (0.75, 1, 999.0)]
    assert order("hrrn:batch_tokens=1", many)[1] == 1  # 129 wait at 1 s
    assert order("hrrn:batch_tokens=1", many)[2] == 129
    assert order("hrrn:batch_tokens=1", many[:1] + many[2:])[1] == 128  # 128 wait
    with pytest.raises(InputError, match="option most_sorted must be >= 1, got 0"):
        load_policy("lpm:most_sorted=0")
