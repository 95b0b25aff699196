"""Modelled tables: a measured table with the device times of another GPU or another model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from msgspec.structs import asdict

from flowsim.calibration.costs.gpus import IN_BF16, Gpu, catalogue
from flowsim.calibration.costs.models import ModelSpec
from flowsim.calibration.costs.provenance import SCHEMA_VERSION, Provenance
from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.costs.table_catalogue import load_table, table_names
from flowsim.calibration.costs.table_rows import GRAPH, HOST_OPERATORS, OPTIONAL_HOST_OPERATORS, OperatorRow
from flowsim.calibration.modelled.accuracy import stated_error
from flowsim.calibration.modelled.scaling import Scaling, Seconds
from flowsim.errors import InputError, unknown

KEPT = (*HOST_OPERATORS, *(name for name in OPTIONAL_HOST_OPERATORS if not name.startswith(GRAPH)))
"""Work of the host, which is that of the nearest measured table."""


def modelled_table(
    spec: ModelSpec, gpu: str, sheet: Gpu, tables: Sequence[OperatorTable], tp: int = 1
) -> OperatorTable:
    """The table of a model on a GPU, of one of `tp` ranks, scaled from measured tables.

    It has no all-reduces, no recorded forwards, and a GPU that does not become slower with load.

    Args:
        spec: the model.
        gpu: the name of the GPU.
        sheet: its datasheet.
        tables: measured, all on one GPU of the catalogue. Of them the nearest gives the sizes and the host times.
        tp: the tensor-parallel degree.

    Raises:
        InputError: no table is of a model of the same kind, or the model cannot be divided by `tp`.
    """
    own, shard = nearest(spec, tables), spec.shard(tp)
    tables = [table for table in tables if table.provenance.rank().spec.bytes_per_weight == spec.bytes_per_weight]
    source = own.provenance.rank().gpu
    scaling = Scaling(catalogue()[source], tables, sheet)
    names = sorted(_name(table) for table in tables)
    templates = {name: next(one for one in (own, *tables) if one.has(name)) for name in spec.operators}
    rows = [row for row in own.operators if row.operator in KEPT]
    rows += [row for name, one in templates.items() for row in _scaled(one, name, scaling.cost(shard, name), spec)]
    provenance: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION, "gpu": gpu, "memory_bytes": sheet.memory_bytes,
        "multiprocessors": sheet.multiprocessors, "datasheet": asdict(sheet),
        "model": spec.name, "model_spec": asdict(spec), "tp": tp, "dtype": "bfloat16",
        "modelled_from": _name(own), "modelled_from_sha256": own.digest(), "efficiencies_of": names,
        "calls": {**tables[0].provenance.calls, **own.provenance.calls},
        "modelled_error": stated_error(spec, gpu, source, names, tp),
    }  # fmt: skip
    return OperatorTable(Provenance.of(provenance), tuple(rows))


def nearest(spec: ModelSpec, tables: Iterable[OperatorTable]) -> OperatorTable:
    """Of the tables of whole models, that of this model or, if there is none, of one with the most similar heads.

    InputError: none is of a model of the same kind.
    """
    alike = [table for table in tables if table.provenance.tp == 1 and _is_alike(table, spec)]
    if not alike:
        raise _none_alike(spec, "of these", "other tables to scale from: without --from, all that there are")

    def distance(table: OperatorTable) -> tuple[bool, float, int]:
        other = table.provenance.rank().spec
        unlike = abs(math.log(other.heads / spec.heads)) + abs(math.log(other.kv_heads / spec.kv_heads))
        return other.name != spec.name, unlike, -len(table.operators)

    return min(alike, key=distance)


def measured_tables(spec: ModelSpec, gpu: str, source: str | None = None) -> list[OperatorTable]:
    """The measured tables of one GPU of the catalogue, to scale from.

    Args:
        spec: the model that is wanted.
        gpu: the GPU that is wanted.
        source: the name of a GPU, or of a GPU and a model as in h200/llama3-8b; None = the wanted GPU itself if models
            of the same kind were measured there, or else the GPU with most such tables.

    Raises:
        InputError: there is no such table.
    """
    named = {name: load_table(*name) for name in table_names() if name.gpu in catalogue()}
    tables = {name: table for name, table in named.items() if table.provenance.kind == "measured"}
    if source is not None:
        found = [table for name, table in tables.items() if source in (name.gpu, f"{name.gpu}/{name.model}")]
        if not found:
            raise unknown("measured GPU", source, {name.gpu for name in tables}, where="--from")
        return found
    alike = [name.gpu for name, table in tables.items() if _is_alike(table, spec)]
    if not alike:
        raise _none_alike(spec, "at all", f"an imported table (flowsim calibrate import), or one {IN_BF16}")
    best = gpu if gpu in alike else max(sorted(set(alike)), key=alike.count)
    return [table for name, table in tables.items() if name.gpu == best]


def _is_alike(table: OperatorTable, spec: ModelSpec) -> bool:
    """Whether a table is of a model of the same kind: dense or of experts, with weights of the same size."""
    other = table.provenance.rank().spec
    return (bool(other.experts), other.bytes_per_weight) == (bool(spec.experts), spec.bytes_per_weight)


def _none_alike(spec: ModelSpec, where: str, expected: str) -> InputError:
    kind = f"{'a mixture of experts' if spec.experts else 'a dense model'} in {spec.weights}"
    problem = f"no measured table {where} is of {kind}, from which it could be scaled"
    return InputError(spec.name, problem, expected=expected)


def _scaled(template: OperatorTable, operator: str, cost: Seconds, spec: ModelSpec) -> Iterator[OperatorRow]:
    """The rows of an operator in a mean layer, at the sizes of a table that has it.

    With norms afterwards too, each norm runs twice.
    """
    times = 2 if spec.post_norms and operator in ("norm_attn", "norm_mlp") else 1
    launched = sum(layers for layers, kind in spec.layer_kinds if operator in kind.operators) / spec.layers
    for row in template.operators:
        if row.operator == operator:
            us = round(times * cost(row.tokens, row.context) * 1e6, 3)
            host_us = times * launched * row.host_us
            yield replace(row, device_us=us, device_us_p10=us, device_us_p90=us, host_us=host_us, repeats=0)


def _name(table: OperatorTable) -> str:
    return table.provenance.rank().name
