"""Strict priorities, by hand."""

from __future__ import annotations

from flowsim.core.request import Request
from flowsim.policies.fcfs import FCFS
from flowsim.policies.priority import Priority
from support.situations import ids, situation

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
