"""Public tables: what is measured there, what is filled in, and the commands about tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from msgspec import structs

import flowsim
from flowsim.calibration.costs.accuracy import leave_one_out, left_out
from flowsim.calibration.costs.curves import query_key_pairs
from flowsim.calibration.costs.fit import fit
from flowsim.calibration.costs.models import load_model
from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.costs.table_catalogue import load_table
from flowsim.calibration.costs.table_rows import OperatorRow
from flowsim.calibration.measure.all_reduce import join
from flowsim.calibration.published.aiconfigurator import Source, folder_source, of_shape, package_source, quantised
from flowsim.calibration.published.importer import import_table, public_all_reduce
from flowsim.calibration.published.nearest_table import nearest_own
from flowsim.calibration.published.report import calibration_page
from flowsim.cli.main import main
from flowsim.errors import InputError
from support.calibration import MODEL, undrawn


def rows_of(table: OperatorTable, operator: str) -> dict[tuple[int, int], OperatorRow]:
    return {(row.tokens, row.context): row for row in table.operators if row.operator == operator}


def test_every_row_says_where_it_comes_from(source: Source) -> None:
    table = import_table(source, MODEL, nearest_own(MODEL, "toy_gpu"))
    qkv, down, norm = (rows_of(table, name)[64, 0] for name in ("qkv_proj", "down_proj", "norm_attn"))
    assert (qkv.device_us, qkv.backend) == (pytest.approx(64 * 6144 * 4096 * 1e-6), "linear: measured")
    # k = 14336 lies 5/6 of the way from 4096 (rate 1) to 16384 (rate 1/2): rate 7/12.
    assert (down.device_us, down.backend) == (
        pytest.approx(64 * 4096 * 14336 * 1e-6 * 12 / 7),
        "linear: utilisation",
    )
    # 64 tokens of 4 x 4096 values of 2 bytes at 1 TB/s, and 3 us.
    assert (norm.device_us, norm.backend) == (
        pytest.approx(3 + 64 * 4 * 4096 * 2e-6, abs=1e-3),
        "elementwise: bandwidth",
    )
    head = rows_of(table, "head")
    assert set(head) == {(1, 0), (64, 0)}
    assert head[1, 0].backend == "linear: utilisation"
    assert table.provenance.cells["attention"] == {"measured": 4, "work": 81}
    cost = fit(table)
    assert cost.name == "toy_gpu/llama3-8b/tp1"
    assert cost.kv_capacity_tokens == int((0.9 * 85899345920 - MODEL.weight_bytes) // MODEL.kv_bytes_per_token)
    assert cost.provenance.error == {}


def test_a_chunk_takes_as_long_as_a_prompt_of_equal_work(source: Source) -> None:
    chunks = rows_of(import_table(source, MODEL, load_table("h200", "llama3-8b")), "attention")
    assert chunks[1024, 8192].device_us == pytest.approx((1024 * 8192 + 1024 * 1025 / 2) * 1e-3)  # 1 ns for each pair
    # 16 tokens compute a tile of 128 queries on their context.
    assert chunks[16, 4096].device_us == pytest.approx((128 * 4096 + 16 * 17 / 2) * 1e-3)
    fast = replace(source, attention=source.attention.assign(latency=source.attention["latency"] * 1e-6))
    # 9 times 1024 tokens of K and V in 8 heads of 128 values of 2 bytes at 1 TB/s, and 3 us.
    kv_us = 3 + (1024 + 8192) * 2 * 8 * 128 * 2e-6
    chunks = rows_of(import_table(fast, MODEL, load_table("h200", "llama3-8b")), "attention")
    assert chunks[1024, 8192].device_us == pytest.approx(kv_us, abs=1e-3)


def test_a_chunk_on_hardly_any_context_takes_as_long_as_a_prompt(source: Source) -> None:
    """Our own tables have a kernel that chunks alone need, as 2048 tokens on context 16: theirs do not."""
    cost = fit(import_table(source, MODEL, load_table("h200", "llama3-8b")))
    for tokens in (128, 256, 512, 1024, 2048, 4096, 8192):
        alone_s = cost.attention(tokens, 0)
        assert cost.attention(tokens, 1) == pytest.approx(alone_s, rel=0.03)
        assert cost.attention(tokens, 16) == pytest.approx(alone_s, rel=0.3 if tokens < 1024 else 0.04)
        on_context = [cost.attention(tokens, context) for context in (*range(0, 600, 7), 1024, 5000, 60_000, 200_000)]
        assert on_context == sorted(on_context)


def test_the_wrong_public_table_is_one_line(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = nearest_own(MODEL, "toy_gpu")
    with pytest.raises(InputError, match="has no all-reduces among 2 GPUs; expected"):
        import_table(source, MODEL, own, tp=2)
    with pytest.raises(InputError, match="has no matrix products in fp8; try another framework"):
        import_table(source, structs.replace(MODEL, weights="fp8"), load_table("h200", "llama3-8b"))
    with pytest.raises(InputError, match="has no attention with head_dim 64"):
        import_table(source, structs.replace(MODEL, head_dim=64), own)
    with pytest.raises(InputError, match=r"expected a folder with gemm\*.csv, context_attention\*.csv and SYSTEM"):
        folder_source(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"aiconfigurator-core: is not installed: pip install 'flowsim\[import\]'"):
        package_source("a100_sxm")


def with_fp8(folder: Path) -> Path:
    """The same products in FP8 in half the time, in blocks in 3/4 of it."""
    file = folder / "gemm.csv"
    header, *rows = file.read_text().splitlines()
    parts = [(row.rsplit(",", 1), dtype, f) for row in rows for dtype, f in TYPES.items()]
    lines = [f"{start},{float(ms) * f},{dtype}" for (start, ms), dtype, f in parts]
    file.write_text("\n".join([f"{header},gemm_dtype", *lines]))
    return folder


TYPES = {"bfloat16": 1.0, "fp8": 0.5, "fp8_block": 0.75}


@pytest.mark.parametrize(("weights", "factor"), [("fp8", 0.5), ("fp8_dynamic", 0.5), ("fp8_block", 0.75)])
def test_products_of_layers_are_those_in_the_model_s_type(weights: str, factor: float, folder: Path) -> None:
    source, spec = folder_source(with_fp8(folder)), structs.replace(MODEL, weights=weights)
    own = nearest_own(spec, "toy_gpu")
    assert own.provenance.rank().spec.weights == "fp8"
    whole, narrow = (import_table(source, one, own) for one in (MODEL, spec))
    for name in ("qkv_proj", "o_proj", "gate_up_proj", "down_proj", "head", "norm_mlp", "attention"):
        size = (128, 0) if name == "attention" else (64, 0)
        of_bf16, of_fp8 = (rows_of(table, name)[size].device_us for table in (whole, narrow))
        assert of_fp8 == pytest.approx(of_bf16 * (factor if name.endswith("proj") else 1), abs=1e-3), name


def test_static_scales_take_no_time_to_compute(folder: Path, tmp_path: Path) -> None:
    scales = tmp_path / "scales.parquet"
    rows = [(m, k, 0.25 * m * 4096 * k * 1e-9) for m in (1, 64, 4096) for k in (4096, 16384)]
    pd.DataFrame(rows, columns=["m", "k", "latency"]).to_parquet(scales)
    found = quantised(with_fp8(folder) / "gemm.csv", scales)
    static, dynamic = (of_shape(found[name], n=4096, k=4096)[64][0] for name in ("fp8", "fp8_dynamic"))
    assert static == pytest.approx(dynamic / 2)


def test_experts_are_those_in_the_model_s_type(source: Source) -> None:
    spec = structs.replace(load_model("qwen3-30b-a3b"), weights="fp8_block")
    shape = {"hidden_size": 2048, "inter_size": 768, "topk": 8, "num_experts": 128, "moe_tp_size": 1}
    frames = {
        weights: pd.DataFrame([{"num_tokens": m, **shape, "distribution": "even", "kernel_source": "moe", "latency": ms}
                               for m in (1, 4096)])
        for weights, ms in (("bf16", 2.0), ("fp8_block", 1.0))
    }  # fmt: skip
    own = nearest_own(spec, "toy_gpu")
    there = replace(source, quantised={"fp8_block": source.gemm}, moe=frames)
    assert {row.device_us for row in rows_of(import_table(there, spec, own), "experts").values()} == {1000.0}
    with pytest.raises(InputError, match="has no mixtures of experts in fp8_block; expected another framework, or"):
        import_table(replace(there, moe={}), spec, own)


def test_the_head_needs_a_number_of_sequences(source: Source) -> None:
    large = replace(source, gemm=source.gemm[source.gemm["m"] > 128])
    with pytest.raises(InputError, match="has no matrix product with m in 1, 2, 4, 8, 16, 32, 64, 128; the head"):
        import_table(large, MODEL, nearest_own(MODEL, "toy_gpu"))


def test_what_was_filled_in_has_no_error(source: Source) -> None:
    table = import_table(source, MODEL, nearest_own(MODEL, "toy_gpu"))
    assert {name: of.sizes for name, of in leave_one_out(table).items()} == {
        "qkv_proj": 1, "o_proj": 1, "attention": 2,
    }  # fmt: skip
    assert {residual.context for residual in left_out(table)} == {0}


def test_a_run_says_how_much_was_filled_in(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "table"
    CliRunner().invoke(main, ["calibrate", "import", str(folder), "--out", str(out)], catch_exceptions=False)
    run = CliRunner().invoke(main, ["run", "example", "--cost", str(out)], catch_exceptions=False)
    # Of 3 sizes each of 9 operators, 2 of the head, 4 of attention and 81 chunks: qkv_proj, o_proj and attention.
    assert "of its 114 rows of the device 10 were measured there, the rest filled in" in run.output


def test_an_import_runs_under_its_gpu_s_name(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWSIM_TABLES", str(tmp_path / "tables"))
    done = CliRunner().invoke(main, ["calibrate", "import", str(folder)], catch_exceptions=False)
    assert "qkv_proj     3 measured" in done.output
    assert "use it with --gpu toy_gpu --model llama3-8b" in done.output
    result = flowsim.run("example", gpu="toy_gpu", limit=20)
    assert result.summary["inputs"]["cost_model"] == "toy_gpu/llama3-8b/tp1"
    assert load_table("toy_gpu", "llama3-8b").provenance.source == "gemm.csv and context_attention.csv"
    nearest = {system: nearest_own(MODEL, system).provenance.gpu for system in ("toy_gpu", "h100_sxm", "h200_sxm")}
    assert nearest == {"toy_gpu": "h200", "h100_sxm": "h100", "h200_sxm": "h200"}


def test_a_corrected_run_and_a_study_of_two_kinds_say_so(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWSIM_TABLES", str(tmp_path / "tables"))
    place, source = tmp_path / "tables/toy_gpu/llama3-8b/tp1", replace(folder_source(folder), framework="vllm")
    import_table(source, MODEL, nearest_own(MODEL, "toy_gpu")).save(place)
    plain, told = (flowsim.run("example", gpu="toy_gpu", limit=20, correct=correct) for correct in (False, True))
    inputs = told.summary["inputs"]
    assert (inputs["cost_model_kind"], inputs["cost_model_factors"]["corrected"]) == ("imported", True)
    assert inputs["cost_model_stated_error"] < plain.summary["inputs"]["cost_model_stated_error"]
    assert inputs["cost_model_sha256"] != plain.summary["inputs"]["cost_model_sha256"]
    assert told.ttft(0.5) > 1.1 * plain.ttft(0.5)
    told.save(tmp_path / "told")
    config = (tmp_path / "told" / "config.yaml").read_text()
    assert config.startswith("# costs: toy_gpu/llama3-8b/tp1, imported; corrected by 1.31 (512 tokens)")
    again = flowsim.run(flowsim.read_options(tmp_path / "told" / "config.yaml"))
    assert again.summary == told.summary
    study = {"run": {"trace": "example", "workload.limit": 20}, "axes": {"gpu": ["h200", "toy_gpu"]}}
    runs = flowsim.sweep(study, workers=1)
    assert runs.table["cost_model_kind"].tolist() == ["measured", "imported"]
    assert runs.warnings == [
        "warning: mixes costs of different kinds, so more than the GPU differs: "
        "measured (error 1.1 %), imported (error 38.1 %)"
    ]
    (figure,) = flowsim.plot(runs).values()
    assert figure.get_supxlabel() == (
        "Costs: h200/llama3-8b/tp1, measured, error 1.1 %; toy_gpu/llama3-8b/tp1, imported, error 38.1 %"
    )
    listed = {row[:3]: row[3:] for row in flowsim.describe_models()}
    assert listed["toy_gpu", "llama3-8b", 1][0] == "imported"
    completing = "flowsim calibrate all-reduce h200/llama3-70b/tp4 --public h200_sxm"
    assert listed["h200", "llama3-70b", 4][1].endswith(completing)
    (place / "operators.csv").write_text("x")
    assert "lacks the columns" in {row[:3]: row[4] for row in flowsim.describe_models()}["toy_gpu", "llama3-8b", 1]


def test_only_an_import_is_corrected() -> None:
    with pytest.raises(InputError, match=r"^correct: h200/llama3-8b/tp1 is a measured table; expected an imported"):
        flowsim.run("example", correct=True)
    with pytest.raises(InputError, match=r"^correct: does not change h200/llama3-8b/tp1, given in Python; expected"):
        flowsim.run("example", cost=flowsim.load_cost(None), correct=True)


PLAIN = """schema_version: 1
gpu: mine
model: tiny
tp: 1
memory_bytes: 1000000000
model_spec: {name: tiny, layers: 2, hidden: 8, heads: 2, kv_heads: 1, head_dim: 4, intermediate: 16, vocab: 10,
  max_context: 100, rope_theta: 10000.0, norm_eps: 0.00001}
