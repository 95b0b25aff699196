import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from msgspec import structs

from flowsim.calibration.costs.attention_kernels import kernel_choice
from flowsim.calibration.costs.fit import fit, fit_passes
from flowsim.calibration.costs.models import ModelSpec, load_model
from flowsim.calibration.costs.table import GRAPH, HOST_OPERATORS, OPTIONAL_HOST_OPERATORS, OperatorTable, parse_slices
from flowsim.calibration.gpu.batch import CacheSlice, Step
from flowsim.calibration.gpu.decoder import Decoder
from flowsim.calibration.gpu.machine import short_name
from flowsim.calibration.gpu.monitor import summarise
from flowsim.calibration.gpu.quiet_host import on_core
from flowsim.calibration.measure import stopwatch
from flowsim.calibration.measure.calibrate import calibrate
from flowsim.calibration.measure.grid import QUICK, Grid, midpoint
from flowsim.calibration.measure.host_costs import time_decisions, time_hand_offs, time_proceeding
from flowsim.calibration.measure.repeats import Limits, settled, typical
from flowsim.calibration.serve.gpu_device import GpuDevice
from flowsim.calibration.serve.runner import Runner
from flowsim.core.policy import Policy
from flowsim.core.request import Request
from flowsim.errors import InputError

torch = pytest.importorskip("torch")

SPEC = ModelSpec("tiny", 2, 64, 4, 2, 16, 128, 97, 512, 10000.0, 1e-5)
GRID = Grid(
    tokens=(1, 64, 1024),
    chunk_tokens=(16, 64),
    chunk_contexts=(16, 128),
    sequences=(1, 4),
    prepared=(1, 64),
    queues=(1, 16),
    proceeding=(16, 64),
    kernel_tokens=(16,),
    kernel_contexts=(0, 64),
    passes=("5@0", "30@40+20@0", "600@0"),
    checked_passes=("75@0",),
    graphs=(64, 128),
    graph_passes=("75@0",),
    extra=2,
    layers=2,
    limits=Limits(3, 5, 0.02),
    pass_limits=Limits(3, 5, 0.02),
    graph_limits=Limits(3, 5, 0.02),
)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[OperatorTable, Path, list[tuple[int, int, str]]]:
    journal = tmp_path_factory.mktemp("calibration") / "journal.jsonl"
    calls: list[tuple[int, int, str]] = []
    table = calibrate(SPEC, device="cpu", grid=GRID, journal=journal, progress=lambda *call: calls.append(call))
    return table, journal, calls


def test_every_operator_is_measured_at_every_size_of_the_grid(measured: tuple[OperatorTable, Path, object]) -> None:
    table = measured[0]
    assert {r.operator for r in table.operators} == {*SPEC.operators, *HOST_OPERATORS, GRAPH, *OPTIONAL_HOST_OPERATORS}
    assert [r.tokens for r in table.operators if r.operator == GRAPH] == [64, 128]
    sizes = {(r.tokens, r.context) for r in table.operators if r.operator == "attention"}
    assert {(1, 0), (64, 0), (16, 16), (16, 128), (64, 16), (64, 128)} <= sizes
    assert (1024, 0) not in sizes  # beyond the model's longest context
    assert {r.tokens for r in table.operators if r.operator == "decision"} == {1, 16}
    assert all(r.device_us_p10 <= r.device_us <= r.device_us_p90 for r in table.operators)
    maybe_nothing = ("check", "graph_check", GRAPH, "resume")
    assert all(r.host_us > 0 for r in table.operators if r.operator not in maybe_nothing)
    assert all(r.repeats > 0 for r in table.operators)


def test_whole_passes_are_measured_at_every_cut(measured: tuple[OperatorTable, Path, object]) -> None:
    found = {(r.cut, r.slices, r.graph_tokens) for r in measured[0].passes}
    checked = {(cut, "75@0", 0) for cut in ("layer", "block", "operator")}
    recorded = {(cut, "75@0", 128) for cut in ("none", "layer", "block", "operator")}
    assert found == {("none", "5@0", 0), ("none", "30@40+20@0", 0), *checked, *recorded}
    assert len(found) == len(measured[0].passes)
    assert all(0 < r.wall_us_p10 <= r.wall_us <= r.wall_us_p90 for r in measured[0].passes)


