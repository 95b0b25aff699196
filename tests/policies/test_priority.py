"""Strict priorities, by hand. A token takes a second."""

from __future__ import annotations

from flowsim.core.request import Request
from flowsim.policies.fcfs import FCFS
from flowsim.policies.priority import Priority
from support.situations import ids, situation
from support.timelines import ran, run

QUEUE = [
    Request(0, 0.0, 3, 99.0, priority=1, predicted_s=3.0),
    Request(1, 1.0, 9, 99.0, priority=1, predicted_s=9.0),
    Request(2, 2.0, 4, 99.0, priority=0, predicted_s=4.0),
    Request(3, 3.0, 1, 99.0, priority=2, predicted_s=1.0),
]


def test_the_smallest_value_goes_first_then_the_earliest() -> None:
    view = situation(now=4.0, waiting=QUEUE)
    assert ids(Priority().choose(view)) == [2, 0, 1, 3]
    assert ids(FCFS().choose(view)) == [0, 1, 2, 3]


def test_the_batch_ends_at_the_first_that_does_not_fit() -> None:
    assert ids(Priority(batch_tokens=8).choose(situation(now=4.0, waiting=QUEUE))) == [2, 0]


def test_within_a_priority_the_shortest_goes_first() -> None:
    """All but the first wait at 5 s; `priority` takes the earlier of two of priority 1, `sjf` the last."""
    rows = [(0.0, 5, 99.0), (1.0, 9, 99.0), (2.0, 3, 99.0), (3.0, 4, 99.0), (4.0, 1, 99.0)]
    outcome = run("wspt:batch_tokens=1", *rows, priorities=[0, 1, 1, 0, 2])
    assert ran(outcome) == [
        (0.0, 5.0, (0,), True),
        (5.0, 9.0, (3,), True),
        (9.0, 12.0, (2,), True),
        (12.0, 21.0, (1,), True),
        (21.0, 22.0, (4,), True),
    ]
    for name, then in [("priority", [3, 1, 2, 4]), ("sjf", [4, 2, 3, 1])]:
        stretches = ran(run(f"{name}:batch_tokens=1", *rows, priorities=[0, 1, 1, 0, 2]))
        assert [members for _, _, (members,), _ in stretches] == [0, *then]