"""


def test_a_table_filled_by_hand_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    undrawn(monkeypatch)
    layer = ["embed", "norm_attn", "qkv_proj", "rope_kv", "attention", "o_proj", "norm_mlp", "gate_up_proj"]
    names = [*layer, "activation", "down_proj", "head", "prepare", "check", "acknowledge", "resume", "decision"]
    rows = [f"{name},{n},0,{0 if name in names[11:] else n},0,0,1,0,profiler" for name in names for n in (1, 100)]
    rows = [row.replace("check,1,", "check,0,") for row in rows]
    header = "operator,tokens,context,device_us,device_us_p10,device_us_p90,host_us,repeats,backend\n"
    (tmp_path / "operators.csv").write_text(header + "\n".join(rows))
    (tmp_path / "passes.csv").write_text("cut,slices,wall_us,wall_us_p10,wall_us_p90,repeats\n")
    (tmp_path / "provenance.yaml").write_text(PLAIN)
    cost = flowsim.load_cost(tmp_path)
    # 2 us until embed is launched; it and 8 operators a layer take 50 us, attention goes by its work; head, check 1 us.
    attention_us = 1 + 99 * (query_key_pairs(50, 0) - 1) / (query_key_pairs(100, 0) - 1)
    assert cost.forward_s(50) == pytest.approx((2 + 50 + 2 * (8 * 50 + attention_us) + 1 + 1) * 1e-6)
    assert cost.provenance.error == {}
    assert cost.attention_launch(50, 7) == pytest.approx(1e-6)  # no chunk was measured
    assert "None were measured" in calibration_page(OperatorTable.load(tmp_path))
    (tmp_path / "provenance.yaml").write_text(PLAIN.replace("memory_bytes", "memory"))
    with pytest.raises(InputError, match="provenance: lacks memory_bytes"):
        flowsim.load_cost(tmp_path)
    (tmp_path / "provenance.yaml").write_text(PLAIN.replace("hidden:", "hiden:"))
    with pytest.raises(InputError, match=r"provenance.yaml: model_spec: unknown field 'hiden'; did you mean 'hidden'"):
        flowsim.load_cost(tmp_path)


def test_an_import_replaces_the_table_that_is_there_and_the_help_says_so(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        done = CliRunner().invoke(main, ["calibrate", "import", str(folder), "--out", "my table"])
        assert done.output.endswith("saved the table in my table; use it with --cost 'my table'\n")
    assert OperatorTable.load("my table").provenance.gpu == "toy_gpu"
    text = CliRunner().invoke(main, ["calibrate", "import", "--help"]).output
    assert "replaces a table that is there" in " ".join(text.split())


def test_a_rank_is_completed_with_public_all_reduces(folder: Path) -> None:
    import pandas as pd

    sizes = [1 << 12, 1 << 20, 1 << 28]
    reduce = pd.DataFrame({"num_gpus": 4, "message_size": sizes, "kernel_source": "NCCL", "latency": [0.01, 0.02, 2.0]})
    source = replace(folder_source(folder), reduce=reduce)
    rank = load_table("h200", "llama3-70b", 4)
    table = join(rank, public_all_reduce(source, rank))
    # 128 tokens of 8192 values are 2**20 of them: 20 us, twice a layer; the curve is straight between sizes.
    assert fit(table).device["all_reduce_attn"](128) == pytest.approx(20e-6)
    assert table.provenance.all_reduce.source == source.name
    with pytest.raises(InputError, match="has no all-reduces among 2 GPUs"):
        public_all_reduce(source, load_table("h200", "llama3-70b", 2))
    with pytest.raises(InputError, match="tp of the table must be >= 2"):
        public_all_reduce(source, load_table("h200", "llama3-8b"))


def test_a_run_on_public_all_reduces_says_so(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pandas as pd

    reduce = pd.DataFrame(
        {"num_gpus": 4, "message_size": [4096, 1 << 28], "kernel_source": "NCCL", "latency": [0.01, 2.0]}
    )
    source = replace(folder_source(folder), reduce=reduce)
    monkeypatch.setenv("FLOWSIM_TABLES", str(tmp_path))
    monkeypatch.setattr("flowsim.calibration.published.aiconfigurator.package_source", lambda system: source)
    arguments = ["calibrate", "all-reduce", "h200/llama3-70b/tp4", "--public", "h200_sxm"]
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert done.output.endswith("use it with --gpu h200 --model llama3-70b --tp 4\n")
    run = CliRunner().invoke(main, ["run", "example", "--model", "llama3-70b", "--tp", "4"], catch_exceptions=False)
    assert f"all-reduces from {source.name}" in run.output
