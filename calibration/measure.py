"""Calibration: measure a model's operators and passes on this machine's GPU, and write down how.

Sizes are taken in random order, so that drift does not look like a trend. Device times come from whole layers in
place; whole passes of the full model, at sizes off the grid, are kept apart to state the error of a fit.
"""

from __future__ import annotations

import gc
import math
import os
import platform
import random
import statistics
from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from flowsim.calibration import rest, timing
from flowsim.calibration.attention import KERNELS, PADDING, Choice, working_kernels
from flowsim.calibration.decision import time_decisions, time_hand_offs
from flowsim.calibration.errors import leave_one_out
from flowsim.calibration.graphs import Launcher
from flowsim.calibration.grid import QUICK, Grid
from flowsim.calibration.journal import Journal, Progress, Rows
from flowsim.calibration.models import BYTES_PER_VALUE, ModelSpec
from flowsim.calibration.monitor import driver_version, gpu_state
from flowsim.calibration.operators import CacheSlice, Decoder
from flowsim.calibration.runner import Runner
from flowsim.calibration.steady import RUNNER, SCHEDULER, core_of, steady
from flowsim.calibration.table import (
    GRAPH,
    SCHEMA_VERSION,
    OperatorRow,
    OperatorTable,
    PassRow,
    format_slices,
    parse_slices,
)
from flowsim.calibration.timing import Limits
from flowsim.errors import InputError, unknown
from flowsim.forward import LAYER_OPERATORS, graph_size

CPU_MEMORY_BYTES = 16 << 30
"""What a table measured on a CPU says of the memory: enough for the small models that one measures there."""
RACE = Limits(3, 10, 0.15, heat_s=0.1)
"""How long the choice between attention kernels may take, each."""
STACK_BYTES = 24 << 30
"""Weights of the layers in which operators are timed, at most, but for the fewest that do."""
FEWEST_LAYERS = 4
UNREST = 1.2
"""What is timed is timed again if the host took so many times what it took when it was quietest."""
RECORDED_CUTS = ("none", "operator")
"""At which recorded forwards are timed."""
AHEAD = 0.5
"""Where launching takes less than this share of the device's time, the host's unrest does not show in that."""
GLANCE = Limits(3, 3, heat_s=0.0)
PASS_BYTES = 20 << 30
"""Weights of the layers in whole passes, at most: about what an 8B model has, since time grows with them."""


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
) -> OperatorTable:
    """Measure this model's operators and passes here, with random weights, on one GPU.

    With `tp` above 1 it is what one of so many tensor-parallel ranks computes, its all-reduces apart: those are
    measured by `flowsim.calibration.collective` and joined to the table.

    `gpu` is the table's name for the GPU (from its own name unless told); `grid` overrides the sizes; `progress` is
    called with (done, total, what) after every size. Finished sizes are appended to `journal` and not measured
    again when the same calibration is started anew. A size that does not fit the memory is skipped and noted.
    `without`: attention kernels not to use.
    InputError: no torch, no such device, or the journal of another calibration.
    """
    check_device(device)
    import torch

    shard = spec.shard(tp)
    grid = (grid or (QUICK if quick else Grid())).within(spec.max_context)
    if tp > 1:  # a rank alone has no all-reduces to record
        grid = replace(grid, graphs=(), graph_passes=())
    here = machine(device, gpu)
    identity = {"spec": asdict(spec), "tp": tp, "grid": asdict(grid), "seed": seed, "machine": here}
    identity |= {"without": sorted(without)} if without else {}
    log = Journal(journal, identity, progress or (lambda done, total, what: None))
    core = core_of(device, RUNNER)
    with torch.inference_mode(), gpu_state(device == "cuda") as state:
        job = _Calibration(shard, grid, device, seed, log, without)
        with steady(device, RUNNER):  # timed as it will run
            model = job.run()
        with steady(device, SCHEDULER), Runner(model, core) as runner:
            job.hand_off(runner)
    boost = rest.fit_boost(log.mapping("gain"), log.mapping("course"))
    notes = [f"{key}: {row['note']}" for key, rows in log.rows.items() for row in rows if "note" in row]
    provenance = {
        "schema_version": SCHEMA_VERSION, **here, "model": spec.name,
        "model_spec": asdict(spec),
        "pass_layers": job.pass_layers, "tp": tp, "dtype": _dtype(device),
        "calls": log.mapping("calls"), "first_call_us": job.first_call_us,
        **({"boost": boost} if boost else {}),
        **({"expert_load": log.mapping("expert_load")} if spec.experts else {}),
        "date": datetime.now(UTC).date().isoformat(), **state, "seed": seed, "notes": notes,
    }  # fmt: skip
    table = OperatorTable(provenance, log.collect(OperatorRow, "operator"), log.collect(PassRow, "cut"))
    return replace(table, provenance={**provenance, "leave_one_out": leave_one_out(table)})


