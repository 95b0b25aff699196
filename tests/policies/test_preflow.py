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


def test_a_prompt_that_has_begun_goes_before_shorter_ones() -> None:
    rows = [(0.0, 8, 99.0), (1.0, 2, 99.0)]
    assert ran(run("preflow:budget=4,small=0", *rows)) == [
        (0.0, 4.0, (0,), True),
        (4.0, 8.0, (0,), True),
        (8.0, 10.0, (1,), True),
    ]
    begun, other = Request(0, 0.0, 8, 99.0, context=4, predicted_s=4.0), Request(1, 1.0, 2, 99.0, predicted_s=2.0)
    assert ids(SRPT().choose(situation(started=[begun], waiting=[other]))) == [1]


def test_small_prompts_and_small_rests_share_a_step() -> None:
    """The first has four tokens, one too many. The two of two tokens leave no room for three."""
    rows = [(0.0, 4, 99.0), (1.0, 3, 99.0), (2.0, 2, 99.0), (3.0, 5, 99.0), (3.0, 2, 99.0)]
    assert ran(run("preflow:budget=6,small=3", *rows)) == [
        (0.0, 4.0, (0,), True),
        (4.0, 8.0, (2, 4), True),
        (8.0, 11.0, (1,), True),
        (11.0, 16.0, (3,), True),
    ]
    rest = [(0.0, 8, 99.0), (1.0, 2, 99.0), (2.0, 5, 99.0)]
    assert ran(run("preflow:budget=6,small=3", *rest)) == [
        (0.0, 6.0, (0,), True),
        (6.0, 10.0, (0, 1), True),
        (10.0, 15.0, (2,), True),
    ]
    few_blocks = run("preflow:budget=6,small=3", *rest, kv_tokens=9)
    assert [members for *_, members, _ in ran(few_blocks)] == [(0,), (0,), (1,), (2,)]


def test_a_prompt_ages_by_what_is_launched_after_it_came() -> None:
    """At 8 s the second has aged by 20 / 21, and the last, which came while the third was computed, has not.

    21 x 21 = 441 against 15 x 15 = 225, or .97 doublings; the ages differ by .95: 1.9 times a doubling of .5, and .48
    of 2.
    """
    rows = [(0.0, 4, 99.0), (0.0, 6, 99.0), (0.0, 4, 99.0), (5.0, 5, 99.0)]
    assert order("preflow:age_priority_double=2,small=0", rows) == [0, 2, 3, 1]
    assert order("preflow:age_priority_double=0.5,small=0", rows) == [0, 2, 1, 3]
    assert order("sjf:batch_tokens=1", rows) == [0, 2, 3, 1]


def test_the_work_at_arrival_stays_what_it_was_when_blocks_are_cached_later() -> None:
    """At 4 s the second has 4 of its 8 tokens cached: 36 x 26 = 936 against 28 x 28 = 784; 26 x 26 would be less.

    Neither ages by what was launched before it came.
    """
    rows, own = [(0.0, 4, 99.0), (1.0, 8, 99.0), (2.0, 7, 99.0)], range(4)
    blocks = [own, [*own, *range(10, 14)], range(20, 27)]
    outcome = run("preflow:small=0", *rows, blocks=blocks)
    assert ran(outcome) == [(0.0, 4.0, (0,), True), (4.0, 11.0, (2,), True), (11.0, 15.0, (1,), True)]
    later = [*rows[:1], (4.0, 1, 99.0), (4.5, 8, 99.0), (4.5, 7, 99.0)]  # cached when it arrives: 26 x 26
    outcome = run("preflow:small=0", *later, blocks=[own, [30], *blocks[1:]])
    assert ran(outcome)[2:] == [(5.0, 9.0, (2,), True), (9.0, 16.0, (3,), True)]


@pytest.mark.parametrize("text", ["age_priority_double=0", "age_priority_double=inf", "budget=0", "small=-1"])
def test_what_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=f"option {text.partition('=')[0]}"):
        load_policy(f"preflow:{text}")
