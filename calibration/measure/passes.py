"""Measured whole passes, with which a cost model is compared and to which it is never fitted; and recorded forwards.

Recorded passes run as CUDA graphs whose device times are in the table; they test how these compose with launches and
checks. All passes run through a model of as many layers as fit, in random order, so that drift does not look like a
trend.
"""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime

from msgspec.structs import asdict

from flowsim.calibration.costs.attention.kernels import Choice, kernel_choice
from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.fit import fit_passes
from flowsim.calibration.costs.models import BYTES_PER_VALUE, ModelSpec
from flowsim.calibration.costs.pass_kinds import HOST_BOUND
from flowsim.calibration.costs.provenance import SCHEMA_VERSION, Provenance
from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.costs.table_rows import GRAPH, GRAPH_RESTED, PassRow, parse_slices
from flowsim.calibration.gpu.attention import PADDING, default_kernel, working_kernels
from flowsim.calibration.gpu.batch import CacheSlice
from flowsim.calibration.gpu.decoder import Decoder
from flowsim.calibration.gpu.graphs import Launcher
from flowsim.calibration.gpu.launch_calls import count_calls
from flowsim.calibration.gpu.machine import check_device, check_measurable, check_seed, dtype_of, gpu_id, machine
from flowsim.calibration.gpu.memory import enough_memory
from flowsim.calibration.gpu.monitor import gpu_state
from flowsim.calibration.gpu.quiet_host import RUNNER, quiet_host
from flowsim.calibration.measure.graph_stopwatch import time_graph_checks, time_recording
from flowsim.calibration.measure.grid import QUICK, Grid
from flowsim.calibration.measure.measurement_log import MeasurementLog, Rows
from flowsim.calibration.measure.rows import host_row, operator_row, pass_row
from flowsim.calibration.measure.stopwatch import LIGHT_HEAT_S, time_pass, watched
from flowsim.core.pass_timeline import graph_size
from flowsim.errors import InputError
from flowsim.io.progress import Progress

EXPERTS_HOST_BOUND = 4096
"""Tokens below which passes of a mixture of experts wait for the host."""
PASS_BYTES = 20 << 30
"""Largest weights of the layers in whole passes: about those of an 8B model, since time grows with them."""


def measure_passes(
    table: OperatorTable, *, device: str = "cuda", quick: bool = False, grid: Grid | None = None, seed: int = 0,
    progress: Progress | None = None,
) -> OperatorTable:  # fmt: skip
    """Measure whole passes of a table's model on this machine, and none of its operators.

    They run through as many layers as the table's, with its attention kernels where those work here (notes name the
    others). Passes are also recorded as graphs if the table has recorded forwards.

    Args:
        table: of the model.
        device: "cuda" or "cpu".
        quick, grid, progress: as `flowsim.calibration.measure.calibrate.calibrate` takes them.
        seed: of the weights and of the order of passes.

    Returns:
        A table of passes alone, for `pass_errors(fit_passes(table), ...)`; its provenance names `table` by digest
        under `verifies`.

    Raises:
        InputError: the table is that of one of several ranks, or makes no cost model; there is no torch or no such
            device; or the layers do not fit its memory.
    """
    cost, spec = fit_passes(table), table.provenance.rank().spec
    if cost.tp > 1:
        how = "passes of a group are measured by flowsim calibrate all-reduce"
        raise InputError("tp of the table", found=cost.tp, expected=f"1 ({how})")
    check_seed(seed)
    check_device(device)
    check_measurable(spec, device)
    import torch

    grid = _recording(cost, (grid or (QUICK if quick else Grid())).within(spec.max_context))
    log = MeasurementLog(None, {}, progress or (lambda done, total, what: None))
    job = Passes(spec, grid, device, seed, log, cost.layers)
    log.total = job.timings
    with torch.inference_mode(), gpu_state(device == "cuda") as state, quiet_host(device, RUNNER):
        choice, notes = _choice_here(table, spec, device)
        with enough_memory(f"{cost.name}, {cost.layers} layers"):
            job.measure(job.model(choice))
    provenance = {
        "schema_version": SCHEMA_VERSION, "verifies": table.digest(), **machine(device, None), "gpu_id": gpu_id(device),
        "model": spec.name, "model_spec": asdict(spec), "pass_layers": cost.layers, "tp": 1, "dtype": dtype_of(device),
        "date": datetime.now(UTC).date().isoformat(), **state, "seed": seed, "notes": notes + log.notes(),
    }  # fmt: skip
    return OperatorTable(Provenance.of(provenance), (), pass_rows(log))


