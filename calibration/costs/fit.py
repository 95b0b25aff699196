"""From an operator table to a cost model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowsim.calibration.costs.accuracy import leave_one_out, pass_errors
from flowsim.calibration.costs.attention_kernels import kernel_choice
from flowsim.calibration.costs.cost_model import KNOWN, Cost, CostModel, GraphCost
from flowsim.calibration.costs.curves import AttentionCurve, Curve
from flowsim.calibration.costs.host_times import Usual, usual_of
from flowsim.calibration.costs.models import EXPERTS, ModelSpec, check_name, spec_of
from flowsim.calibration.costs.power import Boost
from flowsim.calibration.costs.table import ALL_REDUCE, GRAPH, GRAPH_HOST_TOKENS, GRAPH_RESTED, OperatorTable, Range
from flowsim.calibration.costs.waves import Waves
from flowsim.errors import InputError

TABULATED = 8193
"""Sizes up to which costs that are asked again and again are worked out beforehand: the tokens of one forward."""
KV_MEMORY_SHARE = 0.9
"""Part of the GPU's memory that weights and KV cache may take (vLLM's default)."""


def fit(table: OperatorTable) -> CostModel:
    """The cost model of an operator table: monotone curves through its rows, with the errors of these curves.

    Raises:
        InputError: the table lacks an operator or a fact about what was measured, or is of a tensor-parallel rank
            and has not been joined with all-reduces.
    """
    spec, tp = _facts(table.provenance)
    if tp > 1 and not table.has(ALL_REDUCE):
        raise InputError(
            "found a rank without all_reduce rows; allowed: a table that flowsim calibrate all-reduce TABLE completed, "
            f"on {tp} GPUs or with public ones (--public SYSTEM)"
        )
    return _model(table, spec.layers, _errors(table))


def fit_passes(table: OperatorTable) -> CostModel:
    """The cost model of what the table's passes were measured on, of `pass_layers` layers.

    That is one rank without its all-reduces, unless the passes are of the whole group.
    """
    alone = table.provenance.get("passes_of") != "group"
    rows = tuple(row for row in table.operators if not (alone and row.operator == ALL_REDUCE))
    return _model(replace(table, operators=rows), _pass_layers(table.provenance), {})


def _errors(table: OperatorTable) -> dict[str, Any]:
    return {
        "error": pass_errors(fit_passes(table), table) if table.passes else {},
        "leave_one_out": table.provenance.get("leave_one_out") or leave_one_out(table),
        "measured": asdict(Range.of(table)),
    }


def _model(table: OperatorTable, layers: int, errors: dict[str, Any]) -> CostModel:
    about = table.provenance
    spec, tp = _facts(about)
    if not table.operators:
        raise InputError("operators: found none, for this is a table of passes alone; allowed: one with operators")
    linear = [name for name in spec.operators if name != "attention"]
    if spec.experts and table.has("experts"):
        linear = [*(name for name in linear if name not in EXPERTS), "experts"]
    rows, attention = {name: table.curve(name) for name in linear}, table.curve("attention")
    usual = usual_of(table)
    host: dict[str, Cost] = {name: _usually(table, name, usual) for name in linear}
    host["prepare"] = _host_curve(table, "prepare", TABULATED)
    device: dict[str, Cost] = {name: Curve(rows[name].tokens, rows[name].device_s, TABULATED) for name in linear}
    if table.has(ALL_REDUCE):
        reduced = table.curve(ALL_REDUCE)
        for name in ("all_reduce_attn", "all_reduce_mlp"):
            device[name] = Curve(reduced.tokens, reduced.device_s, TABULATED)
            host[name] = _usually(table, ALL_REDUCE, usual)
    calls, kernel = about.get("calls", {}), lru_cache(KNOWN)(kernel_choice(table))
    return CostModel(
        name=f"{about['gpu']}/{about['model']}/tp{tp}",
        layers=layers,
        device=device,
        attention=AttentionCurve(attention.tokens, attention.context, attention.device_s, Waves.of(about)),
        host=host,
        attention_launch=_attention_launch(table, kernel, usual),
        calls=calls,
        attention_calls=lambda tokens, context: calls.get(kernel(tokens, context), 1),
        check_s=_host_curve(table, "check")(0),
        acknowledge_s=_host_curve(table, "acknowledge")(0),
        complete_s=_host_curve(table, "complete")(0) if table.has("complete") else None,
        resume_s=_host_curve(table, "resume")(0),
        decision=_host_curve(table, "decision", TABULATED),
        graph=_graph_cost(table, device, usual) if table.has(GRAPH) else None,
        tp=tp,
        kv_capacity_tokens=kv_capacity(spec, about["memory_bytes"], tp),
        boost=_boost(table),
        provenance={"sha256": table.digest(), **errors, **about},
    )


def _graph_cost(table: OperatorTable, device: Mapping[str, Cost], usual: Usual) -> GraphCost:
    """What recorded forwards cost: a layer's share of what they take on the device without embedding and head."""
    rows, layers = table.curve(GRAPH), _pass_layers(table.provenance)
    ends_s = np.array([device["embed"](tokens) + device["head"](1) for tokens in rows.tokens.tolist()])
    return GraphCost(
        most=int(rows.tokens[-1]),
        layer=_of_recordings(rows.tokens, np.maximum(rows.device_s - ends_s, 0.0) / layers),
        prepare=_usually(table, "graph_prepare", usual, GRAPH_HOST_TOKENS),
        check=_usually(table, "graph_check", usual, GRAPH_HOST_TOKENS),
    )


