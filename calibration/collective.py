"""All-reduce among the GPUs of a machine: measured by one process each, then joined to the tables of ranks.

It is measured in place: each all-reduce follows a matrix product, as in a layer, on devices that the hosts keep busy,
over buffers that are rotated beyond the cache. A rank's time includes waiting for the slowest.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flowsim.calibration.curves import Curve
from flowsim.calibration.journal import Progress
from flowsim.calibration.measure import check_device, machine, operator_row
from flowsim.calibration.table import ALL_REDUCE, SCHEMA_VERSION, OperatorRow, OperatorTable
from flowsim.calibration.timing import Limits, Stopwatch, undisturbed
from flowsim.errors import InputError

WIDTH = 4096
"""Values of a token's activations in what is measured; other widths follow by bytes."""
TOKENS = (1, 4, 16, 32, 64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 16384, 32768, 65536)
QUICK_TOKENS = (1, 64, 512, 2048, 8192)
BUFFERS = 4
TRAIN = 8
"""All-reduces in a row, timed one by one; the first two are dropped."""


def measure_all_reduce(
    tp: int,
    gpu: str | None = None,
    *,
    device: str = "cuda",
    tokens: tuple[int, ...] = TOKENS,
    limits: Limits | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> OperatorTable:
    """Measure the all-reduce of so many tokens' activations, WIDTH values each, among `tp` ranks of this machine.

    Ranks are processes, each with a GPU of its own (NCCL), or on the CPU (gloo). `gpu` is the table's name for the
    GPU. Returns a table of the one operator all_reduce, for `join`. InputError: no torch, no such device, too few of
    them, or fewer than 2 ranks.
    """
    check_device(device)
    import torch

    found = torch.cuda.device_count() if device == "cuda" else tp
    if not 2 <= tp <= found:
        raise InputError(f"tp: found {tp}; allowed: 2 or more, and at most the {found} GPUs of this machine")
    about = machine(device, gpu)
    with tempfile.TemporaryDirectory() as folder:
        job = (tp, device, tokens, limits or Limits(8, 40, 0.5, 0.1), seed, folder)
        torch.multiprocessing.spawn(_rank, job, nprocs=tp)
        rows = torch.load(Path(folder) / "rows", weights_only=True)
    if progress:
        progress(len(tokens), len(tokens), ALL_REDUCE)
    provenance = {
        "schema_version": SCHEMA_VERSION, **about, "model": ALL_REDUCE, "width": WIDTH, "tp": tp, "seed": seed,
        "backend": _backend(device), "date": datetime.now(UTC).date().isoformat(),
    }  # fmt: skip
    return OperatorTable(provenance, tuple(OperatorRow(**row) for row in rows))


def join(table: OperatorTable, collective: OperatorTable) -> OperatorTable:
    """The table of a tensor-parallel rank with the all-reduces of its GPU, at its own sizes, by bytes.

    InputError: they are of different GPUs or degrees, or one of them is not such a table.
    """
    if "width" not in collective.provenance or "model_spec" not in table.provenance:
        raise InputError("join: allowed: the table of a model, then one made by flowsim calibrate --all-reduce")
    for key in ("gpu", "tp"):
        if table.provenance[key] != collective.provenance[key]:
            allowed = table.provenance[key]
            raise InputError(f"{key} of the all-reduce: found {collective.provenance[key]!r}; allowed: {allowed!r}")
    rows = _rows_at(table, collective)
    others = tuple(row for row in table.operators if row.operator != ALL_REDUCE)
    about = {key: value for key, value in collective.provenance.items() if key != "schema_version"}
    provenance = {**table.provenance, ALL_REDUCE: {"sha256": collective.digest(), **about}}
    return replace(table, provenance=provenance, operators=others + rows)


def _rows_at(table: OperatorTable, collective: OperatorTable) -> tuple[OperatorRow, ...]:
    """Rows of all_reduce at the sizes of the table's o_proj, interpolated between measured numbers of bytes."""
    scale = table.provenance["model_spec"]["hidden"] / collective.provenance["width"]
    measured = collective.curve(ALL_REDUCE)
    sample = next(row for row in collective.operators if row.operator == ALL_REDUCE)
    device, host = Curve(measured.tokens, measured.device_s), Curve(measured.tokens, measured.host_s)
    rows = []
    for tokens in table.curve("o_proj").tokens.tolist():
        us = round(1e6 * device(tokens * scale), 3)
        launch_us = round(1e6 * host(tokens * scale), 3)
        rows.append(OperatorRow(ALL_REDUCE, tokens, 0, us, us, us, launch_us, sample.repeats, sample.backend))
    return tuple(rows)


def _backend(device: str) -> str:
    return "nccl" if device == "cuda" else "gloo"


def _rank(rank: int, tp: int, device: str, tokens: tuple[int, ...], limits: Limits, seed: int, folder: str) -> None:
    """One process: all of them run the same; the first one writes what it read."""
    import torch
    from torch import distributed

    if device == "cuda":
        torch.cuda.set_device(rank)
    store = f"file://{folder}/store"
    distributed.init_process_group(_backend(device), init_method=store, rank=rank, world_size=tp)
    here = torch.device(device, rank) if device == "cuda" else torch.device(device)
    order = random.Random(seed).sample(tokens, len(tokens))
    with undisturbed():
        rows = [_measure(here, size, limits) for size in order]
    if rank == 0:
        torch.save(sorted(rows, key=lambda row: row["tokens"]), Path(folder) / "rows")
    distributed.destroy_process_group()


def _measure(device: Any, tokens: int, limits: Limits) -> Mapping[str, Any]:
    """Device and host seconds of one size. The ranks repeat alike: it is the first that says how often."""
    import torch
    from torch import distributed

    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    buffers = [torch.zeros(tokens, WIDTH, device=device, dtype=dtype) for _ in range(BUFFERS)]
    product = [torch.randn(n, WIDTH, device=device, dtype=dtype) for n in (tokens, WIDTH if dtype.itemsize < 4 else 1)]
    watch, on_device, on_host = Stopwatch(device), list[float](), list[float]()
    going = torch.ones(1, device=device)
    rounds = limits.rounds(on_device)
    _train(watch, buffers, product)
    while going.item():
        found = _train(watch, buffers, product)
        for samples, times in zip((on_device, on_host), found, strict=True):
            samples += times
        going.fill_(float(next(rounds, None) is not None))
        distributed.broadcast(going, 0)
    row = operator_row(ALL_REDUCE, tokens, 0, on_device, on_host, _backend(device.type))
    return {**row, "repeats": len(on_device)}


def _train(watch: Stopwatch, buffers: list[Any], product: list[Any]) -> tuple[list[float], list[float]]:
    """Device and host seconds of each all-reduce but the first two, each behind a matrix product."""
    from torch import distributed

    marks, host = [], []
    watch.stall(2e-3)
    for i in range(TRAIN):
        buffer = buffers[i % len(buffers)]
        product[0] @ product[1].t()
        begin, launched = watch.mark(), time.perf_counter()
        distributed.all_reduce(buffer)
        host.append(time.perf_counter() - launched)
        marks.append((begin, watch.mark()))
    watch.synchronise()
    return [watch.between(*pair) for pair in marks[2:]], host[2:]
