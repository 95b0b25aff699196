"""Imports: an operator table from public measurements, with what they lack filled in; each row states its source."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from msgspec.structs import asdict

from flowsim.calibration.costs.attention.waves import TILE
from flowsim.calibration.costs.curves import AttentionCurve, Curve, query_key_pairs
from flowsim.calibration.costs.gpus import IN_BF16
from flowsim.calibration.costs.host_times import usual_of
from flowsim.calibration.costs.models import BYTES_PER_VALUE, ModelSpec
from flowsim.calibration.costs.provenance import SCHEMA_VERSION, Provenance
from flowsim.calibration.costs.row_sources import (
    BANDWIDTH,
    COPIED_FROM,
    INTERPOLATED,
    MEASURED,
    UTILISATION,
    WORK,
    source_of,
)
from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.costs.table_rows import ALL_REDUCE, HOST_OPERATORS, OperatorRow
from flowsim.calibration.measure.all_reduce import TOKENS, ranks
from flowsim.calibration.published.aiconfigurator import Source, of_shape
from flowsim.calibration.published.nearest_table import MODELLED
from flowsim.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

SEQUENCES = (1, 2, 4, 8, 16, 32, 64, 128)


class KernelTime(NamedTuple):
    """Device seconds at one size, the kernel, and the source (`row_sources`)."""

    seconds: float
    kernel: str
    source: str


KernelTimes = dict[int, KernelTime]
Chunks = dict[tuple[int, int], KernelTime]
"""By tokens and context."""


def import_table(source: Source, spec: ModelSpec, own: OperatorTable, tp: int = 1) -> OperatorTable:
    """The operator table of this model on the source's system, of one of `tp` ranks, with all-reduces.

    Args:
        source: public measurements of a system.
        spec: the model.
        own: a measured table of a model with the same operators, which gives host times and the sizes of chunks.
        tp: the tensor-parallel degree.

    Raises:
        InputError: the source has no such experts, attention or all-reduces, or no products in the model's type of
            weights, or `own` lacks an operator.
    """
    rows = [*_device_rows(source, spec.shard(tp), own, tp), *_host_rows(own)]
    cells = Counter((row.operator, source_of(row)) for row in rows)
    stated: dict[str, dict[str, int]] = {}
    for (operator, kind), count in cells.items():
        stated.setdefault(operator, {})[kind] = count
    provenance = {
        "schema_version": SCHEMA_VERSION, "gpu": source.system, "memory_bytes": source.memory_bytes,
        "source": source.name, "framework": source.framework, "licence": "Apache-2.0",
        "own": _name(own), "own_sha256": own.digest(),
        "model": spec.name, "model_spec": asdict(spec), "pass_layers": spec.layers, "tp": tp, "dtype": "bfloat16",
        "imported": datetime.now(UTC).date().isoformat(), "cells": stated,
    }  # fmt: skip
    return OperatorTable(Provenance.of(provenance), tuple(rows))


def public_all_reduce(source: Source, rank: OperatorTable) -> OperatorTable:
    """The source's all-reduces among as many GPUs as there are ranks, as a table for `join`.

    The user vouches that the source's system is the rank's.

    Raises:
        InputError: the source has none among that many GPUs, or the table is that of a whole model.
    """
    gpu, tp, width = rank.provenance.gpu, ranks(rank), _spec(rank).hidden
    launch_us = _launch_us(rank, "o_proj")
    cells = _reduces(source, width, tp, list(TOKENS))
    provenance = {
        "schema_version": SCHEMA_VERSION, "gpu": gpu, "model": ALL_REDUCE, "width": width, "tp": tp,
        "source": source.name, "licence": "Apache-2.0", "imported": datetime.now(UTC).date().isoformat(),
    }  # fmt: skip
    rows = tuple(_row(ALL_REDUCE, n, 0, cell, launch_us) for n, cell in cells.items())
    return OperatorTable(Provenance.of(provenance), rows)


def _spec(table: OperatorTable) -> ModelSpec:
    return table.provenance.rank().spec


def _device_rows(source: Source, shard: ModelSpec, own: OperatorTable, tp: int) -> Iterator[OperatorRow]:
    operators = {**_products(source, shard), **_elementwise(source, shard)}
    if shard.experts:
        operators["experts"] = _experts(source, shard, tp)
    if tp > 1:
        operators[ALL_REDUCE] = _reduces(source, shard.hidden, tp, sorted(operators["o_proj"]))
    attention = _attention(source, shard)
    for name, cells in operators.items():
        launch_us = _launch_us(own, "o_proj" if name in (ALL_REDUCE, "experts") else name)  # one call each
        yield from (_row(name, tokens, 0, cell, launch_us) for tokens, cell in cells.items())
    launch_us = _launch_us(own, "attention")
    yield from (_row("attention", tokens, 0, cell, launch_us) for tokens, cell in attention.items())
    for (tokens, context), cell in _chunks(source, shard, attention, own).items():
        yield _row("attention", tokens, context, cell, launch_us)


def _products(source: Source, shard: ModelSpec) -> dict[str, KernelTimes]:
    """The matrix products, by operator; those of the head are by number of sequences."""
    width = shard.heads * shard.head_dim
    shapes = {"qkv_proj": (shard.qkv_width, shard.hidden), "o_proj": (shard.hidden, width)}
    if shard.experts:
        shapes["router"] = (shard.experts, shard.hidden)
    else:
        shapes["gate_up_proj"] = (2 * shard.intermediate, shard.hidden)
        shapes["down_proj"] = (shard.hidden, shard.intermediate)
    gemm = source.gemm if shard.weights == "bf16" else source.quantised.get(shard.weights)
    if gemm is None:
        raise InputError(source.name, f"has no matrix products in {shard.weights}; try another framework")
    cells = {
        name: _product(source.name, source.gemm if name == "router" else gemm, n, k) for name, (n, k) in shapes.items()
    }
    head = _product(source.name, source.gemm, shard.vocab, shard.hidden)
    at_sequences = {m: cell for m, cell in head.items() if m in SEQUENCES}
    if not at_sequences:
        sizes = ", ".join(map(str, SEQUENCES))
        raise InputError(source.name, f"has no matrix product with m in {sizes}; the head needs one")
    return {**cells, "head": at_sequences}


def _product(source: str, gemm: pd.DataFrame, n: int, k: int) -> KernelTimes:
    """Cells by m of one shape: measured, or by the arithmetic rate at the measured shapes around it."""
    exact = of_shape(gemm, n=n, k=k)
    if exact:
        return {m: KernelTime(seconds, kernel, MEASURED) for m, (seconds, kernel) in exact.items()}
    corners = [
        (share_n * share_k, low_n, low_k, of_shape(gemm, n=low_n, k=low_k))
        for low_n, share_n in _around(sorted(gemm["n"].unique().tolist()), n)
        for low_k, share_k in _around(sorted(gemm["k"].unique().tolist()), k)
    ]
    corners = [corner for corner in corners if corner[-1]]
    sizes = set.intersection(*(set(times) for *_, times in corners)) if corners else set()
    if not sizes:
        raise InputError(source, f"has no matrix products around n={n}, k={k}; try another framework")
    whole = sum(share for share, *_ in corners)
    return {
        m: KernelTime(
            m * n * k / (sum(share * m * a * b / times[m][0] for share, a, b, times in corners) / whole),
            corners[0][-1][m][1],
            UTILISATION,
        )
        for m in sorted(sizes)
    }


def _around(grid: list[int], value: int) -> list[tuple[int, float]]:
    """The entries on either side of `value`, and the share of each in between; the last one beyond the ends."""
    above = next((i for i, entry in enumerate(grid) if entry >= value), len(grid))
    if above in (0, len(grid)) or grid[above] == value:
        return [(grid[min(above, len(grid) - 1)], 1.0)]
    low, high = grid[above - 1], grid[above]
    share = (value - low) / (high - low)
    return [(low, 1 - share), (high, share)]


def _elementwise(source: Source, shard: ModelSpec) -> dict[str, KernelTimes]:
    """Operators bound by bandwidth: each value is read or written once, in bf16."""
    heads = shard.heads + shard.kv_heads
    values = {
        "embed": 2 * shard.hidden,
        "norm_attn": 4 * shard.hidden,  # with the residual that serving frameworks add there
        "rope_kv": 2 * (heads + shard.kv_heads) * shard.head_dim * (2 if shard.qk_norm else 1),
        "norm_mlp": 4 * shard.hidden,
    }
    if not shard.experts:
        values["activation"] = 3 * shard.intermediate
    sizes = sorted(source.gemm["m"].unique().tolist())
    return {
        name: {
            m: KernelTime(source.launch_s + m * each * BYTES_PER_VALUE / source.bandwidth, "elementwise", BANDWIDTH)
            for m in sizes
        }
        for name, each in values.items()
    }


def _experts(source: Source, shard: ModelSpec, tp: int) -> KernelTimes:
    """The fused experts of this shape; the distribution of tokens over experts is part of the kernel's name."""
    if shard.weights not in source.moe:
        problem = f"has no mixtures of experts in {shard.weights}"
        raise InputError(source.name, problem, expected=f"another framework, or a table {IN_BF16}")
    frame = source.moe[shard.weights].rename(columns={"num_tokens": "m"})
    shape = {"hidden_size": shard.hidden, "inter_size": shard.intermediate * tp, "moe_tp_size": tp}
    shape |= {"num_experts": shard.experts, "topk": shard.experts_per_token}
    for column, value in shape.items():
        frame = frame[frame[column] == value]
    if frame.empty:
        wanted = ", ".join(f"{column} {value}" for column, value in shape.items())
        raise InputError(source.name, f"has no experts with {wanted}", expected=f"another framework, or {MODELLED}")
    skew = sorted(frame["distribution"].unique())[0]
    times = of_shape(frame[frame["distribution"] == skew])
    return {m: KernelTime(seconds, f"{kernel} {skew}", MEASURED) for m, (seconds, kernel) in times.items()}


