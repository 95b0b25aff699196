"""The KV cache of an instance: whole blocks, taken and given back."""

from __future__ import annotations

from flowsim.core.request import Request
from flowsim.engine.kv import KVCache, taken_tokens, whole_blocks


def test_only_whole_blocks_count() -> None:
    assert [whole_blocks(tokens, 16) for tokens in (0, 15, 16, 47, 48)] == [0, 0, 16, 32, 48]


def test_a_request_takes_its_blocks_if_they_are_free_and_nothing_otherwise() -> None:
    kv = KVCache(48)
    first, second = (Request(i, 0.0, 17, 1.0, kv_tokens=taken_tokens(17, 16)) for i in range(2))
    assert kv.take(first)
    assert kv.free_tokens == 16
    assert not kv.take(second)
    assert (kv.free_tokens, kv.capacity_tokens) == (16, 48)
    kv.give_back(first)
    assert kv.take(second)


def test_a_prompt_takes_whole_blocks() -> None:
    assert [taken_tokens(tokens, 16) for tokens in (1, 16, 17, 48)] == [16, 16, 32, 48]