def _recording(cost: CostModel, grid: Grid) -> Grid:
    """This grid, with recordings only of the sizes that its passes need and the model knows."""
    most = cost.graph.most if cost.graph else 0
    sizes = {graph_size(parse_slices(text)[0][0]) for text in grid.graph_passes}
    return replace(grid, graphs=tuple(sorted(size for size in sizes if size <= most)))


def _choice_here(table: OperatorTable, spec: ModelSpec, device: str) -> tuple[Choice, list[str]]:
    """The table's attention kernels, with the default for those that do not work here, and notes on these."""
    import torch

    dtype = getattr(torch, dtype_of(device))
    found = working_kernels(spec.heads, spec.kv_heads, spec.head_dim, torch.device(device), dtype)
    working = [name for name, reason in found.items() if not reason]
    choice, default = kernel_choice(table), default_kernel(working)
    others = {name for _, _, kernels in choice.rows for name in kernels} - set(working)
    notes = [f"attention: {default} for {name}: {found.get(name, 'no kernel of torch')}" for name in sorted(others)]
    return choice.among(working, default), notes


class Passes:
    """Whole forwards of one model at the sizes and cuts of a grid, and its recorded forwards, for a log.

    Args:
        spec: the model.
        grid: the sizes.
        device: "cuda" or "cpu".
        seed: of the weights and of the order.
        log: takes the rows.
        layers: of the model that they run through; as many as fit if None.

    Attributes:
        forwards: (cut, slices, largest recorded size or 0) of each pass.
        timings: how many keys `measure` logs.
        count: how many keys `run` logs.
        launchers: by cut and largest recorded size, those that passes have gone through so far.
    """

    def __init__(
        self, spec: ModelSpec, grid: Grid, device: str, seed: int, log: MeasurementLog, layers: int | None = None
    ) -> None:
        self.spec, self.grid, self.device, self.seed, self.log, self.layers = spec, grid, device, seed, log, layers
        self.forwards = [("none", s, 0) for s in grid.passes]
        self.forwards += [(cut, s, 0) for cut in grid.cuts for s in grid.checked_passes]
        self.forwards += [(cut, s, max(grid.graphs)) for cut in ("none", *grid.cuts) for s in self._recorded_passes()]
        self.timings = len(self.forwards) + len(self._waiting())
        self.count = len(grid.graphs) + self.timings + 1
        self.launchers: dict[tuple[str, int], Launcher] = {}

    def run(self, choice: Choice) -> Decoder:
        """Measure recorded forwards and passes, and count calls. Returns the model."""
        model = self.model(choice)
        for tokens in self.grid.graphs:
            self.log.do(f"graph {tokens}", self.recording, model, tokens)
        self.measure(model)
        self.log.do("calls", self._count, model, choice)
        return model

    def model(self, choice: Choice) -> Decoder:
        """The model that passes run through, with these attention kernels and cache rows for the longest pass."""
        slices = [s for _, text, _ in self.forwards for s in packed(text)]
        rows = max([1, *(s.start + s.context + s.tokens for s in slices), *self._sizes(), *self.grid.graphs])
        layers = self.layers or layers_that_fit(self.spec, rows, self.device)
        dtype = dtype_of(self.device)
        return Decoder(
            self.spec, self.device, rows=rows, layers=layers, dtype=dtype, seed=self.seed, attention=choice
        )  # fmt: skip

    def measure(self, model: Decoder) -> None:
        """Measure the passes through this model; those that wait for the host are measured again when all are done.

        Other work keeps a host busy for seconds at a time, which only adds to a time: the lesser one counts.
        """
        draw = random.Random(self.seed)
        for forwards, suffix in ((self.forwards, ""), (self._waiting(), " again")):
            for cut, text, graph_tokens in draw.sample(forwards, len(forwards)):
                key = f"pass {cut} {text}" + (" as a graph" if graph_tokens else "") + suffix
                self.log.do(key, self._pass, model, cut, text, graph_tokens)
        self.launchers.clear()

    def _waiting(self) -> list[tuple[str, str, int]]:
        """The forwards that wait for the host."""
        return [forward for forward in self.forwards if host_bound(self.spec, *forward[1:])]

    def _recorded_passes(self) -> tuple[str, ...]:
        """Passes to be launched as graphs: those up to the largest recorded size."""
        largest = max(self.grid.graphs, default=0)
        return tuple(text for text in self.grid.graph_passes if parse_slices(text)[0][0] <= largest)

    def _launcher(self, model: Decoder, cut: str, graph_tokens: int) -> Launcher:
        """The launcher of passes checked at this cut, with recordings of the measured sizes if there are any."""
        if (cut, graph_tokens) not in self.launchers:
            more = {"none": self.grid.graphs, "operator": self.grid.graphs_checked}.get(cut, ())
            sizes = sorted({*self._sizes(), graph_tokens, *more})
            self.launchers[cut, graph_tokens] = Launcher(model, cut, sizes if graph_tokens else ())
        return self.launchers[cut, graph_tokens]

    def _sizes(self) -> list[int]:
        """Sizes of the recordings that the passes need."""
        return [graph_size(parse_slices(text)[0][0]) for text in self._recorded_passes()]

    def recording(self, model: Decoder, tokens: int) -> Rows:
        """Rows of a recorded forward: its device time, and the host time beyond it."""
        largest, limits = max(self.grid.graphs), self.grid.graph_limits
        whole, checked = (self._launcher(model, cut, largest) for cut in ("none", "operator"))
        for launcher in (whole, checked):
            launcher.release()  # what a size that ran out of memory still holds
        times, kernel = time_recording(whole, tokens, largest, limits, self.grid.rests), model.attention(tokens, 0)
        named = zip((GRAPH, GRAPH_RESTED), times, strict=True)
        rows = [operator_row(name, tokens, 0, device, [0.0], kernel) for name, device in named if device]
        if tokens in self.grid.graphs_checked:
            prepare, check = time_graph_checks(whole, checked, tokens, limits)
            rows += [host_row("graph_prepare", tokens, prepare), host_row("graph_check", tokens, check)]
        return rows

    def _count(self, model: Decoder, choice: Choice) -> Rows:
        """Calls that launch each operator and, under its own name, each attention kernel."""
        found: dict[str, int] = {}
        for tokens, context, kernel in choice.examples(model.rows):
            counts = count_calls(model, [CacheSlice(tokens, context)])
            found |= counts | {kernel: counts["attention"]}
        return [{"calls": [name, count]} for name, count in found.items() if name != "attention"]

    def _pass(self, model: Decoder, cut: str, text: str, graph_tokens: int) -> Rows:
        """The wall time of a pass; short ones settle soon (`RepeatLimits`).

        A recorded pass follows the longest recording with another cut, so that the GPU is busy, and because a graph
        that is replayed repeatedly is launched faster than in serving, where sizes and cuts change.
        """
        launcher, slices, limits = self._launcher(model, cut, graph_tokens), packed(text), self.grid.pass_limits
        if host_bound(self.spec, text, graph_tokens):
            limits = replace(limits, heat_s=min(limits.heat_s, LIGHT_HEAT_S))
        if not graph_tokens:
            return [pass_row(cut, text, time_pass(launcher, slices, limits))]
        other = self._launcher(model, "layer" if cut == "none" else "none", graph_tokens)
        before = watched(other, [CacheSlice(graph_tokens)])
        return [pass_row(cut, text, time_pass(launcher, slices, limits, before), graph_tokens)]