def _reduces(source: Source, hidden: int, tp: int, sizes: list[int]) -> KernelTimes:
    """NCCL's all-reduce at each number of tokens, interpolated between measured numbers of values."""
    frame = None if source.reduce is None else source.reduce[source.reduce["num_gpus"] == tp]
    if frame is None or frame.empty:
        known = [1] if source.reduce is None else [1, *sorted(source.reduce["num_gpus"].unique().tolist())]
        degrees = ", ".join(map(str, known))
        raise InputError(source.name, f"has no all-reduces among {tp} GPUs", expected=f"a tp of {degrees}")
    times = of_shape(frame.rename(columns={"message_size": "m"}))
    curve = Curve(np.array(list(times)), np.array([seconds for seconds, _ in times.values()]))
    kinds = {m: MEASURED if m * hidden in times else INTERPOLATED for m in sizes}
    return {m: KernelTime(curve(m * hidden), "NCCL", kind) for m, kind in kinds.items()}


def _attention(source: Source, shard: ModelSpec) -> KernelTimes:
    """Causal attention of one prompt, with these heads or with the nearest measured number of heads."""
    frame = source.attention[source.attention["head_dim"] == shard.head_dim]
    pairs = {(int(h), int(g)) for h, g in zip(frame["num_heads"], frame["num_key_value_heads"], strict=True)}
    if not pairs:
        raise InputError(source.name, f"has no attention with head_dim {shard.head_dim}; try another framework")

    def distance(pair: tuple[int, int]) -> tuple[float, tuple[int, int]]:
        off = abs(math.log(pair[0] / shard.heads)) + abs(math.log(pair[0] / pair[1] * shard.kv_heads / shard.heads))
        return off, pair

    heads, kv_heads = min(pairs, key=distance)
    kind = MEASURED if (heads, kv_heads) == (shard.heads, shard.kv_heads) else UTILISATION
    times = of_shape(frame, num_heads=heads, num_key_value_heads=kv_heads)
    return {n: KernelTime(seconds * shard.heads / heads, kernel, kind) for n, (seconds, kernel) in times.items()}


