"""Calibration: measure a model's operators and passes on this machine's GPU, with their provenance.

Sizes are measured in random order, so that drift does not look like a trend. Device times are those of operators inside
whole layers; whole passes, at sizes off the grid, are kept separate to state the error of a fit
(`flowsim.calibration.measure.passes`).
"""

from __future__ import annotations

import dataclasses
import gc
import math
import random
import statistics
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from msgspec import to_builtins
from msgspec.structs import asdict

from flowsim.calibration.costs.accuracy import DEVICE_BOUND, leave_one_out
from flowsim.calibration.costs.attention.kernels import Choice
from flowsim.calibration.costs.host_times import UNREST
from flowsim.calibration.costs.models import ModelSpec
from flowsim.calibration.costs.provenance import SCHEMA_VERSION, Provenance
from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.costs.table_rows import OperatorRow, format_slices
from flowsim.calibration.gpu.batch import CacheSlice
from flowsim.calibration.gpu.decoder import Decoder
from flowsim.calibration.gpu.machine import check_device, check_measurable, check_seed, dtype_of, gpu_id, machine
from flowsim.calibration.gpu.memory import enough_memory
from flowsim.calibration.gpu.monitor import gpu_state
from flowsim.calibration.gpu.quiet_host import RUNNER, SCHEDULER, core_of, quiet_host
from flowsim.calibration.gpu_engine.runner import Runner
from flowsim.calibration.measure import idle_gpu, stopwatch
from flowsim.calibration.measure.grid import QUICK, Grid, midpoint
from flowsim.calibration.measure.host_costs import time_decisions, time_hand_offs, time_proceeding
from flowsim.calibration.measure.kernel_race import race_kernels
from flowsim.calibration.measure.measurement_log import MeasurementLog, Rows
from flowsim.calibration.measure.passes import Passes, pass_rows
from flowsim.calibration.measure.rows import host_row, operator_row, rounded
from flowsim.core.operators import LAYER_OPERATORS
from flowsim.errors import InputError
from flowsim.io.progress import Progress

STACK_BYTES = 24 << 30
"""Largest weights of the layers in which operators are timed, unless FEWEST_LAYERS need more."""
FEWEST_LAYERS = 4
FEWEST_TOKENS = 128
"""Smallest longest context of a model: with less, the grid has too few sizes for curves."""


def calibrate(
    spec: ModelSpec,
    gpu: str | None = None,
    *,
    tp: int = 1,
    quick: bool = False,
    grid: Grid | None = None,
    device: str = "cuda",
    seed: int = 0,
    progress: Progress | None = None,
    journal: str | Path | None = None,
    without: Collection[str] = (),
    say: Callable[[str], None] | None = None,
) -> OperatorTable:
    """Measure this model's operators and passes on one GPU of this machine, with random weights.

    A size that does not fit the memory is skipped and noted.

    Args:
        spec: the model.
        gpu: the table's name for the GPU; derived from the GPU's own name if None.
        tp: above 1, what one of `tp` tensor-parallel ranks computes is measured, without all-reduces: those are
            measured by `flowsim.calibration.measure.all_reduce` and joined to the table.
        quick: measure fewer sizes, in about a minute.
        grid: sizes to measure instead.
        device: "cuda" or "cpu".
        seed: of the weights and of the order of sizes.
        progress: called with (done, total, what) after every size.
        journal: file to which finished sizes are appended, and from which the same calibration continues.
        without: attention kernels not to use.
        say: called with a line if the calibration continues from a journal.

    Raises:
        InputError: there is no torch or no such device; the context is too short; no size fits the memory; or the
            journal was changed or is that of another calibration.
    """
    check_seed(seed)
    check_device(device)
    import torch

    shard = spec.shard(tp)
    check_measurable(shard, device)
    if spec.max_context < FEWEST_TOKENS:
        raise InputError(f"{spec.name}: max_context", found=spec.max_context, expected=f">= {FEWEST_TOKENS}")
    grid = (grid or (QUICK if quick else Grid())).within(spec.max_context)
    if tp > 1:  # recordings would lack the all-reduces
        grid = replace(grid, graphs=(), graph_passes=())
    here = machine(device, gpu)
    where = {**here, "gpu_id": gpu_id(device)}
    identity = {"spec": asdict(spec), "tp": tp, "grid": dataclasses.asdict(grid), "seed": seed, "machine": where}
    identity |= {"without": sorted(without)} if without else {}
    log = MeasurementLog(journal, identity, progress or (lambda done, total, what: None))
    core = core_of(device, RUNNER)
    with log, torch.inference_mode(), gpu_state(device == "cuda") as state, enough_memory(spec.name):
        if log.rows and say:
            say(f"continuing from {len(log.rows)} measured sizes in {journal}")
        job = _Calibration(shard, grid, device, seed, log, without)
        with quiet_host(device, RUNNER):  # as in serving
            model = job.run()
        with quiet_host(device, SCHEDULER), Runner(model, core) as runner:
            job.hand_off(runner)
    provenance = {
        "schema_version": SCHEMA_VERSION, **where, "model": spec.name, "model_spec": asdict(spec),
        "pass_layers": model.layers, "tp": tp, "dtype": dtype_of(device),
        **_measured_once(log, spec, job.first_call_us),
        "date": datetime.now(UTC).date().isoformat(), **state, "seed": seed, "notes": log.notes(),
    }  # fmt: skip
    table = OperatorTable(Provenance.of(provenance), log.collect(OperatorRow, "operator"), pass_rows(log))
    return table.stating(leave_one_out=to_builtins(leave_one_out(table)))