def pass_rows(log: MeasurementLog) -> tuple[PassRow, ...]:
    """The passes in a log; of one that was timed twice, the lesser time."""
    found: dict[tuple[str, str, int], PassRow] = {}
    for row in log.collect(PassRow, "cut"):
        which = row.cut, row.slices, row.graph_tokens
        found[which] = min(found.get(which, row), row, key=lambda row: row.wall_us)
    return tuple(found.values())


def host_bound(spec: ModelSpec, text: str, graph_tokens: int = 0) -> bool:
    """Whether a pass of these slices waits for the host, which has more to launch in a layer of experts."""
    bound = EXPERTS_HOST_BOUND if spec.experts else HOST_BOUND
    return not graph_tokens and sum(tokens for tokens, _ in parse_slices(text)) < bound


def packed(text: str) -> list[CacheSlice]:
    """The slices in a text, each with cache rows of its own."""
    slices, start = [], 0
    for tokens, context in parse_slices(text):
        slices.append(CacheSlice(tokens, context, start))
        start += tokens + context
    return slices


def layers_that_fit(spec: ModelSpec, rows: int, device: str) -> int:
    """The number of layers whose weights stay within PASS_BYTES and, with a cache of `rows` tokens, within memory."""
    import torch

    layers = min(spec.layers, max(2, PASS_BYTES // spec.layer_bytes))
    if device != "cuda":
        return layers
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    ends = 2 * spec.vocab * spec.hidden * BYTES_PER_VALUE
    layer = spec.layer_bytes + spec.kv_bytes_per_token * (rows + PADDING) // spec.layers
    return max(1, min(layers, int(0.75 * free - ends) // layer))
