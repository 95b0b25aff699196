"""Ranks that change with time."""

from __future__ import annotations

from flowsim.core.queues import UNBOUNDED
from flowsim.core.request import Request
from support.orders import ORDERS


def test_a_flip_is_due_at_its_very_time() -> None:
    first, second = Request(0, 0.0, 1, 5.0, predicted_s=2.0), Request(1, 0.0, 1, 9.0, predicted_s=2.0)
    queue = ORDERS["s-edf"].queue([first, second])
    queue.add(first)
    queue.add(second)
    assert queue.after(2.9, None, UNBOUNDED) is first
    assert queue.after(3.0, None, UNBOUNDED) is second
    assert queue.after(3.0, second, UNBOUNDED) is first
    assert queue.after(7.0, None, UNBOUNDED) is second  # both late: the later deadline first