def _chunks(source: Source, shard: ModelSpec, attention: Mapping[int, KernelTime], own: OperatorTable) -> Chunks:
    """Chunks on context, at our sizes: they take as long as a whole prompt of equal work, or as reading K and V.

    A chunk computes whole tiles of queries on its context, so fewer tokens than a tile take as long as a full one.
    """
    sizes, seconds = list(attention), [cell.seconds for cell in attention.values()]
    alone = AttentionCurve(np.array(sizes), np.zeros(len(sizes), np.int64), np.array(seconds))
    kv_bytes = 2 * shard.kv_heads * shard.head_dim * BYTES_PER_VALUE
    rows, cells = own.samples("attention"), {}
    for tokens, context in zip(rows.tokens.tolist(), rows.context.tolist(), strict=True):
        if context:
            pairs = query_key_pairs(tokens, 0) + math.ceil(tokens / TILE) * TILE * context
            read_s = source.launch_s + (tokens + context) * kv_bytes / source.bandwidth
            cells[tokens, context] = KernelTime(max(alone.of_work(pairs), read_s), "attention", WORK)
    return cells


def _host_rows(own: OperatorTable) -> Iterator[OperatorRow]:
    for row in own.operators:
        if row.operator in HOST_OPERATORS:
            yield replace(row, backend=f"host: {COPIED_FROM}{_name(own)}")


def _launch_us(own: OperatorTable, operator: str) -> float:
    return round(usual_of(own)(own.samples(operator).host_s) * 1e6, 3)


def _row(operator: str, tokens: int, context: int, cell: KernelTime, launch_us: float) -> OperatorRow:
    us = round(cell.seconds * 1e6, 3)
    return OperatorRow(operator, tokens, context, us, us, us, launch_us, 0, f"{cell.kernel}: {cell.source}")


def _name(table: OperatorTable) -> str:
    return table.provenance.rank().name