def _boost(table: OperatorTable) -> Boost | None:
    """What the provenance states, and what recordings gain where they were timed on a rested GPU too."""
    boost = Boost.of(table.provenance.get("boost"))
    sizes = {row.tokens for row in table.operators if row.operator == GRAPH}
    alone = [row.tokens for row in table.operators if row.operator == GRAPH_RESTED and row.tokens not in sizes]
    if alone:
        raise InputError(f"operators: found {GRAPH_RESTED} at {alone[0]} tokens; allowed: at sizes of {GRAPH}")
    if boost is None or not table.has(GRAPH_RESTED):
        return boost
    curves = table.curve(GRAPH), table.curve(GRAPH_RESTED)
    busy_s, rested_s = (dict(zip(rows.tokens.tolist(), rows.device_s.tolist(), strict=True)) for rows in curves)
    return boost.with_recordings({size: (busy_s[size], rested_s[size]) for size in rested_s})


def _of_recordings(sizes: NDArray[np.int64], seconds: NDArray[np.float64]) -> Cost:
    """What was measured of a recording, which need not grow with its size; between two, a straight line."""
    return lambda size: float(np.interp(size, sizes, seconds))


def _pass_layers(about: Mapping[str, Any]) -> int:
    """Of how many layers the model was that whole passes were measured on."""
    most = _facts(about)[0].layers
    found = about.get("pass_layers", most)
    if type(found) is not int or not 1 <= found <= most:
        raise InputError(f"provenance, pass_layers: found {found!r}; allowed: 1 to the model's {most}")
    return found


def _facts(about: Mapping[str, Any]) -> tuple[ModelSpec, int]:
    """The model and the tensor-parallel degree that a provenance states, once all that a fit needs is there."""
    for key in ("tp", "memory_bytes"):
        if type(about.get(key)) is not int or about[key] < 1:
            raise InputError(f"provenance, {key}: found {about.get(key)!r}; allowed: a whole number from 1")
    if (found := about.get("multiprocessors")) is not None and (type(found) is not int or found < 1):
        raise InputError(f"provenance, multiprocessors: found {found!r}; allowed: a whole number from 1")
    calls = about.get("calls", {})
    if not isinstance(calls, Mapping) or any(type(n) is not int or n < 1 for n in calls.values()):
        raise InputError(f"provenance, calls: found {calls!r}; allowed: a whole number from 1 for each operator")
    for key in ("gpu", "model"):
        if not isinstance(about.get(key), str):
            raise InputError(f"provenance, {key}: found {about.get(key)!r}; allowed: a name")
        check_name(f"provenance, {key}", about[key])
    return spec_of(about.get("model_spec"), "provenance, model_spec"), about["tp"]


def kv_capacity(spec: ModelSpec, memory_bytes: int, tp: int) -> int:
    """Tokens of KV cache beside the weights in nine tenths of each rank's memory (vLLM's default share)."""
    shard = spec.shard(tp)
    room = KV_MEMORY_SHARE * memory_bytes - shard.weight_bytes
    return max(int(room // shard.kv_bytes_per_token), 0)


def _usually(table: OperatorTable, operator: str, usual: Usual, most: float = math.inf) -> Cost:
    """Host time, alike at all sizes: they matter less than the host's unrest.

    It is taken from sizes up to `most`, or else the smallest.
    """
    rows = table.curve(operator)
    seconds = usual(rows.host_s[rows.tokens <= max(most, rows.tokens[0])])
    return lambda size: seconds


def _attention_launch(
    table: OperatorTable, kernel: Callable[[int, int], str], usual: Usual
) -> Callable[[int, int], float]:
    """Launch time of attention, of (tokens, context): the usual one of the `kernel` that is used there."""
    of: dict[str, list[float]] = {}
    for row in table.operators:
        if row.operator == "attention":
            of.setdefault(row.backend, []).append(row.host_us * 1e-6)
    usually = {backend: usual(seconds) for backend, seconds in of.items()}
    typical_s = float(np.median(list(usually.values())))
    return lambda tokens, context: usually.get(kernel(tokens, context), typical_s)


def _host_curve(table: OperatorTable, operator: str, tabulate: int = 0) -> Curve:
    rows = table.curve(operator)
    return Curve(rows.tokens, rows.host_s, tabulate)