def test_the_provenance_says_what_was_measured(measured: tuple[OperatorTable, Path, object]) -> None:
    about = measured[0].provenance
    assert about.stated["model_spec"] == structs.asdict(SPEC)
    assert {k: about.stated[k] for k in ("gpu", "model", "pass_layers", "tp", "dtype", "seed")} == {
        "gpu": "cpu", "model": "tiny", "pass_layers": 2, "tp": 1, "dtype": "float32", "seed": 0,
    }  # fmt: skip
    assert any(note.startswith("kernels: cudnn not used: ") for note in about.notes)


def test_the_shard_of_a_mixture_of_experts_is_measured_with_its_expert_load() -> None:
    spec = structs.replace(SPEC, experts=6, experts_per_token=2, qk_norm=True)
    sizes = {"tokens": (1, 64), "chunk_tokens": (16,), "chunk_contexts": (16,), "kernel_contexts": (0,)}
    grid = replace(GRID, extra=0, sequences=(1,), queues=(1,), passes=("5@0",), checked_passes=(), **sizes)
    table = calibrate(spec, device="cpu", grid=grid, tp=2)
    assert {r.operator for r in table.operators} == {*spec.operators, *HOST_OPERATORS, "complete", "proceed"}
    assert table.provenance.model_spec == spec
    assert table.provenance.tp == 2
    load = table.provenance.stated["expert_load"]
    assert set(load) == {1, 64}
    assert load[1] == 3.0  # one token has two experts of six: each has three times the mean
    assert 1.0 <= load[64] < 3.0
    with pytest.raises(InputError, match="operators: no row of all_reduce"):
        fit(table)
    assert fit_passes(table).layers == 2
    assert fit_passes(table).kv_capacity_tokens > fit_passes(measured_whole(table)).kv_capacity_tokens


def measured_whole(table: OperatorTable) -> OperatorTable:
    return table.stating(tp=1)


def test_the_table_can_be_saved_and_names_its_kernels(
    measured: tuple[OperatorTable, Path, object], tmp_path: Path
) -> None:
    measured[0].save(tmp_path / "table")
    loaded = OperatorTable.load(tmp_path / "table")
    assert loaded.digest() == measured[0].digest()
    assert kernel_choice(loaded)(64, 100) == "math"


def test_progress_counts_up_to_its_total(measured: tuple[OperatorTable, Path, list[tuple[int, int, str]]]) -> None:
    calls = measured[2]
    assert [done for done, _, _ in calls] == list(range(1, len(calls) + 1))
    assert calls[-1][0] == calls[-1][1]


def test_a_restart_measures_only_what_the_journal_lacks(
    measured: tuple[OperatorTable, Path, object], tmp_path: Path
) -> None:
    table, journal, _ = measured
    lines = journal.read_text().splitlines()
    of_threads = 1 + len(GRID.queues) + len(GRID.proceeding)  # hand-offs, decisions and stops, measured last
    lines = [lines[0], *lines[-of_threads:], *lines[1:-of_threads]]
    copy = tmp_path / "journal.jsonl"
    copy.write_text("\n".join([*lines[:-2], lines[-1][:20]]))  # a pass and the calls short, and torn while writing
    again = calibrate(SPEC, device="cpu", grid=GRID, journal=copy)
    kept = {json.dumps(json.loads(line)["rows"]) for line in lines[1:-2]}
    assert kept < {json.dumps(json.loads(line)["rows"]) for line in copy.read_text().splitlines()[1:]}
    assert again.operators == table.operators
    assert [(r.cut, r.slices) for r in again.passes] == [(r.cut, r.slices) for r in table.passes]
    assert calibrate(SPEC, device="cpu", grid=GRID, journal=copy).passes == again.passes


def test_a_model_of_too_short_a_context_is_refused() -> None:
    with pytest.raises(InputError, match="tiny: max_context must be >= 128, got 127"):
        calibrate(structs.replace(SPEC, max_context=127), device="cpu", grid=GRID)


