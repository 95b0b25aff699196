"""All-reduces among the GPUs of a machine: measured in the layers of a group of ranks, then joined to their table.

One process per GPU executes one tensor-parallel rank; after o_proj and after down_proj (or the experts) the ranks sum
their outputs. A rank's time of an all-reduce includes waiting for the slowest rank. Whole passes of the group, never
fitted, state the error of a pass composed from a rank's operators and all-reduces.
"""

from __future__ import annotations

import gc
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flowsim.calibration.costs.attention.kernels import Choice, kernel_choice
from flowsim.calibration.costs.curves import Curve
from flowsim.calibration.costs.models import ModelSpec
from flowsim.calibration.costs.provenance import SCHEMA_VERSION, Provenance
from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.costs.table_rows import ALL_REDUCE, OperatorRow, PassRow
from flowsim.calibration.gpu.batch import CacheSlice
from flowsim.calibration.gpu.decoder import REDUCED_BY, Decoder
from flowsim.calibration.gpu.graphs import Launcher
from flowsim.calibration.gpu.machine import check_device, dtype_of, machine
from flowsim.calibration.gpu.quiet_host import RUNNER, quiet_host
from flowsim.calibration.gpu_engine.runner import launch
from flowsim.calibration.measure.grid import CHECKED, OFF_GRID
from flowsim.calibration.measure.passes import host_bound, layers_that_fit, packed
from flowsim.calibration.measure.repeats import RepeatLimits
from flowsim.calibration.measure.rows import operator_row, pass_row
from flowsim.calibration.measure.stopwatch import Stopwatch
from flowsim.errors import InputError
from flowsim.io.progress import Progress

TOKENS = (1, 4, 16, 32, 64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 16384, 32768)
LAYERS = 4
"""Layers of the stack in which all-reduces are timed; the first two keep the devices busy."""
STALL_S = 20e-3
"""Longest stall of a device until the host is ahead of it."""


@dataclass(frozen=True)
class GroupGrid:
    """What is measured of a group: all-reduces by tokens, and whole passes, checked and unchecked, as in `Grid`."""

    tokens: tuple[int, ...] = TOKENS
    passes: tuple[tuple[str, str], ...] = (
        *(("none", text) for text in OFF_GRID),
        *(("layer", text) for text in CHECKED),
        *(("operator", text) for text in CHECKED),
    )
    limits: RepeatLimits = field(default_factory=RepeatLimits)
    pass_limits: RepeatLimits = field(default_factory=lambda: RepeatLimits(least=8))

    def within(self, longest: int) -> GroupGrid:
        """This grid without the sizes beyond a model's longest context."""
        tokens = tuple(n for n in self.tokens if n <= longest)
        fitting = (p for p in self.passes if all(s.tokens + s.context <= longest for s in packed(p[1])))
        return replace(self, tokens=tokens, passes=tuple(fitting))


def measure_group(
    rank: OperatorTable, *, device: str = "cuda", grid: GroupGrid | None = None, seed: int = 0,
    progress: Progress | None = None,
) -> OperatorTable:  # fmt: skip
    """Measure the all-reduces among the ranks of which `rank` is one, and whole passes of all ranks, on this machine.

    Ranks are processes, each with its own GPU (NCCL), or on the CPU (gloo).

    Returns:
        A table of the one operator all_reduce and of the passes, for `join`.

    Raises:
        InputError: there is no torch, no such device, or too few of them; or the table is that of a whole model.
    """
    check_device(device)
    import torch

    tp, spec = ranks(rank), rank.provenance.rank().spec
    gpus = torch.cuda.device_count() if device == "cuda" else tp
    if tp > gpus:
        raise InputError("tp of the table", found=tp, expected=f"<= {gpus}, the GPUs of this machine")
    with tempfile.TemporaryDirectory() as folder:
        grid = (grid or GroupGrid()).within(spec.max_context)
        job = _Group(tp, spec, device, kernel_choice(rank), grid, seed, folder)
        torch.multiprocessing.spawn(_execute, (job,), nprocs=tp)
        rows, passes, layers = torch.load(Path(folder) / "measured", weights_only=True)
    if progress:
        progress(len(rows) + len(passes), len(rows) + len(passes), ALL_REDUCE)
    provenance = {
        "schema_version": SCHEMA_VERSION, **machine(device, rank.provenance.gpu), "model": ALL_REDUCE,
        "width": spec.hidden, "tp": tp, "seed": seed, "pass_layers": layers, "backend": _backend(device),
        "date": datetime.now(UTC).date().isoformat(),
    }  # fmt: skip
    operators, whole = tuple(OperatorRow(**r) for r in rows), tuple(PassRow(**p) for p in passes)
    return OperatorTable(Provenance.of(provenance), operators, whole)


