"""PREFLOW's order, on timelines by hand. A token takes a second, W(x) = x (x + 1) / 2."""

from __future__ import annotations

import pytest

from flowsim.core.request import Request
from flowsim.errors import InputError
from flowsim.policies.preflow import work
from flowsim.policies.registry import load_policy
from flowsim.policies.srpt import SRPT
from support.situations import ids, situation
from support.timelines import ran, run


def order(policy: str, rows: list[tuple[float, int, float]]) -> list[int]:
    return [members for _, _, (members,), _ in ran(run(policy, *rows))]


def test_the_work_of_tokens_grows_with_their_context() -> None:
    assert [work(4, 0), work(4, 4), work(8, 0)] == [10, 26, 36]


def test_the_work_of_the_whole_prompt_counts_too() -> None:
    """At 4 s: 36 x 26 = 936, of an age of 10 / 36, against 21 x 21 = 441, though four tokens are fewer than six."""
    rows = [(0.0, 8, 99.0), (1.0, 6, 99.0)]
    assert ran(run("preflow:4", *rows)) == [
        (0.0, 4.0, (0,), True),
        (4.0, 8.0, (1,), True),
        (8.0, 10.0, (1,), True),
        (10.0, 14.0, (0,), True),
    ]
    begun, other = Request(0, 0.0, 8, 99.0, context=4, predicted_s=4.0), Request(1, 1.0, 6, 99.0, predicted_s=6.0)
    assert ids(SRPT().choose(situation(started=[begun], waiting=[other]))) == [0]


def test_a_prompt_ages_as_others_are_served() -> None:
    """At 8 s, W(4) = 10 has been served twice since the second came, and once since the last: 20 / 21 and 10 / 15.

    21 x 21 = 441 against 15 x 15 = 225, or .97 doublings; the ages differ by .29, which is less than .97 of the usual
    doubling, 2, and more than .97 of .25.
    """
    rows = [(0.0, 4, 99.0), (0.0, 6, 99.0), (0.0, 4, 99.0), (5.0, 5, 99.0)]
    assert order("preflow", rows) == [0, 2, 3, 1]
    assert order("preflow:age_priority_double=0.25", rows) == [0, 2, 1, 3]
    assert order("sjf:batch_tokens=1", rows) == [0, 2, 3, 1]


def test_the_work_at_arrival_stays_what_it_was_when_blocks_are_cached_later() -> None:
    """At 4 s the second has 4 of its 8 tokens cached: 36 x 26 = 936 against 28 x 28 = 784; 26 x 26 would be less.

    Ages, 10 / 36 and 10 / 28, take a tenth off either.
    """
    rows, own = [(0.0, 4, 99.0), (1.0, 8, 99.0), (2.0, 7, 99.0)], range(4)
    blocks = [own, [*own, *range(10, 14)], range(20, 27)]
    outcome = run("preflow", *rows, blocks=blocks)
    assert ran(outcome) == [(0.0, 4.0, (0,), True), (4.0, 11.0, (2,), True), (11.0, 15.0, (1,), True)]
    later = [*rows[:1], (4.0, 1, 99.0), (4.5, 8, 99.0), (4.5, 7, 99.0)]  # cached when it arrives: 26 x 26
    outcome = run("preflow", *later, blocks=[own, [30], *blocks[1:]])
    assert ran(outcome)[2:] == [(5.0, 9.0, (2,), True), (9.0, 16.0, (3,), True)]


@pytest.mark.parametrize("text", ["age_priority_double=0", "age_priority_double=inf", "budget=0"])
def test_what_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=f"option {text.partition('=')[0]}"):
        load_policy(f"preflow:{text}")
