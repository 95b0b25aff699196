"""Rooflines computed by hand."""

from __future__ import annotations

import pytest

from flowsim.calibration.costs.gpus import Gpu
from flowsim.calibration.costs.models import load_model, model_names
from flowsim.calibration.modelled.roofline import Attention, Moved, Product, Work, shape_of
from flowsim.errors import InputError
from support.calibration import SPEC

GPU = Gpu(
    architecture="none", bf16_tflops=2.0, bandwidth_tb_s=0.5, memory_gib=1.0, multiprocessors=1, power_w=1.0, source="x"
)


def test_the_slower_of_computing_and_moving_counts() -> None:
    assert Work(4e12, 0.5e12).seconds(GPU) == 2.0
    assert Work(4e12, 2e12).seconds(GPU) == 4.0


def test_fp8_has_a_rate_of_its_own_or_none() -> None:
    with pytest.raises(InputError, match="gpu: has no FP8, by x"):
        Work(1, 1, fp8=True).seconds(GPU)


def test_a_product_reads_its_weights_once() -> None:
    assert Product(10, 20).work(3) == Work(2 * 3 * 10 * 20, 2 * (3 * 10 + 3 * 20 + 10 * 20))
    assert Product(10, 20, weight_bytes=1).work(3) == Work(1200, 2 * 90 + 200, fp8=True)


def test_experts_without_a_token_are_not_read() -> None:
    # One token takes two of four experts; of two tokens the second takes half of the two that are left.
    assert Product(10, 20, rows=2, copies=4).work(1) == Work(2 * 2 * 200, 2 * (2 * 30 + 2 * 200))
    assert Product(10, 20, rows=2, copies=4).work(2) == Work(4 * 2 * 200, 2 * (4 * 30 + 3 * 200))


def test_attention_multiplies_pairs_twice_and_reads_the_context() -> None:
    # Two tokens on three see 4 + 5 keys: 9 pairs, each of 4 heads of 8; queries, outputs, keys and values are moved.
    assert Attention(4, 2, 8).work(2, 3) == Work(2 * 2 * 9 * 4 * 8, 2 * 8 * (2 * 2 * 4 + 2 * 5 * 2))


def test_shapes_follow_from_the_model() -> None:
    shapes = {name: shape_of(SPEC, name) for name in SPEC.operators}
    assert shapes["qkv_proj"] == Product((4 + 2 * 2) * 16, 64)
    assert shapes["o_proj"] == Product(64, 64)
    assert shapes["gate_up_proj"] == Product(2 * 128, 64)
    assert shapes["down_proj"] == Product(64, 128)
    assert shapes["head"] == Product(97, 64)
    assert shapes["attention"] == Attention(4, 2, 16)
    assert shapes["norm_mlp"] == Moved(2 * 2 * 64)


@pytest.mark.parametrize("model", model_names())
def test_every_operator_of_every_model_has_a_roofline(model: str) -> None:
    spec = load_model(model)
    assert all(shape_of(spec, name).work(64).bytes > 0 for name in spec.operators)
    weights = sum(
        of.n * of.k * of.copies
        for name in spec.operators
        if isinstance(of := shape_of(spec, name), Product) and name != "head"
    )
    router = spec.experts * spec.hidden
    norms = 2 * spec.hidden + (2 * spec.head_dim if spec.qk_norm else 0) + (spec.qkv_width if spec.qkv_bias else 0)
    assert (weights + router) * spec.bytes_per_weight + 2 * norms == spec.layer_bytes
