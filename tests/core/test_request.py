"""A request: what it asks for, and how far it has got."""

from __future__ import annotations

from flowsim.core.request import Request


def test_a_prompt_takes_whole_blocks_and_is_due_after_its_arrival() -> None:
    request = Request(7, 2.0, 17, 0.5, "text", block_tokens=16)
    assert (request.deadline_s, request.kv_tokens, request.tokens, request.context) == (2.5, 32, 17, 0)
    assert repr(request) == "Request(7, arrived 2.000 s, due 2.500 s, 0 of 17 tokens computed)"
    assert not request.begun


def test_cached_tokens_are_in_its_context_but_do_not_begin_it() -> None:
    request = Request(0, 0.0, 17, 1.0)
    request.reuse(16)
    assert (request.cached, request.context, request.tokens, request.begun) == (16, 16, 1, False)
    assert repr(request).endswith("16 of 17 tokens computed, 16 of them cached)")
    request.context, request.tokens = 17, 0
    assert request.begun
