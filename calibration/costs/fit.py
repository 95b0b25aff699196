"""Fitting: from an operator table to a cost model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from statistics import median

import numpy as np
from numpy.typing import NDArray

from flowsim.calibration.costs.accuracy import leave_one_out, pass_errors
from flowsim.calibration.costs.attention.kernels import kernel_choice
from flowsim.calibration.costs.attention.waves import Waves
from flowsim.calibration.costs.cost_model import KNOWN, Cost, CostModel, GraphCost
from flowsim.calibration.costs.curves import AttentionCurve, ChunkedAttention, Curve, WindowedAttention
from flowsim.calibration.costs.fit_record import FitRecord, MeasuredRange
from flowsim.calibration.costs.host_times import Usual, proceed_of_h200, slowest_of_ranks, usual_of
from flowsim.calibration.costs.import_factors import ImportFactors
from flowsim.calibration.costs.models import EXPERTS, ModelSpec
from flowsim.calibration.costs.power import PowerModel
from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.costs.table_rows import ALL_REDUCE, GRAPH, GRAPH_HOST_TOKENS, GRAPH_RESTED
from flowsim.errors import InputError

TABULATED = 8193
"""Sizes below which costs are computed beforehand: those of one forward are needed again and again."""
KV_MEMORY_SHARE = 0.9
"""Share of the GPU's memory that weights and KV cache may take (vLLM's default)."""


def fit(table: OperatorTable) -> CostModel:
    """The cost model of an operator table: monotone curves through its rows, with the errors of these curves.

    Raises:
        InputError: the table lacks an operator or a fact about what was measured, or is that of a tensor-parallel rank
            and has not been joined with all-reduces.
    """
    rank = table.provenance.rank()
    if lacks_all_reduces(table):
        how = "the table of a rank, completed by flowsim calibrate all-reduce"
        raise InputError("operators", f"no row of {ALL_REDUCE}", expected=how)
    record = FitRecord(
        table=table.provenance,
        sha256=table.digest(),
        measured=MeasuredRange.of(table),
        error=pass_errors(fit_passes(table), table) if table.passes else table.provenance.modelled_error or {},
        leave_one_out=table.provenance.leave_one_out or leave_one_out(table),
        factors=ImportFactors.of(table.provenance),
    )
    return _model(table, rank.spec.layers, record)


def lacks_all_reduces(table: OperatorTable) -> bool:
    """Whether the table is that of one rank, still to be joined with all-reduces."""
    return (table.provenance.tp or 1) > 1 and not table.has(ALL_REDUCE)


def fit_passes(table: OperatorTable) -> CostModel:
    """The cost model of what the table's passes were measured on, of `pass_layers` layers.

    That is one rank without its all-reduces, unless the passes are those of the whole group.
    """
    drop = () if table.provenance.is_of_group else (ALL_REDUCE,)
    rows = tuple(row for row in table.operators if row.operator not in drop)
    return _model(replace(table, operators=rows), table.provenance.layers_of_passes(), None)


def _model(table: OperatorTable, layers: int, record: FitRecord | None) -> CostModel:
    about, rank = table.provenance, table.provenance.rank()
    spec = rank.spec
    if not table.operators:
        raise InputError("operators", "there are none: the table holds only passes")
    usual = slowest_of_ranks(usual_of(table)) if table.has(ALL_REDUCE) else usual_of(table)
    host, device = _linear_costs(table, spec, usual)
    attention = table.samples("attention")
    calls, kernel = about.calls, lru_cache(KNOWN)(kernel_choice(table))
    return CostModel(
        name=rank.name,
        layers=layers,
        device=device,
        attention=_windowed(
            AttentionCurve(attention.tokens, attention.context, attention.device_s, Waves.of(about)), spec
        ),
        host=host,
        attention_launch=_attention_launch(table, kernel, usual),
        calls=calls,
        attention_calls=lambda tokens, context: calls.get(kernel(tokens, context), 1),
        check_s=_host_curve(table, "check")(0),
        acknowledge_s=_host_curve(table, "acknowledge")(0),
        complete_s=_host_curve(table, "complete")(0) if table.has("complete") else None,
        resume_s=_host_curve(table, "resume")(0),
        proceed=_host_curve(table, "proceed", TABULATED) if table.has("proceed") else proceed_of_h200,
        decision=_host_curve(table, "decision", TABULATED),
        graph=_graph_cost(table, device, usual) if table.has(GRAPH) else None,
        tp=rank.tp,
        kv_capacity_tokens=kv_capacity(spec, rank.memory_bytes, rank.tp),
        boost=_boost(table),
        provenance=record,
    )


def _linear_costs(table: OperatorTable, spec: ModelSpec, usual: Usual) -> tuple[dict[str, Cost], dict[str, Cost]]:
    """Host and device seconds of the tokens of a pass, by operator; all but attention."""
    linear = [name for name in spec.operators if name != "attention"]
    if spec.experts and table.has("experts"):
        linear = [*(name for name in linear if name not in EXPERTS), "experts"]
    sources = {name: name for name in linear}
    if table.has(ALL_REDUCE):
        sources |= dict.fromkeys(("all_reduce_attn", "all_reduce_mlp"), ALL_REDUCE)
    host: dict[str, Cost] = {"prepare": _host_curve(table, "prepare", TABULATED)}
    device: dict[str, Cost] = {}
    for name, source in sources.items():
        rows = table.samples(source)
        host[name] = _usually(table, source, usual)
        device[name] = Curve(rows.tokens, rows.device_s, TABULATED)
    return host, device


def _windowed(full: AttentionCurve, spec: ModelSpec) -> Callable[[int, int], float]:
    """The attention of a mean layer: tables hold that of layers without a window."""
    if not spec.window:
        return full
    kind = ChunkedAttention if spec.chunked else WindowedAttention
    return kind(full, spec.window, spec.windowed_layers / spec.layers)


def _graph_cost(table: OperatorTable, device: Mapping[str, Cost], usual: Usual) -> GraphCost:
    """What recorded forwards cost: without embedding and head, each layer takes an equal share of the device time."""
    rows, layers = table.samples(GRAPH), table.provenance.layers_of_passes()
    ends_s = np.array([device["embed"](tokens) + device["head"](1) for tokens in rows.tokens.tolist()])
    return GraphCost(
        most=int(rows.tokens[-1]),
        layer=_of_recordings(rows.tokens, np.maximum(rows.device_s - ends_s, 0.0) / layers),
        prepare=_usually(table, "graph_prepare", usual, GRAPH_HOST_TOKENS),
        check=_usually(table, "graph_check", usual, GRAPH_HOST_TOKENS),
    )


def _boost(table: OperatorTable) -> PowerModel | None:
    """The stated boost, with the gain of recordings if these were timed on an idle GPU too."""
    boost = PowerModel.of(table.provenance.boost)
    sizes = {row.tokens for row in table.operators if row.operator == GRAPH}
    alone = [row.tokens for row in table.operators if row.operator == GRAPH_RESTED and row.tokens not in sizes]
    if alone:
        raise InputError("operators", f"{GRAPH_RESTED} at {alone[0]} tokens has no row of {GRAPH} at that size")
    if boost is None or not table.has(GRAPH_RESTED):
        return boost
    curves = table.samples(GRAPH), table.samples(GRAPH_RESTED)
    busy_s, rested_s = (dict(zip(rows.tokens.tolist(), rows.device_s.tolist(), strict=True)) for rows in curves)
    return boost.with_recordings({size: (busy_s[size], rested_s[size]) for size in rested_s})


def _of_recordings(sizes: NDArray[np.int64], seconds: NDArray[np.float64]) -> Cost:
    """The cost of a recording, which need not grow with its size; between two measured ones, a straight line."""
    return lambda size: float(np.interp(size, sizes, seconds))


def kv_capacity(spec: ModelSpec, memory_bytes: int, tp: int) -> int:
    """Tokens of KV cache that fit beside the weights in KV_MEMORY_SHARE of each rank's memory."""
    shard = spec.shard(tp)
    room = KV_MEMORY_SHARE * memory_bytes - shard.weight_bytes
    return max(int(room // shard.kv_bytes_per_token), 0)


def _usually(table: OperatorTable, operator: str, usual: Usual, most: float = math.inf) -> Cost:
    """Host time, the same at all sizes: the size matters less than what else the host does.

    It is that of sizes up to `most` or, if there are none, of the smallest.
    """
    rows = table.samples(operator)
    seconds = usual(rows.host_s[rows.tokens <= max(most, rows.tokens[0])])
    return lambda size: seconds


def _attention_launch(
    table: OperatorTable, kernel: Callable[[int, int], str], usual: Usual
) -> Callable[[int, int], float]:
    """Launch time of attention, of (tokens, context): the usual one of the kernel that runs there."""
    launches: dict[str, list[float]] = {}
    for row in table.operators:
        if row.operator == "attention":
            launches.setdefault(row.backend, []).append(row.host_us * 1e-6)
    usually = {backend: usual(seconds) for backend, seconds in launches.items()}
    typical_s = median(usually.values())
    return lambda tokens, context: usually.get(kernel(tokens, context), typical_s)


def _host_curve(table: OperatorTable, operator: str, tabulate: int = 0) -> Curve:
    rows = table.samples(operator)
    return Curve(rows.tokens, rows.host_s, tabulate)
