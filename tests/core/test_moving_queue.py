"""Ranks that change with time."""

from __future__ import annotations

import math

from flowsim.core.queues import UNBOUNDED
from flowsim.core.request import Request
from support.orders import ORDERS


def test_a_flip_is_due_at_its_very_time() -> None:
    first, second = Request(0, 0.0, 1, 5.0, predicted_s=2.0), Request(1, 0.0, 1, 9.0, predicted_s=2.0)
    queue = ORDERS["s-edf"].queue()
    queue.add(first)
    queue.add(second)
    assert queue.after(2.9, None, UNBOUNDED) is first
    assert queue.after(3.0, None, UNBOUNDED) is second
    assert queue.after(3.0, second, UNBOUNDED) is first
    assert queue.after(7.0, None, UNBOUNDED) is second  # both late: the later deadline first


def test_ties_go_to_the_earlier_arrival_also_where_that_has_the_higher_id() -> None:
    """As with a jitter, or in a closed loop; with no SLO the slacks are infinite."""
    late, early = Request(0, 2.0, 1, math.inf), Request(1, 1.0, 1, math.inf)
    queue = ORDERS["policies' llf"].queue()
    queue.add(early)
    queue.add(late)
    assert queue.after(3.0, None, UNBOUNDED) is early
    assert queue.after(3.0, early, UNBOUNDED) is late
    assert queue.after(3.0, late, UNBOUNDED) is None
