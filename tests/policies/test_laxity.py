"""Least laxity first, absolute and relative, on timelines by hand. A token takes a second."""

from __future__ import annotations

from support.timelines import ran, run


def test_the_least_slack_goes_before_the_earliest_deadline() -> None:
    """Slack at 0 s: 10 - 2 = 8 against 12 - 9 = 3."""
    rows = [(0.0, 2, 10.0), (0.0, 9, 12.0)]
    assert ran(run("llf", *rows)) == [(0.0, 9.0, (1,), True), (9.0, 11.0, (0,), True)]
    assert ran(run("edf", *rows)) == [(0.0, 2.0, (0,), True), (2.0, 11.0, (1,), True)]


def test_the_running_one_keeps_its_slack_while_the_others_lose_theirs() -> None:
    """At 1 s the first has 20 - 10 = 10 left of slack, the second 1 + 9 - 5 - 1 = 4: it preempts at 2 s."""
    rows = [(0.0, 10, 20.0), (1.0, 5, 9.0), (1.0, 2, 30.0)]
    assert ran(run("llf", *rows)) == [
        (0.0, 2.0, (0,), False),
        (2.0, 7.0, (1,), True),
        (7.0, 15.0, (0,), True),
        (15.0, 17.0, (2,), True),
    ]


def test_the_late_go_first() -> None:
    rows = [(0.0, 4, 8.0), (0.0, 9, 5.0)]
    assert ran(run("llf", *rows))[0] == (0.0, 9.0, (1,), True)
    assert ran(run("feasible-srpt", *rows))[0] == (0.0, 4.0, (0,), True)


def test_slack_counts_relative_to_the_whole_prompt() -> None:
    """Slack at 0 s: 25 - 10 = 15 of 10 s against 8 - 2 = 6 of 2 s."""
    rows = [(0.0, 10, 25.0), (0.0, 2, 8.0)]
    assert ran(run("lars", *rows)) == [(0.0, 10.0, (0,), True), (10.0, 12.0, (1,), True)]
    for other in ("llf", "edf"):
        assert ran(run(other, *rows))[0] == (0.0, 2.0, (1,), True)


def test_the_work_is_that_of_the_whole_prompt_not_of_what_is_left() -> None:
    """At 1 s the first has 10 s of slack for 10 s of work, 9 of them left; the second has 3.2 s, or 2.9 s, for 3 s."""
    rows = [(0.0, 10, 20.0), (1.0, 3, 6.2)]
    assert ran(run("lars:cut=operator", *rows)) == [(0.0, 10.0, (0,), True), (10.0, 13.0, (1,), True)]
    rows = [(0.0, 10, 20.0), (1.0, 3, 5.9)]
    assert ran(run("lars:cut=operator", *rows)) == [
        (0.0, 2.0, (0,), False),
        (2.0, 5.0, (1,), True),
        (5.0, 13.0, (0,), True),
    ]
    assert ran(run("edf:order=lars", *rows)) == ran(run("lars:cut=operator", *rows))
