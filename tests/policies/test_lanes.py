"""Queues by prompt length, on timelines by hand. A token takes a second."""

from __future__ import annotations

import math

import pytest

from flowsim.core.request import Request
from flowsim.errors import InputError
from flowsim.policies.lanes import LAPS, Lanes
from support.situations import executing, ids, request, situation
from support.timelines import ran, run

ROWS = [(0.0, 6, 99.0), (1.0, 9, 99.0), (2.0, 4, 99.0), (3.0, 3, 99.0), (4.0, 4, 99.0)]
LANES = "lanes:budget=4,threshold=4"


def test_short_prompts_go_before_long_ones_and_what_has_begun_before_both() -> None:
    """Chunks of 4 s. The first prompt ends at 6 s, then come 2, 3 and 4, in order of arrival, not of length."""
    assert ran(run(f"{LANES},promote=inf", *ROWS)) == [
        (0.0, 4.0, (0,), True),
        (4.0, 8.0, (0, 2), True),
        (8.0, 12.0, (2, 3), True),
        (12.0, 16.0, (3, 4), True),
        (16.0, 20.0, (4, 1), True),
        (20.0, 24.0, (1,), True),
        (24.0, 26.0, (1,), True),
    ]
    assert ran(run("chunked:4", *ROWS))[1] == (4.0, 8.0, (0, 1), True)


def test_a_long_prompt_that_has_waited_goes_first() -> None:
    """At 8 s the second prompt has waited for 7 s."""
    assert [members for *_, members, _ in ran(run(f"{LANES},promote=7", *ROWS))][:4] == [(0,), (0, 2), (2, 1), (1,)]
    assert [members for *_, members, _ in ran(run(f"{LANES},promote=7.5", *ROWS))][:4] == [(0,), (0, 2), (2, 3), (3, 1)]
    assert Lanes(promote=0.0).choose(situation(waiting=[request(0, 9), request(1, 300)])) is not None


def test_laps_waits_for_a_window_or_a_full_batch() -> None:
    """The first two wait until 5 s, the next three until there are three of them."""
    rows = [(0.0, 2, 99.0), (1.0, 2, 99.0), (12.0, 2, 99.0), (13.0, 2, 99.0), (14.0, 2, 99.0)]
    outcome = run("laps:threshold=4,window=5,depth=3", *rows)
    assert ran(outcome) == [(5.0, 9.0, (0, 1), True), (14.0, 20.0, (2, 3, 4), True)]
    assert ran(run("laps:threshold=4,window=0,depth=3", *rows))[0] == (0.0, 2.0, (0,), True)


def test_long_prompts_run_meanwhile_each_alone() -> None:
    rows = [(0.0, 2, 99.0), (1.0, 8, 99.0), (1.0, 5, 99.0), (2.0, 2, 99.0)]
    assert ran(run("laps:threshold=4,window=5,depth=3", *rows)) == [
        (1.0, 9.0, (1,), True),
        (9.0, 13.0, (0, 3), True),
        (13.0, 18.0, (2,), True),
    ]


def test_a_prompt_is_short_by_what_is_left_to_compute_in_laps_and_by_its_length_in_lanes() -> None:
    cached, short = Request(0, 0.0, 20, 99.0, cached=17, context=17), request(1, 4, arrival_s=1.0)
    view = situation(now=50.0, waiting=[cached, short])
    assert ids(LAPS(threshold=4).choose(view)) == [0, 1]  # type: ignore[arg-type]
    assert ids(Lanes(threshold=4, promote=math.inf).choose(view)) == [1, 0]


def test_a_batch_takes_only_what_has_kv_blocks() -> None:
    queue = [request(0, 4), request(1, 4), request(2, 4)]
    view = situation(now=50.0, waiting=queue, kv_tokens=9)
    assert ids(LAPS(threshold=4).choose(view)) == [0, 1]  # type: ignore[arg-type]
    full = situation(now=50.0, waiting=queue, running=executing(request(9, 9)), kv_tokens=9)
    assert LAPS(threshold=4).choose(full) is None


@pytest.mark.parametrize("make", [lambda: Lanes(promote=-1.0), lambda: LAPS(window=-1.0), lambda: LAPS(depth=0)])
def test_options_are_checked(make: object) -> None:
    with pytest.raises(InputError, match="must be >= "):
        make()  # type: ignore[operator]