def _measured_once(log: MeasurementLog, spec: ModelSpec, first_call_us: dict[str, float]) -> dict[str, object]:
    """What provenance states of the model beside the rows: operators' calls, how a rested GPU gains, experts' loads."""
    boost = idle_gpu.fit_boost(log.mapping("gain"), log.mapping("series"))
    return {
        "calls": log.mapping("calls"),
        "first_call_us": first_call_us,
        **({"boost": boost.stated()} if boost else {}),
        **({"expert_load": log.mapping("expert_load")} if spec.experts else {}),
    }


class _Calibration:
    """The jobs of one calibration: operators in a stack of a few layers, then passes through the whole model."""

    def __init__(
        self, spec: ModelSpec, grid: Grid, device: str, seed: int, log: MeasurementLog, without: Collection[str]
    ) -> None:
        self.without = without
        self.spec, self.grid, self.device, self.seed, self.log = spec, grid, device, seed, log
        self.limits = grid.limits
        self.random = random.Random(seed)
        self.quietest_s = math.inf
        self.first_call_us: dict[str, float] = {}
        self.chunks = [(t, c) for t in grid.chunk_tokens for c in grid.chunk_contexts]
        self.cells = [(t, c) for t in grid.kernel_tokens for c in grid.kernel_contexts]
        self.passes = Passes(spec, grid, device, seed, log)
        counted = (grid.tokens, self.chunks, self.cells, grid.sequences, grid.prepared, grid.queues, grid.proceeding)
        log.total = self.passes.count + sum(map(len, counted)) + grid.extra + 3
        log.total += len(grid.prepared) if spec.experts else 0
        log.total += len(grid.boost_tokens) + 1 if device == "cuda" else 0

    def run(self) -> Decoder:
        """Measure everything that needs one thread. Returns the model that passes ran through."""
        choice = self._run_stack()
        gc.collect()  # frees the stack, before the model asks how much memory is free
        return self.passes.run(choice)

    def hand_off(self, runner: Runner) -> None:
        """Measure what needs two threads; this one is the scheduler."""
        for n in self.grid.queues:
            self.log.do(f"decision {n}", self._decision, n)
        self.log.do("hand-offs", self._hand_offs, runner)
        fitting = sorted({min(n, runner.decoder.rows) for n in self.grid.proceeding})
        self.log.total -= len(self.grid.proceeding) - len(fitting)
        for n in fitting:
            self.log.do(f"proceeding {n}", lambda n: [host_row("proceed", n, time_proceeding(runner, n))], n)

    def _run_stack(self) -> Choice:
        grid, do = self.grid, self.log.do
        sizes = (*grid.tokens, *grid.prepared, *grid.sequences, *grid.boost_tokens)
        sizes += tuple(t + c for t, c in self.chunks + self.cells)
        wanted = grid.expert_layers if self.spec.experts else grid.layers
        fitting = max(FEWEST_LAYERS, STACK_BYTES // self.spec.layer_bytes)
        dtype, layers = dtype_of(self.device), min(wanted, fitting)
        stack = Decoder(self.spec, self.device, rows=max(sizes), layers=layers, dtype=dtype, seed=self.seed)
        stack.attention, self.first_call_us = race_kernels(stack, self.cells, grid, self.log, self.without)
        jobs = [(t, 0) for t in grid.tokens] + self.chunks
        self.random.shuffle(jobs)
        for job in jobs:
            do(f"layer {format_slices([job])}", self._layers, stack, *job)
        self._refine(stack)
        for n in grid.sequences:
            do(f"head {n}", self._head, stack, n)
        for n in grid.prepared:
            do(f"prepare {n}", self._prepare, stack, n)
            if self.spec.experts:
                do(f"expert load {n}", self._expert_load, stack, n)
        do("check", self._check, stack)
        if self.device == "cuda":
            self._boost(stack)
        return stack.attention

    def _boost(self, stack: Decoder) -> None:
        """Measure how much faster an idle GPU starts, by tokens, and how soon it slows down."""
        for n in self.grid.boost_tokens:
            self.log.do(f"boost {n}", idle_gpu.time_gain, stack, n, self.grid.rests)
        tokens = idle_gpu.series_tokens(self.log.mapping("gain"))
        if tokens is None:
            self.log.total -= 1
        else:
            self.log.do("boost series", idle_gpu.time_series, stack, tokens)

    def _layers(self, stack: Decoder, tokens: int, context: int) -> Rows:
        device, host = self._on_quiet_host(stack, [CacheSlice(tokens, context)])
        backends = {"attention": stack.attention(tokens, context)}
        names = ["attention"] if context else list(device)
        return [operator_row(n, tokens, context, device[n], host[n], backends.get(n, "torch")) for n in names]

    def _on_quiet_host(self, stack: Decoder, slices: list[CacheSlice]) -> tuple[stopwatch.Samples, stopwatch.Samples]:
        """Device and host times, measured up to three times where the host matters and is busy with other work."""
        found = []
        for attempt in range(3):
            device, host = stopwatch.time_layers(stack, slices, self.limits)
            launched_s = sum(statistics.median(times) for name, times in host.items() if name != "attention")
            self.quietest_s = min(self.quietest_s, launched_s)
            found.append((launched_s, attempt, device, host))
            device_s = sum(statistics.median(times) for times in device.values())
            if launched_s < UNREST * self.quietest_s or device_s > DEVICE_BOUND * launched_s:
                break
        return min(found)[2:]

    def _refine(self, stack: Decoder) -> None:
        """Add sizes where a line between neighbours misses the operators other than attention by more than 2 %."""
        for done in range(self.grid.extra):
            tokens = midpoint(self._layer_curve())
            if tokens is None:
                self.log.total -= self.grid.extra - done
                return
            self.log.do(f"layer {tokens}@0", self._layers, stack, tokens, 0)

    def _layer_curve(self) -> list[tuple[int, float]]:
        """(tokens, microseconds of a layer without its attention), ascending."""
        sums: dict[int, float] = {}
        for row in (row for rows in self.log.rows.values() for row in rows):
            if row.get("operator") in LAYER_OPERATORS and row["operator"] != "attention":
                sums[row["tokens"]] = sums.get(row["tokens"], 0.0) + row["device_us"]
        return sorted(sums.items())

    def _head(self, stack: Decoder, sequences: int) -> Rows:
        return [operator_row("head", sequences, 0, *stopwatch.time_head(stack, sequences, self.limits), "torch")]

    def _prepare(self, stack: Decoder, tokens: int) -> Rows:
        return [host_row("prepare", tokens, stopwatch.time_prepare(stack, tokens, self.limits))]

    def _expert_load(self, stack: Decoder, tokens: int) -> Rows:
        p = stack.prepare([CacheSlice(tokens)])
        stack.run(p)
        return [{"expert_load": [tokens, rounded(stack.expert_load(p))]}]

    def _decision(self, queue: int) -> Rows:
        return [host_row("decision", queue, time_decisions(queue, self.limits))]

    def _check(self, stack: Decoder) -> Rows:
        return [host_row("check", 0, stopwatch.time_check(stack.device, self.limits))]

    def _hand_offs(self, runner: Runner) -> Rows:
        found = time_hand_offs(runner, self.limits.most)
        return [host_row(name, 0, seconds) for name, seconds in found._asdict().items()]
