"""Orders by name."""

from __future__ import annotations

import pytest

from flowsim.policies.parts.composed import Composed
from support.situations import QUEUE, ids, situation


@pytest.mark.parametrize(
    ("order", "expected"),
    [("fcfs", [0, 1, 2, 3]), ("sjf", [3, 2, 0, 1]), ("edf", [2, 1, 0, 3]), ("sedf", [2, 1, 0, 3])],
)
def test_an_order_by_name(order: str, expected: list[int]) -> None:
    assert ids(Composed(order=order, batching="fill").choose(situation(waiting=QUEUE))) == expected
