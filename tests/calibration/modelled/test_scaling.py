"""What is scaled, and what stays."""

from __future__ import annotations

from functools import cache

import pytest
from msgspec.structs import replace

from flowsim.calibration.costs.fit import fit_passes
from flowsim.calibration.costs.gpus import Gpu, catalogue
from flowsim.calibration.costs.models import load_model
from flowsim.calibration.costs.table_catalogue import load_table
from flowsim.calibration.modelled.scaling import Scaling
from flowsim.errors import InputError

H200, LLAMA = catalogue()["h200"], load_model("llama3-8b")
PRODUCTS = ("qkv_proj", "o_proj", "gate_up_proj", "down_proj", "head")
FREE = replace(H200, bandwidth_tb_s=1e6)
"""A GPU on which moving costs nothing."""


@cache
def scaling(target: Gpu) -> Scaling:
    return Scaling(H200, [load_table("h200", "llama3-8b")], target)


def cost(target: Gpu, operator: str, tokens: int, context: int = 0) -> float:
    return scaling(target).cost(LLAMA, operator)(tokens, context)


@pytest.mark.parametrize("tokens", [1, 100, 4096])
def test_on_the_same_gpu_a_measured_shape_costs_what_was_measured(tokens: int) -> None:
    measured = fit_passes(load_table("h200", "llama3-8b"))
    for name in set(LLAMA.operators) - {"attention"}:
        assert cost(H200, name, tokens) == pytest.approx(measured.device[name](tokens), rel=1e-9)
    assert cost(H200, "attention", tokens, 8192) == pytest.approx(measured.attention(tokens, 8192), rel=1e-9)


@pytest.mark.parametrize("operator", PRODUCTS)
def test_products_take_half_as_long_at_twice_the_rates(operator: str) -> None:
    twice = replace(H200, bf16_tflops=2 * H200.bf16_tflops, bandwidth_tb_s=2 * H200.bandwidth_tb_s)
    for tokens in (1, 64, 4096):
        assert cost(twice, operator, tokens) == pytest.approx(cost(H200, operator, tokens) / 2)


def test_few_rows_follow_the_bandwidth_and_many_the_peak() -> None:
    slow_memory = replace(H200, bandwidth_tb_s=H200.bandwidth_tb_s / 2)
    slow_cores = replace(H200, bf16_tflops=H200.bf16_tflops / 2)
    for gpu, few, many in ((slow_memory, 2.0, 1.0), (slow_cores, 1.0, 2.0)):
        assert cost(gpu, "down_proj", 1) == pytest.approx(few * cost(H200, "down_proj", 1))
        assert cost(gpu, "down_proj", 8192) == pytest.approx(many * cost(H200, "down_proj", 8192))


def test_the_latency_of_attention_stays() -> None:
    slow = replace(H200, bf16_tflops=H200.bf16_tflops / 10, bandwidth_tb_s=H200.bandwidth_tb_s / 10)
    one, long = cost(H200, "attention", 1), cost(H200, "attention", 8192)
    assert cost(slow, "attention", 1) == pytest.approx(one)
    assert cost(slow, "attention", 8192) == pytest.approx(one + 10 * (long - one))


def test_moving_follows_the_multiprocessors_and_the_memory_bounds_it() -> None:
    half = replace(H200, multiprocessors=H200.multiprocessors // 2)
    least, whole = cost(H200, "activation", 1), cost(H200, "activation", 8192)
    assert cost(half, "activation", 8192) == pytest.approx(least + 2 * (whole - least))
    assert cost(FREE, "activation", 8192) == pytest.approx(whole)  # no faster: the memory did not bind it
    narrow = replace(H200, bandwidth_tb_s=0.1)
    bytes_moved = 8192 * 5 * LLAMA.intermediate * 2
    assert cost(narrow, "activation", 8192) > bytes_moved / 0.1e12


def test_nearer_shapes_count_more() -> None:
    near, far = (load_table("h200", name) for name in ("qwen3-8b", "llama3-70b"))
    both, alone = Scaling(H200, [near, far], H200), Scaling(H200, [near], H200)
    other = Scaling(H200, [far], H200)
    times = [of.cost(LLAMA, "down_proj")(256, 0) for of in (alone, both, other)]
    assert times == sorted(times) or times == sorted(times, reverse=True)
    assert abs(times[1] / times[0] - 1) < abs(times[1] / times[2] - 1)


def test_an_operator_that_was_never_measured_is_named() -> None:
    with pytest.raises(InputError, match="router: is in no measured table of this GPU"):
        scaling(H200).cost(load_model("qwen3-30b-a3b"), "router")
