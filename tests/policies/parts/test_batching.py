"""Batchings by name: who joins the head of a batch."""

from __future__ import annotations

import pytest

from flowsim.core.request import Request
from flowsim.policies.parts.composed import Composed
from support.situations import QUEUE, ids, situation


@pytest.mark.parametrize(
    ("batching", "expected"),
    [("none", [0]), ("order", [0]), ("fill", [0, 2, 3]), ("slo", [0, 2, 3])],
)
def test_a_batching_by_name(batching: str, expected: list[int]) -> None:
    """Up to 8 tokens; the second prompt has 9."""
    policy = Composed(batching=batching, batch_tokens=8)
    assert ids(policy.choose(situation(waiting=QUEUE))) == expected


def test_a_batch_in_order_ends_at_the_first_that_does_not_fit() -> None:
    policy = Composed(batching="order", batch_tokens=13)
    assert ids(policy.choose(situation(waiting=QUEUE))) == [0, 1]
    assert ids(policy.choose(situation(waiting=QUEUE, kv_tokens=12))) == [0]
    assert ids(Composed(batching="order", batch_requests=3).choose(situation(waiting=QUEUE))) == [0, 1, 2]


def test_a_head_that_has_begun_leads_a_batch_too() -> None:
    begun = Request(9, 0.0, 5, 10.0, context=3)
    policy = Composed(order="edf", batching="fill", batch_tokens=4)
    assert ids(policy.choose(situation(waiting=QUEUE, started=[begun]))) == [9, 2]
