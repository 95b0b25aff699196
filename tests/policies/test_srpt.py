"""Shortest remaining prefill time, on timelines by hand. A token takes a second, cuts lie 2 s apart in 10 tokens."""

from __future__ import annotations

from flowsim.core.request import Request
from flowsim.policies.sjf import SJF
from flowsim.policies.srpt import SRPT
from support.situations import ids, situation
from support.timelines import ran, run

ROWS = [(0.0, 10, 99.0), (1.0, 9, 12.0), (1.0, 5, 6.0)]


def test_what_has_less_left_is_not_preempted() -> None:
    """At the cut at 2 s 8 are left of the first: fewer than 9, more than 5."""
    assert ran(run("srpt", *ROWS)) == [
        (0.0, 2.0, (0,), False),
        (2.0, 7.0, (2,), True),
        (7.0, 15.0, (0,), True),
        (15.0, 24.0, (1,), True),
    ]


def test_time_is_not_tokens() -> None:
    """The fewer tokens have the longer context, and take longer."""
    few, many = (Request(0, 0.0, 50, 99.0, context=46, predicted_s=9.0), Request(1, 0.0, 5, 99.0, predicted_s=5.0))
    view = situation(waiting=[many], started=[few])
    assert ids(SRPT().choose(view)) == [1]
    assert ids(SJF(batch_tokens=1).choose(view)) == [0]


def test_those_that_can_make_it_go_before_shorter_ones_that_cannot() -> None:
    """The third has no slack left when it arrives, and the second, with slack, goes before it."""
    rows = [(0.0, 10, 99.0), (1.0, 6, 12.0), (1.0, 5, 5.0)]
    assert ran(run("srpt", *rows))[1][2] == (2,)
    assert ran(run("feasible-srpt", *rows)) == [
        (0.0, 2.0, (0,), False),
        (2.0, 8.0, (1,), True),
        (8.0, 16.0, (0,), True),
        (16.0, 21.0, (2,), True),
    ]


def test_of_those_that_can_make_it_the_shortest_goes_first_not_the_earliest() -> None:
    rows = [(0.0, 5, 20.0), (0.0, 3, 30.0)]
    assert ran(run("feasible-srpt", *rows))[0] == (0.0, 3.0, (1,), True)
    assert ran(run("edf", *rows))[0] == (0.0, 5.0, (0,), True)
