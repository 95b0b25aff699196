"""From an operator table to a cost model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from flowsim.calibration.attention import kernel_choice
from flowsim.calibration.cost import Cost, CostModel
from flowsim.calibration.curves import AttentionCurve, Curve
from flowsim.calibration.errors import leave_one_out, pass_errors
from flowsim.calibration.models import ModelSpec, make_spec
from flowsim.calibration.table import ALL_REDUCE, OperatorTable, Range
from flowsim.errors import InputError

NEEDED = ("gpu", "model", "model_spec", "tp", "memory_bytes")
"""What a table's provenance must say for its costs to be used."""
KV_MEMORY_SHARE = 0.9
"""Part of the GPU's memory that weights and KV cache may take (vLLM's default)."""


def fit(table: OperatorTable) -> CostModel:
    """The cost model of an operator table: monotone curves through its rows, with the errors of these curves.

    InputError: a table of a tensor-parallel rank that has not been joined with all-reduces.
    """
    missing = [key for key in NEEDED if key not in table.provenance]
    if missing:
        raise InputError(f"provenance.yaml: missing: {', '.join(missing)}")
    tp = int(table.provenance["tp"])
    if tp > 1 and not table.has(ALL_REDUCE):
        raise InputError(
            f"tp: found {tp} without all_reduce rows; allowed: a table completed by flowsim calibrate join"
        )
    return _model(table, _spec(table).layers, _errors(table))


def fit_rank(table: OperatorTable) -> CostModel:
    """The cost model of what passes were measured on: one rank without its all-reduces, of `pass_layers` layers."""
    rows = tuple(row for row in table.operators if row.operator != ALL_REDUCE)
    layers = int(table.provenance.get("pass_layers", _spec(table).layers))
    return _model(replace(table, operators=rows), layers, {})


def _spec(table: OperatorTable) -> ModelSpec:
    return make_spec("provenance.yaml, model_spec", table.provenance["model_spec"])


def _errors(table: OperatorTable) -> dict[str, Any]:
    return {
        "error": pass_errors(fit_rank(table), table) if table.passes else {},
        "leave_one_out": leave_one_out(table),
        "measured": asdict(Range.of(table)),
    }


def _model(table: OperatorTable, layers: int, errors: dict[str, Any]) -> CostModel:
    about = table.provenance
    spec, tp = _spec(table), int(about["tp"])
    linear = [name for name in spec.operators if name != "attention"]
    rows = {name: table.curve(name) for name in (*linear, "attention")}
    host: dict[str, Cost] = {name: _constant(float(np.median(rows[name].host_s))) for name in linear}
    host["prepare"] = _host_curve(table, "prepare")
    device: dict[str, Cost] = {name: Curve(rows[name].tokens, rows[name].device_s) for name in linear}
    if table.has(ALL_REDUCE):
        reduced = table.curve(ALL_REDUCE)
        for name in ("all_reduce_attn", "all_reduce_mlp"):
            device[name] = Curve(reduced.tokens, reduced.device_s)
            host[name] = _constant(float(np.median(reduced.host_s)))
    return CostModel(
        name=f"{about['gpu']}/{about['model']}/tp{tp}",
        layers=layers,
        device=device,
        attention=AttentionCurve(rows["attention"].tokens, rows["attention"].context, rows["attention"].device_s),
        host=host,
        attention_launch=_attention_launch(table),
        check_s=_host_curve(table, "check")(0),
        acknowledge_s=_host_curve(table, "acknowledge")(0),
        resume_s=_host_curve(table, "resume")(0),
        decision=_host_curve(table, "decision"),
        tp=tp,
        kv_capacity_tokens=kv_capacity(spec, int(about["memory_bytes"]), tp),
        provenance={"sha256": table.digest(), **errors, **about},
    )


def kv_capacity(spec: ModelSpec, memory_bytes: int, tp: int) -> int:
    """Tokens of KV cache beside the weights in nine tenths of each rank's memory (vLLM's default share)."""
    shard = spec.shard(tp)
    room = KV_MEMORY_SHARE * memory_bytes - shard.weight_bytes
    return max(int(room // shard.kv_bytes_per_token), 0)


def _constant(seconds: float) -> Cost:
    return lambda size: seconds


def _attention_launch(table: OperatorTable) -> Callable[[int, int], float]:
    """Launch time of attention, of (tokens, context): the median of the kernel that is used there."""
    of: dict[str, list[float]] = {}
    for row in table.operators:
        if row.operator == "attention":
            of.setdefault(row.backend, []).append(row.host_us * 1e-6)
    medians = {backend: float(np.median(seconds)) for backend, seconds in of.items()}
    kernel, typical = kernel_choice(table), float(np.median([seconds for some in of.values() for seconds in some]))
    return lambda tokens, context: medians.get(kernel(tokens, context), typical)


def _host_curve(table: OperatorTable, operator: str) -> Curve:
    rows = table.curve(operator)
    plain = rows.context == 0
    return Curve(rows.tokens[plain], rows.host_s[plain])