def ranks(rank: OperatorTable) -> int:
    """The number of ranks, of which this table is one. InputError: it is that of a whole model."""
    tp = rank.provenance.rank().tp
    if tp < 2:
        raise InputError("tp of the table", found=tp, expected=">= 2: one GPU has nothing to reduce")
    return tp


def join(table: OperatorTable, collective: OperatorTable) -> OperatorTable:
    """The table of a tensor-parallel rank with the all-reduces of its GPU, at its own sizes, by bytes.

    If `collective` holds passes of the whole group, they replace those of the rank.

    Raises:
        InputError: the two are of different GPUs or degrees, or one of them is not such a table.
    """
    ours, theirs = table.provenance, collective.provenance
    if theirs.width is None or ours.model_spec is None:
        raise InputError("join", "needs the table of a model, then one of all-reduces")
    for key, mine, other in (("gpu", ours.gpu, theirs.gpu), ("tp", ours.tp, theirs.tp)):
        if mine != other:
            raise InputError(f"{key} of the all-reduces", found=other, expected=f"{mine!r}, as in the table")
    about = {key: value for key, value in theirs.stated.items() if key != "schema_version"}
    others = tuple(row for row in table.operators if row.operator != ALL_REDUCE)
    joined = replace(table, operators=others + _rows_at(table, collective))
    joined = joined.stating(**{ALL_REDUCE: {"sha256": collective.digest(), **about}})
    if not collective.passes:
        return joined
    return replace(joined.stating(pass_layers=theirs.pass_layers, passes_of="group"), passes=collective.passes)


def _rows_at(table: OperatorTable, collective: OperatorTable) -> tuple[OperatorRow, ...]:
    """Rows of all_reduce at the sizes of the table's o_proj, interpolated between measured numbers of bytes."""
    assert table.provenance.model_spec and collective.provenance.width  # as `join` has checked
    scale = table.provenance.model_spec.hidden / collective.provenance.width
    measured = collective.samples(ALL_REDUCE)
    sample = next(row for row in collective.operators if row.operator == ALL_REDUCE)
    device, host = Curve(measured.tokens, measured.device_s), Curve(measured.tokens, measured.host_s)
    rows = []
    for tokens in table.samples("o_proj").tokens.tolist():
        us = round(1e6 * device(tokens * scale), 3)
        launch_us = round(1e6 * host(tokens * scale), 3)
        rows.append(OperatorRow(ALL_REDUCE, tokens, 0, us, us, us, launch_us, sample.repeats, sample.backend))
    return tuple(rows)


def _backend(device: str) -> str:
    return "nccl" if device == "cuda" else "gloo"


@dataclass(frozen=True)
class _Group:
    """The job of every process of a group."""

    tp: int
    spec: ModelSpec
    device: str
    attention: Choice
    grid: GroupGrid
    seed: int
    folder: str


def _execute(rank: int, job: _Group) -> None:
    """One process. All of them run the same; the first one saves its measurements."""
    import torch
    from torch import distributed

    if job.device == "cuda":
        torch.cuda.set_device(rank)
    store = f"file://{job.folder}/store"
    distributed.init_process_group(_backend(job.device), init_method=store, rank=rank, world_size=job.tp)
    with quiet_host(job.device, RUNNER + rank), torch.inference_mode():
        member = _Member(rank, job)
        rows = member.all_reduces()
        gc.collect()  # frees the stack, before the model asks how much memory is free
        measured = rows, *member.passes()
    if rank == 0:
        torch.save(measured, Path(job.folder) / "measured")
    distributed.destroy_process_group()


