"""A request: what it asks for, and how far it has got."""

from __future__ import annotations

from typing import Any

import pytest

from flowsim.core.request import Request, reuse


def test_a_prompt_takes_the_blocks_it_is_given_and_is_due_after_its_arrival() -> None:
    request = Request(7, 2.0, 17, 0.5, "text", kv_tokens=32)
    assert (request.deadline_s, request.kv_tokens, request.tokens, request.context) == (2.5, 32, 17, 0)
    assert repr(request) == "Request(7, arrived 2.000 s, due 2.500 s, 0 of 17 tokens computed)"
    assert not request.begun


def test_cached_tokens_are_in_its_context_but_do_not_begin_it() -> None:
    request = Request(0, 0.0, 17, 1.0)
    reuse(request, 16)
    assert (request.cached, request.context, request.tokens, request.begun) == (16, 16, 1, False)
    assert repr(request).endswith("16 of 17 tokens computed, 16 of them cached)")
    assert Request(0, 0.0, 17, 1.0, cached=16, context=17).begun


def test_a_request_is_read_only() -> None:
    request: Any = Request(0, 0.0, 17, 1.0)
    for name in ("tokens", "deadline_s", "no_such_name"):
        with pytest.raises(AttributeError):
            setattr(request, name, 1)
    assert request.tokens == 17
