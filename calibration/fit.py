"""From an operator table to a cost model, and how far that model is off what was measured and not fitted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from flowsim.calibration.attention import kernel_choice
from flowsim.calibration.cost import Cost, CostModel
from flowsim.calibration.curves import AttentionCurve, Curve
from flowsim.calibration.models import ModelSpec, spec_of
from flowsim.calibration.table import OperatorTable
from flowsim.errors import InputError
from flowsim.forward import LAYER_OPERATORS, Slice

TABULATED = 8193
"""Tokens up to which the costs of linear operators are worked out beforehand: those of one forward."""
KV_MEMORY_SHARE = 0.9
"""Part of the GPU's memory that weights and KV cache may take (vLLM's default)."""


def fit(table: OperatorTable) -> CostModel:
    """The cost model of an operator table: monotone curves through its rows, and its error on its passes.

    Raises:
        InputError: the table lacks an operator or a fact about what was measured.
    """
    about = table.provenance
    _check_facts(about)
    spec, tp = spec_of(about.get("model_spec"), "provenance, model_spec"), about["tp"]
    linear = [name for name in (*LAYER_OPERATORS, "embed", "head") if name != "attention"]
    rows = {name: table.curve(name) for name in (*linear, "attention")}
    host: dict[str, Cost] = {name: _constant(float(np.median(rows[name].host_s))) for name in linear}
    host["prepare"] = _host_curve(table, "prepare")
    model = CostModel(
        name=f"{about['gpu']}/{about['model']}/tp{tp}",
        layers=spec.layers,
        device={name: Curve(rows[name].tokens, rows[name].device_s, TABULATED) for name in linear},
        attention=AttentionCurve(rows["attention"].tokens, rows["attention"].context, rows["attention"].device_s),
        host=host,
        attention_launch=_attention_launch(table),
        check_s=_host_curve(table, "check")(0),
        acknowledge_s=_host_curve(table, "acknowledge")(0),
        resume_s=_host_curve(table, "resume")(0),
        decision=_host_curve(table, "decision"),
        tp=tp,
        kv_capacity_tokens=kv_capacity(spec, about["memory_bytes"], tp),
    )
    model.provenance = {"sha256": table.digest(), "error": pass_errors(model, table), **about}
    return model


def _check_facts(about: Mapping[str, Any]) -> None:
    for key in ("tp", "memory_bytes"):
        if type(about.get(key)) is not int or about[key] < 1:
            raise InputError(f"provenance, {key}: found {about.get(key)!r}; allowed: a whole number from 1")
    for key in ("gpu", "model"):
        if not isinstance(about.get(key), str):
            raise InputError(f"provenance, {key}: found {about.get(key)!r}; allowed: a name")


def kv_capacity(spec: ModelSpec, memory_bytes: int, tp: int) -> int:
    """Tokens of KV cache beside the weights in nine tenths of the memory of `tp` GPUs (vLLM's default share)."""
    room = KV_MEMORY_SHARE * memory_bytes * tp - spec.weight_bytes
    return max(int(room // spec.kv_bytes_per_token), 0)


def pass_errors(model: CostModel, table: OperatorTable) -> dict[str, dict[str, float]]:
    """How far the model is off the whole forwards that the table holds and the fit never saw.

    Returns:
        For each kind of pass that was measured, the number of passes, and the median and largest relative error.
        Kinds: one prompt from 1024 tokens and below, chunks on context, packed prompts, passes checked at each cut.
    """
    errors: dict[str, list[float]] = {}
    for row in table.passes:
        slices = [Slice(*pair) for pair in row.shape]
        error = model.forward(slices, row.cut).duration_s / (row.wall_us * 1e-6) - 1
        errors.setdefault(_kind(row.cut, slices), []).append(abs(error))
    return {
        kind: {"passes": len(of), "median": float(np.median(of)), "max": max(of)} for kind, of in sorted(errors.items())
    }


def _kind(cut: str, slices: Sequence[Slice]) -> str:
    tokens = sum(slice_.tokens for slice_ in slices)
    size = "from 1024 tokens" if tokens >= 1024 else "below 1024 tokens"
    if cut != "none":
        return f"checked at every {cut}, {size}"
    if len(slices) > 1:
        return "packed prompts"
    return "chunk on context" if slices[0].context else f"whole prompt, {size}"


def _constant(seconds: float) -> Cost:
    return lambda size: seconds


def _attention_launch(table: OperatorTable) -> Callable[[int, int], float]:
    """Launch time of attention, of (tokens, context): the median of the kernel that is used there."""
    of: dict[str, list[float]] = {}
    for row in table.operators:
        if row.operator == "attention":
            of.setdefault(row.backend, []).append(row.host_us * 1e-6)
    medians = {backend: float(np.median(seconds)) for backend, seconds in of.items()}
    typical_s = float(np.median(list(medians.values())))
    kernel = kernel_choice(table)
    return lambda tokens, context: medians.get(kernel(tokens, context), typical_s)


def _host_curve(table: OperatorTable, operator: str) -> Curve:
    rows = table.curve(operator)
    return Curve(rows.tokens, rows.host_s)