class _Member:
    """One rank of a group. All ranks repeat equally often, as the first one decides."""

    def __init__(self, rank: int, job: _Group) -> None:
        import torch

        self.job, self.leads = job, rank == 0
        self.device = torch.device(job.device, rank) if job.device == "cuda" else torch.device(job.device)
        self.watch = Stopwatch(self.device)
        self.random = random.Random(job.seed)
        self._word = torch.ones(1, device=self.device)

    def all_reduces(self) -> list[dict[str, Any]]:
        """Rows of all_reduce, timed in the last layers of a stack."""
        tokens = self.random.sample(self.job.grid.tokens, len(self.job.grid.tokens))
        stack = self._decoder(max(tokens), min(LAYERS, self.job.spec.layers))
        return sorted((self._all_reduce(stack, n) for n in tokens), key=lambda row: row["tokens"])

    def passes(self) -> tuple[list[dict[str, Any]], int]:
        """Rows of whole passes, and the number of layers that they ran through."""
        import torch

        grid, shapes = self.job.grid, {text: packed(text) for _, text in self.job.grid.passes}
        rows = max((s.start + s.context + s.tokens for slices in shapes.values() for s in slices), default=1)
        shard = self.job.spec.shard(self.job.tp)
        layers = torch.tensor([layers_that_fit(shard, rows, self.job.device)], device=self.device)
        torch.distributed.all_reduce(layers, torch.distributed.ReduceOp.MIN)
        model = self._decoder(rows, int(layers))
        waiting = [(cut, text) for cut, text in grid.passes if host_bound(shard, text)]
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for passes in (grid.passes, waiting):  # as `Passes.measure` does
            for cut, text in self.random.sample(passes, len(passes)):
                row = self._pass(model, cut, text, shapes[text])
                found[cut, text] = min(found.get((cut, text), row), row, key=lambda row: row["wall_us"])
        return [found[which] for which in grid.passes], int(layers)

    def _decoder(self, rows: int, layers: int) -> Decoder:
        from torch import distributed

        job = self.job
        return Decoder(
            job.spec.shard(job.tp), str(self.device), rows=rows, layers=layers, dtype=dtype_of(job.device),
            seed=job.seed, attention=job.attention, reduce=distributed.all_reduce, adds_residual=self.leads,
        )  # fmt: skip

    def _all_reduce(self, stack: Decoder, tokens: int) -> dict[str, Any]:
        p, on_device, on_host = stack.prepare([CacheSlice(tokens)]), list[float](), list[float]()
        steps, launching_s = stack.program[:-1], [0.0]

        def once() -> None:
            marks, launches, begun = [], [], time.perf_counter()
            self.watch.stall(min(1.5 * launching_s[-1], STALL_S))
            for step in steps:
                timed = step.layer >= stack.layers // 2 and step.operator in REDUCED_BY.values()
                begin, launched_s = self.watch.mark() if timed else None, time.perf_counter()
                step.run(p)
                if timed:
                    launches.append(time.perf_counter() - launched_s)
                    marks.append((begin, self.watch.mark()))
            empty = marks[-1][1], self.watch.mark()
            launching_s.append(time.perf_counter() - begun)
            self.watch.synchronise()
            reduced_s = statistics.fmean(self.watch.between(*pair) for pair in marks)
            on_device.append(max(reduced_s - self.watch.between(*empty), 0.1 * reduced_s))
            on_host.append(statistics.fmean(launches))

        self._repeat(once, on_device, self.job.grid.limits)
        return operator_row(ALL_REDUCE, tokens, 0, on_device, on_host, _backend(self.job.device))

    def _pass(self, model: Decoder, cut: str, text: str, slices: Sequence[CacheSlice]) -> dict[str, Any]:
        """The wall time of a pass that all ranks begin together."""
        from torch import distributed

        launcher, wall = Launcher(model, cut), list[float]()
        here = [self.device.index] if self.device.type == "cuda" else None

        def once() -> None:
            distributed.barrier(device_ids=here)
            self.watch.synchronise()
            begin = time.perf_counter()
            launch(launcher.ready(slices), self.watch.synchronise, lambda: False)
            wall.append(time.perf_counter() - begin)

        self._repeat(once, wall, self.job.grid.pass_limits)
        return pass_row(cut, text, wall)

    def _repeat(self, once: Callable[[], None], samples: list[float], limits: RepeatLimits) -> None:
        """Warm up, then repeat within the limits; `once` appends to `samples`."""
        once()
        end = time.perf_counter() + limits.heat_s
        while self._agree(time.perf_counter() < end):
            once()
        samples.clear()
        rounds = limits.rounds(samples)
        while self._agree(next(rounds, None) is not None):
            once()

    def _agree(self, go_on: bool) -> bool:
        """The first rank's decision."""
        from torch import distributed

        self._word.fill_(float(go_on))
        distributed.broadcast(self._word, 0)
        return bool(self._word.item())