def test_the_journal_of_another_calibration_is_refused(
    measured: tuple[OperatorTable, Path, object], tmp_path: Path
) -> None:
    with pytest.raises(
        InputError, match=r"is the journal of another calibration \(other seed\); expected the journal of this"
    ):
        calibrate(SPEC, device="cpu", grid=GRID, seed=1, journal=measured[1])
    other = tmp_path / "notes.txt"
    other.write_text("a line\n")
    with pytest.raises(
        InputError, match="line 1: is not a record of a journal; expected the journal of this calibration; delete it"
    ):
        calibrate(SPEC, device="cpu", grid=GRID, journal=other)
    assert other.read_text() == "a line\n"
    other.write_bytes(b"\xff\n")
    with pytest.raises(InputError, match="line 1: is not a record of a journal"):
        calibrate(SPEC, device="cpu", grid=GRID, journal=other)
    with pytest.raises(InputError, match="is not a file; expected the journal of a calibration"):
        calibrate(SPEC, device="cpu", grid=GRID, journal=tmp_path)


FULL = RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried to")


@pytest.mark.parametrize("full", [torch.OutOfMemoryError("no"), FULL, MemoryError()])
def test_a_size_beyond_the_memory_is_noted_and_skipped(monkeypatch: pytest.MonkeyPatch, full: Exception) -> None:
    def scarce(decoder: object, slices: list[stopwatch.CacheSlice], limits: Limits) -> object:
        if slices[0].tokens == 64:
            raise full
        return time_layers(decoder, slices, limits)  # type: ignore[arg-type]

    time_layers = stopwatch.time_layers
    monkeypatch.setattr(stopwatch, "time_layers", scarce)
    table = calibrate(SPEC, device="cpu", grid=replace(GRID, extra=0))
    assert "layer 64@0: skipped: out of memory" in table.provenance.notes
    assert {r.tokens for r in table.operators if r.operator == "o_proj"} == {1}


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("no"), FULL, RuntimeError("a bug")])
def test_a_model_beyond_the_memory_is_one_line_and_other_errors_are_not(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*args: object, **options: object) -> Decoder:
        raise error

    message = "a bug"
    if "bug" not in str(error):
        message = "^tiny: the device ran out of memory; use one with more, or a smaller model"
    monkeypatch.setattr("flowsim.calibration.measure.calibrate.Decoder", fail)
    with pytest.raises(RuntimeError if message == "a bug" else InputError, match=message):
        calibrate(SPEC, device="cpu", grid=GRID)
    monkeypatch.undo()
    monkeypatch.setattr(stopwatch, "time_head", fail)
    if message == "a bug":
        with pytest.raises(RuntimeError, match=message):
            calibrate(SPEC, device="cpu", grid=GRID)


@pytest.mark.parametrize("change", [("5@0", "6@0"), ('"wall_us": ', '"wall_us": 1'), ('"repeats": ', '"repeats": -')])
def test_a_journal_that_was_changed_is_refused_in_one_line(
    measured: tuple[OperatorTable, Path, object], tmp_path: Path, change: tuple[str, str]
) -> None:
    copy = tmp_path / "journal.jsonl"
    lines = measured[1].read_text().splitlines(keepends=True)
    at = next(i for i, line in enumerate(lines) if line.startswith('{"key": "pass none 5@0", '))
    changed = lines[at].replace(*change, 1)
    assert changed != lines[at]
    copy.write_text("".join([*lines[:at], changed, *lines[at + 1 :]]))
    before = copy.read_text()
    with pytest.raises(InputError) as error:
        calibrate(SPEC, device="cpu", grid=GRID, journal=copy)
    problem = "was changed after it was written; expected the journal of this calibration"
    problem += "; delete it to measure everything again"
    assert str(error.value) == f"{copy}: line {at + 1}: {problem}"
    assert copy.read_text() == before


def test_without_torch_or_gpu_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="unknown device 'gpu'"):
        calibrate(SPEC, device="gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="device: no CUDA GPU was found; expected a machine with one"):
        calibrate(SPEC)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match=r"torch: is needed to measure: pip install 'flowsim\[calibrate\]'"):
        calibrate(SPEC)


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("NVIDIA H200", "h200"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA A100-SXM4-80GB", "a100-sxm4-80gb"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("NVIDIA GeForce RTX 4090", "geforce-rtx-4090"),
        ("CPU", "cpu"),
    ],
)
def test_a_table_is_named_by_its_gpu_s_short_name(name: str, short: str) -> None:
    assert short_name(name) == short