class _Calibration:
    """The jobs of one calibration: operators in a stack of a few layers, then passes through the whole model."""

    def __init__(
        self, spec: ModelSpec, grid: Grid, device: str, seed: int, log: Journal, without: Collection[str]
    ) -> None:
        self.without = without
        self.spec, self.grid, self.device, self.seed, self.log = spec, grid, device, seed, log
        self.limits = grid.limits
        self.random = random.Random(seed)
        self.pass_layers = spec.layers
        self.quietest_s = math.inf
        self.first_call_us: dict[str, float] = {}
        self.chunks = [(t, c) for t in grid.chunk_tokens for c in grid.chunk_contexts]
        self.cells = [(t, c) for t in grid.kernel_tokens for c in grid.kernel_contexts]
        self.passes = [("none", s, 0) for s in grid.passes]
        self.passes += [(cut, s, 0) for cut in grid.cuts for s in grid.checked_passes]
        self.passes += [(cut, s, max(grid.graphs)) for cut in ("none", *grid.cuts) for s in self._recorded_passes()]
        self.launchers: dict[tuple[str, int], Launcher] = {}
        counted = (
            *(grid.tokens, self.chunks, self.cells, grid.sequences, grid.prepared, grid.queues),
            *(grid.graphs, self.passes),
        )
        log.total = sum(map(len, counted)) + grid.extra + 4 + (len(grid.prepared) if spec.experts else 0)
        log.total += len(grid.boosted) + 1 if device == "cuda" else 0

    def run(self) -> Decoder:
        """Measure all that one thread can; the journal holds the results. Returns the model that passes ran through."""
        choice = self._run_stack()
        gc.collect()  # of the stack, before the model asks how much memory is free
        return self._run_passes(choice)

    def hand_off(self, runner: Runner) -> None:
        """Measure what takes two threads; this one is the scheduler."""
        for n in self.grid.queues:
            self.log.do(f"decision {n}", self._decision, n)
        self.log.do("hand-offs", self._hand_offs, runner)

    def _decoder(self, rows: int, layers: int) -> Decoder:
        return Decoder(self.spec, self.device, rows=rows, layers=layers, dtype=_dtype(self.device), seed=self.seed)

    def _run_stack(self) -> Choice:
        grid, do = self.grid, self.log.do
        sizes = (*grid.tokens, *grid.prepared, *grid.sequences, *grid.boosted)
        sizes += tuple(t + c for t, c in self.chunks + self.cells)
        wanted = grid.layers * (2 if self.spec.experts else 1)  # for experts are loaded unlike in each layer
        fitting = max(FEWEST_LAYERS, STACK_BYTES // self.spec.layer_bytes)
        stack = self._decoder(max(sizes), min(wanted, fitting))
        stack.attention = self._choose_kernels(stack)
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
        """How much faster a GPU is that has rested, by tokens, and how soon it is no longer."""
        for n in self.grid.boosted:
            self.log.do(f"boost {n}", rest.time_gain, stack, n, self.grid.rests)
        tokens = rest.course_tokens(self.log.mapping("gain"))
        if tokens is None:
            self.log.total -= 1
        else:
            self.log.do("boost course", rest.time_course, stack, tokens, self.grid.rests)

    def _choose_kernels(self, stack: Decoder) -> Choice:
        working = self.log.do("kernels", self._try_kernels, stack)[0]["working"]
        default = next(name for name in ("flash", "varlen", "math") if name in working)
        cells, firsts = {}, dict[str, list[float]]()
        for cell in self.cells:
            row = self.log.do(f"kernel {format_slices([cell])}", self._race, stack, cell, working)[0]
            cells[cell] = row.get("winner", default)
            for name, us in row.get("first_call_us", {}).items():
                firsts.setdefault(name, []).append(us)
        self.first_call_us = {name: _round(statistics.median(us)) for name, us in firsts.items()}
        return Choice.of(default, cells)

    def _try_kernels(self, stack: Decoder) -> Rows:
        spec = self.spec
        found = working_kernels(spec.heads, spec.kv_heads, spec.head_dim, stack.device, stack.dtype)
        found |= dict.fromkeys(self.without, "left out")
        broken = [{"note": f"{name} not used: {reason}"} for name, reason in found.items() if reason]
        return [{"working": [name for name, reason in found.items() if not reason]}, *broken]

    def _race(self, stack: Decoder, cell: tuple[int, int], candidates: list[str]) -> Rows:
        """Time each kernel at one size. One that raises is out; a tie within 2 % goes to the earlier."""
        import torch

        times, firsts, notes = dict[str, float](), dict[str, float](), Rows()
        p = stack.prepare([CacheSlice(*cell)])
        p.queries[0].normal_()
        for name in candidates:
            if name == "math" and times:
                break  # slow, and its mask is large: only where nothing else works
            p.kernels = (KERNELS[name],)
            try:
                times[name], firsts[name] = timing.time_attention(stack, p, RACE)
            except torch.OutOfMemoryError:
                notes.append({"note": f"{name} not tried: out of memory"})
                torch.cuda.empty_cache()
            except (ValueError, RuntimeError, NotImplementedError):
                continue
        if not times:
            return [{"note": "no attention kernel fits"}, *notes]
        best = min(times.values())
        winner = next(name for name in times if times[name] <= 1.02 * best)
        return [{"winner": winner, "device_us": _us(times), "first_call_us": _us(firsts)}, *notes]

    def _layers(self, stack: Decoder, tokens: int, context: int) -> Rows:
        device, host = self._at_rest(stack, [CacheSlice(tokens, context)])
        backends = {"attention": stack.attention(tokens, context)}
        names = ["attention"] if context else list(device)
        return [operator_row(n, tokens, context, device[n], host[n], backends.get(n, "torch")) for n in names]

    def _at_rest(self, stack: Decoder, slices: list[CacheSlice]) -> tuple[timing.Samples, timing.Samples]:
        """Device and host times; taken up to three times where the host decides and is busy with something else."""
        found = []
        for attempt in range(3):
            device, host = timing.time_layers(stack, slices, self.limits)
            launched_s = sum(statistics.median(times) for name, times in host.items() if name != "attention")
            self.quietest_s = min(self.quietest_s, launched_s)
            found.append((launched_s, attempt, device, host))
            device_s = sum(statistics.median(times) for times in device.values())
            if launched_s < UNREST * self.quietest_s or launched_s < AHEAD * device_s:
                break
        return min(found)[2:]

    def _refine(self, stack: Decoder) -> None:
        """Add sizes where a line between neighbours misses the operators, attention apart, by more than 2 %."""
        for done in range(self.grid.extra):
            tokens = _midpoint(self._layer_curve())
            if tokens is None:
                self.log.total -= self.grid.extra - done
                return
            self.log.do(f"layer {tokens}@0", self._layers, stack, tokens, 0)

    def _layer_curve(self) -> list[tuple[int, float]]:
        """(tokens, microseconds of a layer but for its attention), ascending."""
        sums: dict[int, float] = {}
        for row in (row for rows in self.log.rows.values() for row in rows):
            if row.get("operator") in LAYER_OPERATORS and row["operator"] != "attention":
                sums[row["tokens"]] = sums.get(row["tokens"], 0.0) + row["device_us"]
        return sorted(sums.items())

    def _head(self, stack: Decoder, sequences: int) -> Rows:
        return [operator_row("head", sequences, 0, *timing.time_head(stack, sequences, self.limits), "torch")]

    def _prepare(self, stack: Decoder, tokens: int) -> Rows:
        return [_host_row("prepare", tokens, timing.time_prepare(stack, tokens, self.limits))]

    def _expert_load(self, stack: Decoder, tokens: int) -> Rows:
        p = stack.prepare([CacheSlice(tokens)])
        stack.run(p)
        return [{"expert_load": [tokens, _round(stack.expert_load(p))]}]

    def _decision(self, queue: int) -> Rows:
        return [_host_row("decision", queue, time_decisions(queue, self.limits))]

    def _check(self, stack: Decoder) -> Rows:
        return [_host_row("check", 0, timing.time_check(stack.device, self.limits))]

    def _hand_offs(self, runner: Runner) -> Rows:
        found = time_hand_offs(runner, 5 * self.limits.most)
        return [_host_row(name, 0, seconds) for name, seconds in found._asdict().items()]

    def _recorded_passes(self) -> tuple[str, ...]:
        """Passes to be launched as graphs; all within the largest that is recorded."""
        largest = max(self.grid.graphs, default=0)
        return tuple(text for text in self.grid.graph_passes if parse_slices(text)[0][0] <= largest)

    def _run_passes(self, choice: Choice) -> Decoder:
        shapes = {text: packed(text) for _, text, _ in self.passes}
        rows = max((s.start + s.context + s.tokens for slices in shapes.values() for s in slices), default=1)
        rows = max([rows, *self._sizes(), *self.grid.graphs])
        self.quietest_s = math.inf
        self.pass_layers = layers_that_fit(self.spec, rows, self.device)
        model = self._decoder(rows, self.pass_layers)
        model.attention = choice
        self.random.shuffle(self.passes)
        for tokens in self.grid.graphs:
            self.log.do(f"graph {tokens}", self._graph, model, tokens)
        for cut, text, graph_tokens in self.passes:
            key = f"pass {cut} {text}" + (" as a graph" if graph_tokens else "")
            self.log.do(key, self._pass, model, cut, text, shapes[text], graph_tokens)
        self.launchers.clear()
        self.log.do("calls", self._count, model, choice)
        return model

    def _launcher(self, model: Decoder, cut: str, graph_tokens: int) -> Launcher:
        """What readies passes checked at this cut, with recordings of the sizes that are measured if there are any."""
        if (cut, graph_tokens) not in self.launchers:
            sizes = sorted({*self._sizes(), *(self.grid.graphs if cut in RECORDED_CUTS else ())})
            self.launchers[cut, graph_tokens] = Launcher(model, cut, sizes if graph_tokens else ())
        return self.launchers[cut, graph_tokens]

    def _sizes(self) -> list[int]:
        """Of the recordings as which the passes that are launched as graphs run."""
        return [graph_size(parse_slices(text)[0][0]) for text in self._recorded_passes()]

    def _graph(self, model: Decoder, tokens: int) -> Rows:
        """A recorded forward: its device time, and what the host takes beyond."""
        largest = max(self.grid.graphs)
        whole, checked = (self._launcher(model, cut, largest) for cut in RECORDED_CUTS)
        found = timing.time_graph(whole, checked, tokens, self.grid.graph_limits)
        return [
            operator_row(GRAPH, tokens, 0, found.device, [0.0], model.attention(tokens, 0)),
            _host_row("graph_prepare", tokens, found.prepare),
            _host_row("graph_check", tokens, found.check),
        ]

    def _count(self, model: Decoder, choice: Choice) -> Rows:
        """Calls that launch each operator and, under its own name, each attention kernel."""
        found: dict[str, int] = {}
        for tokens, context, kernel in choice.examples(model.rows):
            counts = timing.count_calls(model, [CacheSlice(tokens, context)])
            found |= counts | {kernel: counts["attention"]}
        return [{"calls": [name, count]} for name, count in found.items() if name != "attention"]

    def _pass(self, model: Decoder, cut: str, text: str, slices: list[CacheSlice], graph_tokens: int) -> Rows:
        """The wall time of a pass; taken up to three times while the host is busy with something else."""
        found = []
        launcher, limits = self._launcher(model, cut, graph_tokens), self.limits
        between = self._launcher(model, "operator" if cut == "none" else "none", graph_tokens) if graph_tokens else None
        for _ in range(3):
            before_s = self._one_token_s(model)
            wall = timing.time_pass(launcher, slices, limits, between)
            found.append((max(before_s, self._one_token_s(model)), wall))
            if found[-1][0] < UNREST * self.quietest_s:
                break
        wall = min(found)[1]
        low, median, high = (_round(1e6 * x) for x in np.percentile(wall, (10, 50, 90)))
        return [asdict(PassRow(cut, text, median, low, high, len(wall), graph_tokens))]

    def _one_token_s(self, model: Decoder) -> float:
        """Seconds of a pass that the host decides, which tell how busy it is."""
        one_s = min(timing.time_pass(self._launcher(model, "none", 0), [CacheSlice(1)], GLANCE))
        self.quietest_s = min(self.quietest_s, one_s)
        return one_s


def _midpoint(curve: list[tuple[int, float]]) -> int | None:
    """The middle of the widest interval beside the point that its neighbours' line misses worst, beyond 2 %."""
    worst, at = 0.02, None
    for (t0, y0), (t1, y1), (t2, y2) in zip(curve, curve[1:], curve[2:], strict=False):
        width, middle = max((t1 - t0, (t0 + t1) // 2), (t2 - t1, (t1 + t2) // 2))
        miss = abs(y0 + (y2 - y0) * (t1 - t0) / (t2 - t0) - y1) / y1 if y1 else 0.0
        if width >= 16 and miss > worst:
            worst, at = miss, middle
    return at


def packed(text: str) -> list[CacheSlice]:
    """The slices in a text, each with cache rows of its own."""
    slices, start = [], 0
    for tokens, context in parse_slices(text):
        slices.append(CacheSlice(tokens, context, start))
        start += tokens + context
    return slices


def layers_that_fit(spec: ModelSpec, rows: int, device: str) -> int:
    """As many layers as have weights of PASS_BYTES and, with a cache of `rows` tokens, leave memory free."""
    import torch

    layers = min(spec.layers, max(2, PASS_BYTES // spec.layer_bytes))
    if device != "cuda":
        return layers
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    ends = 2 * spec.vocab * spec.hidden * BYTES_PER_VALUE
    layer = spec.layer_bytes + spec.kv_bytes_per_token * (rows + PADDING) // spec.layers
    return max(1, min(layers, int(0.75 * free - ends) // layer))


def operator_row(
    operator: str, tokens: int, context: int, device: list[float], host: list[float], backend: str
) -> dict[str, Any]:
    """The fields of an `OperatorRow` from samples in seconds."""
    low, median, high = (1e6 * x for x in np.percentile(device, (10, 50, 90)))
    launch = 1e6 * statistics.median(host)
    return asdict(OperatorRow(
        operator, tokens, context, _round(median), _round(low), _round(high), _round(launch), len(device), backend
    ))  # fmt: skip


def _host_row(operator: str, tokens: int, host: list[float]) -> dict[str, Any]:
    return operator_row(operator, tokens, 0, [0.0], host, "host") | {"repeats": len(host)}


def _us(times: Mapping[str, float]) -> dict[str, float]:
    return {name: _round(1e6 * t) for name, t in times.items()}


def _round(us: float) -> float:
    return round(float(us), 3)


def _dtype(device: str) -> str:
    return "bfloat16" if device == "cuda" else "float32"


def check_device(device: str) -> None:
    """InputError unless torch is installed and has this device."""
    try:
        import torch
    except ImportError as error:
        raise InputError("measuring needs torch: pip install 'flowsim[calibrate]'") from error
    if device not in ("cuda", "cpu"):
        raise unknown("device", device, ("cuda", "cpu"))
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device: found no CUDA GPU; allowed: a machine with one, or the device 'cpu'")


def machine(device: str, gpu: str | None) -> dict[str, Any]:
    """The names and versions of what is measured and with what."""
    import torch

    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    slug = "-".join(word for word in name.lower().split() if word != "nvidia")
    return {
        "gpu": gpu or slug,
        "gpu_name": name,
        "memory_bytes": torch.cuda.get_device_properties().total_memory if device == "cuda" else CPU_MEMORY_BYTES,
        "torch": str(torch.__version__),
        "cuda": torch.version.cuda,
        "driver": driver_version() if device == "cuda" else None,
        "python": platform.python_version(),
        "cpu": _cpu_name(),
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"
