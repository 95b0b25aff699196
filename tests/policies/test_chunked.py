"""Chunked prefill, in situations made by hand."""

from __future__ import annotations

from flowsim.core.passes import Pass
from flowsim.core.request import Request
from flowsim.policies.chunked import Chunked
from support.situations import request, situation


def test_chunked_fills_a_budget_with_begun_prompts_first() -> None:
    begun = Request(5, 0.0, 10, 1000.0, context=7)
    queue = [request(6, 4), request(7, 9), request(8, 1)]
    view = situation(waiting=queue, started=[begun])
    assert Chunked(12).choose(view) == Pass(((begun, 3), (queue[0], 4), (queue[1], 5)))
    assert Chunked(2).choose(view) == Pass(((begun, 2),))
    tight = situation(waiting=queue, started=[begun], kv_tokens=18)
    assert Chunked(12).choose(tight) == Pass(((begun, 3), (queue[0], 4)))
    assert Chunked(12).choose(situation()) is None