def test_a_cpu_is_for_small_models() -> None:
    message = "llama3-8b: has 29.9 GiB of weights in float32; expected <= 16.0 GiB on a CPU, which is only to try out"
    with pytest.raises(InputError, match=message):
        calibrate(load_model("llama3-8b"), device="cpu")


def test_the_shipped_grids_suit_the_shipped_model() -> None:
    longest = load_model("llama3-8b").max_context
    for grid in (Grid(), QUICK):
        assert grid.within(longest) == grid
        assert list(grid.tokens) == sorted(set(grid.tokens))
        solo = {parse_slices(s)[0] for s in (*grid.passes, *grid.checked_passes) if "+" not in s}
        on_grid = {(t, 0) for t in grid.tokens} | {(t, c) for t in grid.chunk_tokens for c in grid.chunk_contexts}
        assert not solo & on_grid
    with pytest.raises(InputError, match="layers must be >= 2, since the first is not timed, got 1"):
        Grid(layers=1)


def test_a_step_in_a_curve_is_bisected_and_a_line_is_not() -> None:
    assert midpoint([(64, 1.0), (128, 2.0), (192, 3.0), (256, 4.0)]) is None
    assert midpoint([(64, 1.0), (128, 2.0), (192, 2.0), (512, 2.0)]) == 160
    assert midpoint([(1, 1.0), (2, 5.0), (4, 1.0)]) is None  # too narrow to matter


def test_repeating_stops_when_the_median_is_sure() -> None:
    assert settled([1.0] * 8)
    assert not settled([1.0] * 7)
    assert not settled([1.0, 2.0] * 10)
    steady, noisy = list[float](), list[float]()
    for _ in Limits(3, 50, 60.0).rounds(steady):
        steady.append(1.0)
    for i in Limits(3, 50, 60.0).rounds(noisy):
        noisy.append(float(i))
    assert (len(steady), len(noisy)) == (8, 50)


def test_the_log_of_the_gpu_is_summarised() -> None:
    log = "1980, 690.5, 0x0000000000000004\n1500, 700.1, 0x0000000000000001\n[N/A], 1, 0x0\n1965, 650.0, 0x0\n"
    assert summarise(log) == {
        "clocks_mhz": {"min": 1500.0, "max": 1980.0, "median": 1965.0},
        "power_w": {"median": 690.5, "max": 700.1},
        "throttled_samples": 1,
        "samples": 3,
    }
    assert summarise("") == {}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_on_a_gpu_a_small_calibration_is_whole() -> None:
    table = calibrate(structs.replace(SPEC, head_dim=64), grid=GRID)
    assert {r.operator for r in table.operators} == {*SPEC.operators, *HOST_OPERATORS}


