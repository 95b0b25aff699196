import json
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from flowsim.calibration.costs.attention.kernels import kernel_choice
from flowsim.calibration.costs.fit import fit, fit_passes
from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.costs.table_rows import GRAPH, HOST_OPERATORS, OPTIONAL_HOST_OPERATORS
from flowsim.calibration.gpu.decoder import Decoder
from flowsim.calibration.measure import stopwatch
from flowsim.calibration.measure.calibrate import calibrate
from flowsim.calibration.measure.grid import Grid
from flowsim.calibration.measure.repeats import RepeatLimits
from flowsim.errors import InputError
from support.calibration import SPEC

torch = pytest.importorskip("torch")


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
    limits=RepeatLimits(3, 5, 0.02),
    pass_limits=RepeatLimits(3, 5, 0.02),
    graph_limits=RepeatLimits(3, 5, 0.02),
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


def test_a_size_beyond_the_memory_is_noted_and_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    def scarce(decoder: object, slices: list[stopwatch.CacheSlice], limits: RepeatLimits) -> object:
        if slices[0].tokens == 64:
            raise FULL
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
    at = next(i for i, line in enumerate(lines) if '"key": "pass none 5@0", ' in line)
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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_on_a_gpu_a_small_calibration_is_whole() -> None:
    table = calibrate(structs.replace(SPEC, head_dim=64), grid=GRID)
    assert {r.operator for r in table.operators} == {*SPEC.operators, *HOST_OPERATORS}
