"""Whole passes measured alone, to hold a table against them: `flowsim calibrate verify`."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec import structs

from flowsim.calibration.costs.accuracy import bias, pass_errors, pass_residuals
from flowsim.calibration.costs.attention.kernels import Choice
from flowsim.calibration.costs.fit import fit, fit_passes
from flowsim.calibration.costs.models import ModelSpec, load_model
from flowsim.calibration.costs.provenance import Provenance
from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.costs.table_catalogue import load_table
from flowsim.calibration.costs.table_rows import GRAPH, HOST_OPERATORS, OperatorRow, PassRow
from flowsim.calibration.gpu.batch import CacheSlice
from flowsim.calibration.gpu.decoder import Decoder
from flowsim.calibration.measure import graph_stopwatch
from flowsim.calibration.measure.grid import Grid
from flowsim.calibration.measure.measurement_log import MeasurementLog
from flowsim.calibration.measure.passes import host_bound, measure_passes, pass_rows
from flowsim.calibration.measure.repeats import RepeatLimits
from flowsim.cli.main import main
from flowsim.errors import InputError
from flowsim.io.counts import percent

torch = pytest.importorskip("torch")

SPEC = ModelSpec("tiny", 3, 64, 4, 2, 16, 128, 97, 512, 10000.0, 1e-5)
GRID = Grid(
    passes=("5@0", "30@40+20@0", "600@0"),
    checked_passes=("75@0",),
    cuts=("layer", "operator"),
    graph_passes=("30@0", "100@0", "140@0"),
    limits=RepeatLimits(2, 3, 0.02),
)
PASSES = {("none", "5@0", 0), ("none", "30@40+20@0", 0), ("layer", "75@0", 0), ("operator", "75@0", 0)}


def pencil_table(kernel: str = "math", graphs: tuple[int, ...] = (), **about: object) -> OperatorTable:
    """A table of two layers of a tiny model, measured with a pencil."""
    known = {"schema_version": 1, "gpu": "cpu", "model": "tiny", "tp": 1, "memory_bytes": 1 << 30, "pass_layers": 2}
    rows = [OperatorRow(name, n, 0, 10.0 * n, 1.0, 1.0, 5.0, 1, kernel) for name in SPEC.operators for n in (1, 64)]
    rows += [OperatorRow(name, n, 0, 0.0, 0.0, 0.0, 5.0, 1, "host") for name in HOST_OPERATORS for n in (1, 64)]
    rows += [OperatorRow(GRAPH, n, 0, 9e4, 9e4, 9e4, 0.0, 1, kernel) for n in graphs]
    rows += [OperatorRow(f"graph_{name}", 64, 0, 0, 0, 0, 5.0, 1, "host") for name in ("prepare", "check") if graphs]
    return OperatorTable(Provenance.of({**known, "model_spec": structs.asdict(SPEC), **about}), tuple(rows))


def taken(measured: OperatorTable) -> set[tuple[str, str, int]]:
    return {(row.cut, row.slices, row.graph_tokens) for row in measured.passes}


def test_the_passes_are_measured_and_nothing_else() -> None:
    table, calls = pencil_table(), list[tuple[int, int, str]]()
    measured = measure_passes(table, device="cpu", grid=GRID, seed=3, progress=lambda *call: calls.append(call))
    assert measured.operators == ()
    assert taken(measured) == PASSES  # 600 are beyond the model's longest context, and the table knows no graphs
    assert all(0 < row.wall_us_p10 <= row.wall_us <= row.wall_us_p90 for row in measured.passes)
    assert [call[:2] for call in calls] == [(n, 8) for n in range(1, 9)]  # small ones, so each of them twice
    about = measured.provenance
    expected = {
        "verifies": table.digest(),
        "model": "tiny",
        "model_spec": structs.asdict(SPEC),
        "pass_layers": 2,
        "tp": 1,
    }
    expected |= {"schema_version": 1, "dtype": "float32", "seed": 3, "gpu_name": "CPU", "notes": []}
    assert {key: about.stated[key] for key in expected} == expected


def test_passes_are_recorded_in_the_sizes_that_the_table_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    from flowsim.calibration.measure import passes

    recorded = set[tuple[int, ...]]()

    class Noted(passes.Launcher):
        def __init__(self, decoder: Decoder, cut: str, sizes: tuple[int, ...] = ()) -> None:
            recorded.add(tuple(sizes))
            super().__init__(decoder, cut, sizes)

    monkeypatch.setattr(passes, "Launcher", Noted)
    table = pencil_table(graphs=(64, 128))
    measured = measure_passes(table, device="cpu", grid=GRID)
    # The recording of 140 tokens would be of 192, of which the table knows nothing.
    as_graphs = {(cut, text, 128) for cut in ("none", "layer", "operator") for text in ("30@0", "100@0")}
    assert taken(measured) == PASSES | as_graphs
    assert recorded == {(), (64, 128)}
    assert GRAPH not in {row.operator for row in measured.operators}
    assert len(list(pass_residuals(fit_passes(table), measured))) == len(measured.passes)


def test_a_recorded_pass_follows_the_longest_recording_of_another_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    from flowsim.calibration.measure import passes

    readied = list[tuple[str, int]]()

    class Noted(passes.Launcher):
        def __init__(self, decoder: Decoder, cut: str, sizes: tuple[int, ...] = ()) -> None:
            self.cut = cut
            super().__init__(decoder, cut, sizes)
            assert set(sizes) >= {64, 128}

        def ready(self, slices: list[CacheSlice], ids: object = None) -> object:
            readied.append((self.cut, slices[0].tokens))
            return super().ready(slices)

    monkeypatch.setattr(passes, "Launcher", Noted)
    grid = replace(GRID, graphs=(64, 128), graph_passes=("30@0",), passes=(), checked_passes=())
    with torch.inference_mode():
        passes.Passes(SPEC, grid, "cpu", 0, MeasurementLog(None, {}, lambda *call: None)).run(Choice.of("math", {}))
    for cut, other in (("none", "layer"), ("layer", "none"), ("operator", "none")):
        before = [readied[i - 1] for i, (name, tokens) in enumerate(readied) if (name, tokens) == (cut, 30)]
        assert before[1:] == [(other, 128)] * (len(before) - 1)  # but for the first, which warms up
        assert len(before) > GRID.pass_limits.least


def test_what_ran_out_of_memory_leaves_no_recording_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    from flowsim.calibration.measure import passes

    def scarce(forward: object) -> None:
        monkeypatch.undo()
        raise torch.OutOfMemoryError("no")

    grid = replace(GRID, graphs=(64, 128), graph_passes=(), passes=(), checked_passes=(), cuts=())
    log, crowded = MeasurementLog(None, {}, lambda *call: None), list[int]()
    monkeypatch.setattr(graph_stopwatch, "launch_all", scarce)
    with torch.inference_mode():
        of = passes.Passes(SPEC, grid, "cpu", 0, log)
        model = of.model(Choice.of("math", {}))
        for tokens in (64, 128):
            log.do(f"graph {tokens}", of.recording, model, tokens)
            crowded += [launcher.crowded for launcher in of.launchers.values()]
    assert log.notes() == ["graph 64: skipped: out of memory"]
    assert crowded == [0] * 4


def test_kernels_that_do_not_work_here_are_replaced_and_named() -> None:
    measured = measure_passes(pencil_table("fa: measured"), device="cpu", grid=GRID)
    assert taken(measured) == PASSES
    assert measured.provenance.notes == ["attention: math for fa: measured: no kernel of torch"]
    (note,) = measure_passes(pencil_table("cudnn"), device="cpu", grid=GRID).provenance.notes
    assert note.startswith("attention: math for cudnn: ")
    cells = {(64, 0): "cudnn", (4096, 0): "flash", (64, 1024): "split"}
    choice = Choice.of("math", cells).among(("flash", "math"), "flash")
    assert [choice(*cell) for cell in cells] == ["flash", "flash", "flash"]
    assert Choice.of("math", cells).among(("cudnn", "split"), "cudnn")(64, 1024) == "split"


def test_a_pass_beyond_the_memory_is_noted_and_too_many_layers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from flowsim.calibration.measure import passes

    def scarce(launcher: object, slices: list[object], *others: object) -> list[float]:
        if len(slices) == 2:
            raise torch.OutOfMemoryError("no")
        return [1.0, 2.0, 3.0]

    monkeypatch.setattr(passes, "time_pass", scarce)
    measured = measure_passes(pencil_table(), device="cpu", grid=GRID)
    skipped = "skipped: out of memory"
    assert measured.provenance.notes == [f"pass none 30@40+20@0{again}: {skipped}" for again in ("", " again")]
    assert taken(measured) == PASSES - {("none", "30@40+20@0", 0)}
    assert {row.wall_us for row in measured.passes} == {2e6}

    def none(*args: object, **options: object) -> Decoder:
        raise torch.OutOfMemoryError("no")

    monkeypatch.setattr(passes, "Decoder", none)
    short = "cpu/tiny/tp1, 2 layers: the device ran out of memory; use one with more, or a smaller model"
    with pytest.raises(InputError, match=short):
        measure_passes(pencil_table(), device="cpu", grid=GRID)


def test_a_table_that_cannot_be_verified_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"tp of the table must be 1 \("):
        measure_passes(load_table("h200", "llama3-8b", 2), device="cpu")
    passes_alone = measure_passes(pencil_table(), device="cpu", grid=GRID)
    for use in (measure_passes, fit, fit_passes):
        with pytest.raises(InputError, match="operators: there are none: the table holds only passes"):
            use(passes_alone)
    for layers in (0, 4, "two"):
        with pytest.raises(InputError, match=r"pass_layers must be "):
            measure_passes(pencil_table(pass_layers=layers), device="cpu")
    with pytest.raises(InputError, match="unknown device 'gpu'"):
        measure_passes(pencil_table(), device="gpu")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match="torch: is needed to measure"):
        measure_passes(pencil_table())


# The command.


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("flowsim.calibration.measure.passes.QUICK", GRID)
    pencil_table("fa: measured").save("table")
    return tmp_path


def done(*arguments: str) -> str:
    return CliRunner().invoke(main, ["calibrate", *arguments], catch_exceptions=False).output


def test_compare_prints_the_same_errors_of_the_passes_that_verify_kept(here: Path) -> None:
    lines = done("verify", "table", "--device", "cpu", "--quick", "--out", "kept/passes").splitlines()
    *errors, note, saved = lines
    assert errors[0].split("  ")[0] == "measured passes, not fitted"
    expected = pass_errors(fit_passes(pencil_table()), OperatorTable.load("kept/passes"))
    assert [line.partition("  ")[0] for line in errors[1:]] == list(expected)
    assert note == "attention: math for fa: measured: no kernel of torch"
    assert saved == "saved the passes in kept/passes; flowsim calibrate compare table kept/passes prints this again"
    assert done("compare", "table", "kept/passes").splitlines() == errors
    wrong = CliRunner().invoke(main, ["calibrate", "compare", "kept/passes", "kept/passes"])
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert OperatorTable.load("kept/passes").provenance.verifies == OperatorTable.load("table").digest()
    assert done("verify", "table", "--device", "cpu", "--quick", "--out", "kept/passes", "-q") == ""


def test_a_cpu_without_memory_is_one_line(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flowsim.calibration.measure import passes

    def none(*args: object, **options: object) -> Decoder:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(passes, "Decoder", none)
    result = CliRunner().invoke(main, ["calibrate", "verify", "table", "--device", "cpu", "--quick", "--out", "kept"])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert ", 2 layers: the device ran out of memory; use one with more" in result.stderr
    assert not Path("kept").exists()


def test_without_out_nothing_is_left(here: Path) -> None:
    before = sorted(here.rglob("*"))
    assert done("verify", "table", "--device", "cpu", "--quick").startswith("measured passes, not fitted")
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument 'TABLE'"),
        (["nothing"], "nothing: is not a folder; expected an operator table"),
        (["h200/llama3-8b/tp3"], "tp must be a divisor of llama3-8b's heads, 32, got 3"),
        (["h200/llama3-8b/tp2"], "tp of the table must be 1 (passes of a group"),
        (["table"], "device: no CUDA GPU was found; expected a machine with one, or the device 'cpu'"),
        (["table", "--device", "gpu"], "device: unknown device 'gpu'"),
        (
            ["table", "--out", "table"],
            "table: holds a table with operators; expected a new folder, or one",
        ),
        (["table", "--out", "."], ".: holds "),
        (["table", "--out", "table/passes.csv"], "table/passes.csv: is a file"),
        (["table", "--quiet"], "--quiet: without --out has no result"),
    ],
)
def test_a_wrong_command_is_one_line(
    arguments: list[str],
    message: str,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["flowsim", "calibrate", "verify", *arguments])
    digest = OperatorTable.load("table").digest()
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert f"flowsim: error: {message}" in (said := capsys.readouterr().err)
    assert said.count("\n") == 1
    assert [path.name for path in here.iterdir()] == ["table"]
    assert OperatorTable.load("table").digest() == digest


def test_of_a_pass_that_was_timed_twice_the_lesser_time_counts() -> None:
    log = MeasurementLog(None, {}, lambda *call: None)
    for key, us in (("first", 500.0), ("again", 900.0)):
        log.do(
            key,
            lambda us=us: [
                asdict(PassRow("none", "5@0", us, us, us, 8)),
                asdict(PassRow("layer", "5@0", us, us, us, 8)),
            ],
        )
    assert [(row.cut, row.wall_us) for row in pass_rows(log)] == [("none", 500.0), ("layer", 500.0)]


@pytest.mark.parametrize(
    ("slices", "graph_tokens", "waits", "of_experts"),
    [("1023@0", 0, True, True), ("1023@0", 64, False, False), ("1000@9000+24@0", 0, False, True)],
)
def test_small_passes_wait_for_the_host_unless_recorded(
    slices: str, graph_tokens: int, waits: bool, of_experts: bool
) -> None:
    assert host_bound(load_model("llama3-8b"), slices, graph_tokens) == waits
    assert host_bound(load_model("qwen3-30b-a3b"), slices, graph_tokens) == of_experts


def test_passes_of_another_model_are_not_compared(here: Path) -> None:
    result = CliRunner().invoke(main, ["calibrate", "compare", "h200/llama3-8b/tp2", "h200/llama3-8b/tp1"])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "h200/llama3-8b/tp1: tp must be 2, as in the first table, got 1" in result.stderr
    result = CliRunner().invoke(main, ["calibrate", "compare", "h200/llama3-8b/tp1", "h200/qwen3-8b/tp1"])
    assert "h200/qwen3-8b/tp1: model must be 'llama3-8b', as in the first table, got 'qwen3-8b'" in result.stderr


def test_shapes_are_compared_field_by_field_with_their_defaults(here: Path) -> None:
    measured = replace(pencil_table(), operators=(), passes=(PassRow("none", "40@0", 900.0, 900.0, 900.0, 8),))
    measured.save("passes")
    about = measured.provenance
    for stated in (None, False, True):
        spec = {key: value for key, value in about.stated["model_spec"].items() if key != "qkv_bias"}
        spec |= {} if stated is None else {"qkv_bias": stated}
        measured.stating(model_spec=spec).save("passes")
        result = CliRunner().invoke(main, ["calibrate", "compare", "table", "passes"])
        refused = "flowsim: error: passes: model_spec.qkv_bias must be False, as in the first table, got True\n"
        assert (result.exit_code, result.stderr) == ((2, refused) if stated else (0, ""))


def test_a_slower_gpu_is_told_of(here: Path) -> None:
    table = load_table("h200", "llama3-8b")
    slower = [replace(row, wall_us=1.1 * row.wall_us) for row in table.passes]
    replace(table, operators=(), passes=tuple(slower)).save("slower")
    own = bias(fit_passes(table), table)
    assert own is not None
    text = CliRunner().invoke(main, ["calibrate", "compare", "h200/llama3-8b/tp1", "slower"]).stdout
    assert f"passes take {percent(1.1 * (1 + own) - 1)} longer there than the table says" in text
    for name, id in (("here", "8ce7bdd8"), ("there", "870b7834")):
        table.stating(gpu_id=id).save(name)
    for name, where in (("here", "on the same GPU"), ("there", "on another GPU")):
        text = CliRunner().invoke(main, ["calibrate", "compare", "here", name]).stdout
        assert f"{where} than the table says" in text
    cost, measured, kind = fit_passes(table), OperatorTable.load("slower"), "whole prompt, from 1024 tokens"
    told = pass_errors(cost, measured, bias(cost, measured) or 0.0)
    assert structs.asdict(told[kind]) == pytest.approx(structs.asdict(pass_errors(cost, table, own)[kind]))


def test_a_pass_that_waits_for_the_host_tells_nothing_of_the_gpu() -> None:
    """In a mixture of experts launching takes more than half of what the device takes, up to some thousand tokens."""
    table = load_table("h200", "qwen3-30b-a3b")
    for slices, counts in (("1100@0", False), ("14000@0", True)):
        alone = replace(table, passes=tuple(row for row in table.passes if row.slices == slices))
        assert (bias(fit_passes(table), alone) is not None) is counts


def test_seeds_are_whole_numbers_from_0() -> None:
    with pytest.raises(InputError, match=r"seed must be >= 0 and < 2\^63, got -1"):
        measure_passes(pencil_table(), device="cpu", grid=GRID, seed=-1)