def test_decisions_are_timed_on_the_real_scheduler_with_so_many_in_sight(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[int] = []
    real = GpuDevice.think

    def think(device: GpuDevice, seen: int) -> None:
        looked_at.append(seen)
        real(device, seen)

    monkeypatch.setattr(GpuDevice, "think", think)
    for seen in (1, 2, 50):
        looked_at.clear()
        samples = time_decisions(seen, Limits(3, 8, 60.0), apart_s=0.0)
        assert len(samples) == 8
        assert min(samples) > 0
        assert max(looked_at) == seen
        assert looked_at.count(seen) >= 8  # the last arrival of every round


@pytest.mark.parametrize("stops", [2, 0])
def test_hand_offs_are_those_of_short_prompts_in_bursts_and_of_long_ones_that_are_preempted(
    monkeypatch: pytest.MonkeyPatch, stops: int
) -> None:
    """Passes of 1 ms; ends known after 3 and 5 us, decisions of 10 us, next begins after 34 us and (in no time) 9."""
    served: list[tuple[str, list[int], list[float]]] = []

    def execute(requests: list[Request], policy: Policy, cost: object, predictor: object, runner: object) -> object:
        served.append((type(policy).__name__, [r.input_length for r in requests], [r.arrival_s for r in requests]))
        log = SimpleNamespace(control_s=100e-6, decisions=10)
        ledger = SimpleNamespace(service_s=[1e-3])
        pauses = [SimpleNamespace(stopped_s=1.0, acknowledged_s=1.0 + us * 1e-6) for us in (7, 8)[:stops]]
        outcome = SimpleNamespace(logs=[log], ledger=ledger)
        return SimpleNamespace(
            outcome=outcome, acknowledged_s=[3e-6, 5e-6], hand_overs_s=[34e-6, 9e-6], preemptions=pauses
        )

    monkeypatch.setattr("flowsim.calibration.measure.host_costs.execute", execute)
    runner = cast(Runner, SimpleNamespace(decoder=SimpleNamespace(rows=20000)))
    complete, acknowledge, resume = time_hand_offs(runner, 33)
    assert complete == [3e-6, 5e-6]
    assert acknowledge == pytest.approx([7e-6, 8e-6] if stops else complete, abs=1e-9)  # if none stopped, as an end
    assert resume == pytest.approx([20e-6, 0.0])
    (first, bursts, at), (second, mixed, apart) = served
    assert (first, second) == ("FCFS", "EDF")
    assert (bursts, at[4:6]) == ([64] * 33, [0.0, 5e-3])
    assert [i for i, tokens in enumerate(mixed) if tokens == 16384] == [0, 31]
    assert apart[:2] == [0.0, 15e-3]


def test_proceeding_is_timed_from_each_stop_of_one_prompt_until_it_runs_on() -> None:
    with Runner(Decoder(SPEC, "cpu", rows=64, dtype="float32")) as runner:
        samples = time_proceeding(runner, 40)
    assert len(samples) == 5 * SPEC.layers  # the operators after which it stops; then its end
    assert min(samples) > 0


@pytest.mark.parametrize(
    ("samples", "expected"),
    [([3.0], 3.0), ([1.0, 2.0], 1.5), ([9.0, 1.0, 2.0, 4.0], 3.0), ([1.0, 1.0, 1.0, 5.0, 5.0, 5.0, 5.0, 100.0], 4.0)],
)
def test_what_is_typical_is_the_mean_of_the_middle_half(samples: list[float], expected: float) -> None:
    assert typical(samples) == expected


class Scripted:
    """A device on which every step takes what is written, and every mark 0.5 s."""

    cuda, now = False, 0.0

    def __init__(self, device: object) -> None:
        """Of whatever device."""

    def mark(self) -> float:
        Scripted.now += 0.5
        return Scripted.now

    def between(self, begin: float, end: float) -> float:
        return end - begin

    def stall(self, seconds: float) -> None:
        """Takes nothing."""

    synchronise = wait = lambda *arguments: None


def scripted(operator: str, layer: int, seconds: float) -> Step:
    def run(p: object) -> None:
        Scripted.now += seconds

    return Step(operator, layer, run)


def test_marks_are_taken_off_and_layers_take_what_they_take_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopwatch, "Stopwatch", Scripted)
    layers = [step for i in range(3) for step in (scripted("norm", i, 1.0), scripted("proj", i, 8.0 + i))]
    program = [scripted("embed", -1, 4.0), *layers, scripted("head", 3, 7.0)]
    decoder = SimpleNamespace(
        device="none", layers=3, operators=("norm", "proj"), program=program, prepare=lambda slices: None
    )
    device, host = stopwatch.time_layers(cast(Decoder, decoder), [CacheSlice(1)], Limits(2, 3, 0.0))
    # The last two layers take 1 + 9 and 1 + 10 s and, with the mark behind them, 10.75 s each.
    scale = 10.75 / 10.5
    assert device["embed"] == pytest.approx([4.0] * 2)
    assert device["norm"] == pytest.approx([1.0 * scale] * 2)
    assert device["proj"] == pytest.approx([9.5 * scale] * 2)
    assert [len(host[name]) for name in ("embed", "norm", "proj")] == [2, 2, 2]


def test_on_a_core_torch_computes_with_one_thread() -> None:
    cores, threads = os.sched_getaffinity(0), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with on_core(min(cores)):
            assert (os.sched_getaffinity(0), torch.get_num_threads()) == ({min(cores)}, 1)
        assert (os.sched_getaffinity(0), torch.get_num_threads()) == (cores, 2)
    finally:
        torch.set_num_threads(threads)
