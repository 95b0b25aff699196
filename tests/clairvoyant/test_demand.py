"""What requests need at least: by hand, and never more than any pass takes."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.pass_costs import PassCosts
from flowsim.calibration.costs.power import PowerModel
from flowsim.clairvoyant.demand import Least, demand
from flowsim.core.pass_timeline import Slice
from flowsim.core.prefix_cache import Prefixes, Retention
from flowsim.core.request import Request
from flowsim.core.server import ServerOptions
from flowsim.runs.costs import load_cost
from support.costs import pencil, random_cost

SERVER = ServerOptions(block_tokens=1)


def test_a_token_of_pencil_costs_needs_a_second_in_each_layer() -> None:
    needs = demand([Request(0, 0.0, 10, 50.0), Request(1, 1.0, 3, 50.0)], pencil(layers=2, head_s=5.0), SERVER)
    # 4/5 of a second per token in linear operators; attention costs least per pair in the largest pass that there is.
    assert needs.work_s == pytest.approx([2 * 10 * 0.8, 2 * 3 * 0.8], rel=2e-3)
    assert needs.ttft_s == pytest.approx([16.0, 7.0], rel=2e-3)  # no less than one token with its head
    assert needs.gained_s == 0


def test_cached_blocks_need_nothing_if_another_request_brings_them_in_time() -> None:
    def request(id: int, arrival_s: float, blocks: tuple[int, ...], slo_s: float = 10.0) -> Request:
        return Request(id, arrival_s, 9, slo_s, blocks=blocks)

    requests = [request(0, 0, (1, 2)), request(1, 5, (1, 3)), request(2, 20, (1, 2)), request(3, 21, (9, 8))]
    needs = demand(requests, pencil(), SERVER, Prefixes(Retention(math.inf, in_memory=False), block_tokens=4))
    tokens = [9 - 4, 9 - 4, 9 - 8, 9]  # block 1 for the first two, from each other; block 2 is at hand for the third
    assert needs.work_s == pytest.approx(0.8 * np.array(tokens), rel=2e-2)


@given(st.integers(0, 10_000), st.lists(st.tuples(st.integers(1, 600), st.integers(0, 2000)), min_size=1, max_size=5))
def test_no_pass_takes_less_than_its_members_need(seed: int, parts: list[tuple[int, int]]) -> None:
    costs, server = random_cost(np.random.default_rng(seed)), ServerOptions(max_batched_tokens=1024)
    least = Least(costs, server)
    needed_s = sum(least.work_s(*part) for part in parts)
    taken_s = PassCosts(costs, server, "none").timeline([Slice(*part) for part in parts]).device_s
    assert needed_s <= taken_s * (1 + 1e-9)


@cache
def measured(model: str) -> tuple[CostModel, Least]:
    """The costs of a model as they were measured, and the least that they are reckoned to be."""
    costs = load_cost(None, model, "h200", 1)
    return costs, Least(costs, ServerOptions())


@pytest.mark.parametrize("model", ["llama3-8b", "qwen3-32b"])
@settings(max_examples=30)
@given(data=st.data())
def test_no_pass_of_a_measured_table_takes_less(model: str, data: st.DataObject) -> None:
    costs, least = measured(model)
    sizes = st.tuples(st.integers(1, 9_000), st.integers(0, 30_000))
    parts = data.draw(st.lists(sizes, min_size=1, max_size=4))
    needed_s = sum(least.work_s(*part) for part in parts)
    for chunk in (512, 8192):
        server = ServerOptions(max_batched_tokens=chunk)
        taken_s = PassCosts(costs, server, "none").timeline([Slice(*part) for part in parts]).device_s
        assert needed_s <= taken_s * (1 + 1e-9)
    alone = PassCosts(costs, ServerOptions(), "none")
    assert all(least.ttft_s(*part) <= alone.solo_s(*part) + 1e-12 for part in parts)


@given(
    st.lists(st.tuples(st.floats(0, 0.3), st.floats(1e-3, 0.5)), min_size=1, max_size=12),
    st.floats(0.01, 0.2),
    st.floats(0.3, 0.8),
)
def test_a_rested_gpu_gains_no_more_than_is_reckoned_with(
    stretches: list[tuple[float, float]], gain: float, threshold: float
) -> None:
    boost = PowerModel(0.05, threshold, lambda tokens: gain)
    gained_s = Least(pencil(boost=boost), SERVER).gained_s
    assert gained_s == pytest.approx(0.05 * gain * (math.log(1 / (1 - threshold)) + 1))
    use, now_s, done_s, starts = 0.0, 0.0, 0.0, []
    for idle_s, work_s in stretches:
        use, now_s = boost.rested(use, idle_s), now_s + idle_s
        starts.append((now_s, done_s))
        profile = boost.profile(use, tokens=1024)
        taken_s = profile.real_s(work_s)
        use, now_s, done_s = profile.use_after(taken_s), now_s + taken_s, done_s + work_s
        assert all(done_s - before_s <= now_s - start_s + gained_s + 1e-9 for start_s, before_s in starts)


@pytest.mark.parametrize("model", ["llama3-8b", "qwen3-30b-a3b"])
@settings(max_examples=40)
@given(tokens=st.integers(1, 30_000), context=st.integers(0, 5_000), budget=st.integers(2, 64).map(lambda n: 128 * n))
def test_no_way_of_running_a_prompt_is_faster(model: str, tokens: int, context: int, budget: int) -> None:
    """In chunks of any size, each a pass of its own."""
    (costs, least), taken_s = measured(model), 0.0
    for begin in range(0, tokens, budget):
        taken_s += costs.forward_s(min(budget, tokens - begin), context + begin)
    assert least.ttft_s(tokens, context) <= taken_s
    assert least.ttft_s(tokens, context) <= least.ttft_s(tokens + context, 0)
