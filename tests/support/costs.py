"""Cost models written by hand, for tests: small enough to compute with a pencil, or drawn at random."""

from __future__ import annotations

from typing import Any

import numpy as np

from flowsim.calibration.costs.cost_model import Cost, CostModel, GraphCost
from flowsim.calibration.costs.power import PowerModel
from flowsim.calibration.measure.grid import Grid
from flowsim.calibration.measure.repeats import RepeatLimits
from flowsim.core.operators import LAYER_OPERATORS

GRID = Grid(
    tokens=(1, 64, 512),
    chunk_tokens=(16, 128),
    chunk_contexts=(16, 256),
    sequences=(1, 4),
    prepared=(1, 64),
    queues=(1, 16),
    kernel_tokens=(16,),
    kernel_contexts=(0, 64),
    passes=("40@0",),
    checked_passes=(),
    graphs=(64, 128),
    graph_passes=(),
    extra=0,
    layers=2,
    expert_layers=4,
    limits=RepeatLimits(3, 5, 0.02),
    pass_limits=RepeatLimits(3, 5, 0.02),
    graph_limits=RepeatLimits(3, 5, 0.02),
)
"""Sizes in which a tiny model is measured in a second or two."""
CHECKED = ("qkv_proj", "attention", "o_proj", "gate_up_proj", "down_proj")


def pencil(layers: int = 1, head_s: float = 0.0, **options: Any) -> CostModel:
    """One token takes one second in each layer: a fifth in each of the five operators that the paper checks after.

    Attention ignores the context, launches take no time, and nothing else costs anything unless `options` say so.
    """
    device: dict[str, Cost] = {name: lambda tokens: tokens / 5 for name in CHECKED if name != "attention"}
    device["head"] = lambda prompts: head_s
    return CostModel("pencil", layers, device, lambda tokens, context: tokens / 5, **options)


def service(layers: int = 1, **options: Any) -> CostModel:
    """A prompt of n tokens takes n seconds in all, spread evenly over the layers and all of it in down_proj."""
    return CostModel("service", layers, {"down_proj": lambda n: n / layers}, lambda n, context: 0.0, **options)


def random_cost(rng: np.random.Generator) -> CostModel:
    """Any mixture: bound by the host or by the device, with or without costs of check, acknowledgement and so on."""
    host_s = rng.choice([0.0, 1e-4, 3e-3])
    device = {name: _affine(rng, 1e-4, 2e-5) for name in (*LAYER_OPERATORS, "embed", "head")}
    host = {name: _affine(rng, host_s, host_s / 1e4) for name in (*LAYER_OPERATORS, "prepare", "embed", "head")}
    fixed, pairs = float(rng.uniform(0, 1e-4)), float(rng.uniform(0, 1e-6))
    launch_s = float(rng.uniform(0, host_s))
    seen_s, base_s = float(rng.choice([0.0, 2e-5])), float(rng.choice([0.0, 5e-4]))
    return CostModel(
        "random",
        int(rng.integers(1, 5)),
        device,
        lambda tokens, context: fixed + pairs * tokens * (context + (tokens + 1) / 2),
        host,
        attention_launch=lambda tokens, context: launch_s * (2 if context else 1),
        calls={name: int(rng.integers(1, 6)) for name in (*LAYER_OPERATORS, "embed", "head")},
        attention_calls=lambda tokens, context: 5 if context else 1,
        check_s=float(rng.choice([0.0, 2e-4])),
        acknowledge_s=float(rng.choice([0.0, 3e-4])),
        complete_s=rng.choice([None, 0.0, 5e-4]),
        resume_s=float(rng.choice([0.0, 7e-4])),
        decision=lambda seen: base_s + seen_s * seen,
        graph=GraphCost(8192, _affine(rng, 1e-3, 1e-4), _affine(rng, 1e-4, 1e-7), _affine(rng, 1e-4, 0.0)),
        tp=int(rng.choice([1, 2])),
        proceed=rng.choice([None, _affine(rng, 1e-3, 1e-7)]),
    )


def random_boost(rng: np.random.Generator, typical_s: float) -> PowerModel:
    """Any window from a fifth to five times a typical pass, any threshold, a gain that small passes have less of."""
    gain, tokens = float(rng.uniform(0, 1)), float(rng.choice([1, 100]))
    window_s = typical_s * float(rng.choice([0.2, 1.0, 5.0]))
    threshold, known = float(rng.choice([0.0, 0.3, 0.7, 0.95])), bool(rng.integers(2))
    recorded = (lambda n: gain * 64 / n) if known else None
    return PowerModel(window_s, threshold, lambda n: gain * min(n / tokens, 1.0), recorded)


def coincident_cost(rng: np.random.Generator) -> CostModel:
    """Every cost a multiple of 1/4 s; decisions take no time, as no rule orders those at the time of an arrival."""
    fixed = {name: int(rng.integers(0, 2)) / 4 for name in (*LAYER_OPERATORS, "check", "launch", "proceed")}
    device: dict[str, Cost] = {name: lambda n, k=fixed[name]: k * n for name in LAYER_OPERATORS}
    device |= {"down_proj": lambda n: n / 4, "head": lambda n: n / 4}
    host: dict[str, Cost] = {name: lambda n: fixed["launch"] for name in ("qkv_proj", "gate_up_proj")}
    return CostModel(
        "coincident",
        int(rng.integers(1, 3)),
        device,
        lambda tokens, context: fixed["attention"] * tokens,
        host,
        attention_launch=lambda tokens, context: fixed["launch"],
        check_s=fixed["check"],
        acknowledge_s=int(rng.integers(0, 3)) / 4,
        complete_s=int(rng.integers(0, 3)) / 4,
        resume_s=int(rng.integers(0, 3)) / 4,
        proceed=rng.choice([None, lambda tokens: fixed["proceed"]]),
        tp=int(rng.choice([1, 2])),
    )


def _affine(rng: np.random.Generator, fixed: float, per_token: float) -> Cost:
    a, b = (rng.uniform(0, 1, 2) * [fixed, per_token]).tolist()
    return lambda size: a + b * size
