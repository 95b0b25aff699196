"""The requests of an instance: where each is, what they hold of the KV cache, and what they add up to."""

from __future__ import annotations

import math
from typing import Any

import pytest

from flowsim.calibration.costs.predictor import SoloPredictor
from flowsim.core.ledger import Ledger, Recorder
from flowsim.core.prefix_cache import Prefixes, Retention
from flowsim.core.request import Request
from flowsim.engine.instance_requests import InstanceRequests
from flowsim.engine.kv import KVCache
from flowsim.engine.prefix_cache import PrefixCache

PREDICTOR = SoloPredictor("by hand", lambda tokens, context: tokens + 0.5 * context)


def request(id: int, tokens: int, slo_s: float, class_name: str = "text", **more: Any) -> Request:
    return Request(id, 1.0, tokens, slo_s, class_name, predicted_s=float(tokens), **more)


def held(*requests: Request, kv: KVCache | None = None) -> tuple[InstanceRequests, Ledger]:
    ledger = Ledger(len(requests))
    here = InstanceRequests(kv or KVCache(100), PREDICTOR, Recorder(ledger))
    for one in requests:
        here.add(one)
    return here, ledger


def test_a_request_waits_is_taken_starts_and_is_through() -> None:
    one = request(0, 10, 9.0)
    kv = KVCache(16)
    here, _ = held(one, kv=kv)
    assert (list(here.waiting.requests), here.work_ns) == ([0], 10_000_000_000)
    assert here.take(((one, 4),), 1.0) is None
    assert (list(here.waiting.requests), list(here.started), kv.free_tokens) == ([], [], 6)
    assert here.completed(((one, 4),), 5.0) == ()
    assert (list(here.started), one.tokens, one.context, one.predicted_s) == ([0], 6, 4, 8.0)
    assert here.take(((one, 6),), 5.0) is None
    assert here.completed(((one, 6),), 10.0) == (0,)
    assert (list(here.started), kv.free_tokens, here.work_ns) == ([], 16, 0)
    assert (here.attained, here.missed) == ({"text": 1}, {})


def test_requests_count_by_class_as_in_time_or_not_but_for_those_without_an_slo() -> None:
    late, free, rejected = request(0, 4, 1.0, "late"), request(1, 4, math.inf, "free"), request(2, 4, 9.0, "rejected")
    here, ledger = held(late, free, rejected)
    parts = ((late, 4), (free, 4))
    assert here.take(parts, 1.0) is None
    assert here.completed(parts, 2.5) == (0, 1)
    here.reject(rejected, 3.0, "policy")
    assert (here.attained, here.missed) == ({}, {"late": 1, "rejected": 1})
    assert ledger.rejected == [False, False, True]
    assert (list(here.waiting.requests), here.work_ns) == ([], 0)


def test_a_request_that_never_waited_is_rejected_by_the_limits() -> None:
    long = request(0, 4, 9.0)
    here = InstanceRequests(KVCache(2), PREDICTOR, Recorder(ledger := Ledger(1)))
    here.reject(long, 1.0, "limits")
    assert (ledger.rejected_s, here.missed, here.work_ns) == ([1.0], {"text": 1}, 0)


@pytest.mark.parametrize("tokens", [0, 11, 2.0, "2"])
def test_a_pass_computes_some_of_the_tokens_that_are_left(tokens: Any) -> None:
    one = request(0, 10, 9.0)
    wrong = held(one)[0].take(((one, tokens),), 1.0)
    assert wrong == f"chose {tokens} tokens of {one}"


def test_a_pass_takes_requests_that_are_here_and_for_which_blocks_are_free() -> None:
    one, two = request(0, 10, 9.0), request(1, 10, 9.0)
    here, _ = held(one, two, kv=KVCache(15))
    assert here.take(((one, 10), (two, 10)), 1.0) == "chose a pass for which too few KV blocks are free"
    wrong = f"chose {one}, which does not wait, or is named twice, or is rejected as well"
    assert here.take(((one, 10),), 1.0) == wrong


def test_what_a_pass_has_computed_is_cached_for_those_that_wait() -> None:
    first, second = (request(id, 5, 9.0, blocks=(7, 8), kv_tokens=6) for id in range(2))
    cache = PrefixCache(100, Prefixes(Retention(10, in_memory=True), 2))
    here, ledger = held(first, second, kv=cache)
    assert here.prefixes is here.waiting
    assert here.take(((first, 5),), 1.0) is None
    assert here.completed(((first, 5),), 2.0) == (0,)
    assert (second.cached, second.tokens, second.predicted_s) == (4, 1, 3.0)
    assert here.take(((second, 1),), 2.0) is None
    assert ledger.cached_tokens == [0, 4]
