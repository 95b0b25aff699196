"""What flowsim says when a table, a model or a public measurement is wrong: one message of each kind, word for word."""

# ruff: noqa: E501

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec import structs

from flowsim.calibration.costs.fit import fit, fit_passes
from flowsim.calibration.costs.models import ModelSpec, load_model
from flowsim.calibration.costs.provenance import Provenance
from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.costs.table_catalogue import load_table
from flowsim.calibration.costs.table_rows import OperatorRow, PassRow
from flowsim.calibration.measure.all_reduce import join, ranks
from flowsim.calibration.published.aiconfigurator import folder_source
from flowsim.errors import InputError
from support.calibration import public_folder

SPEC = ModelSpec("tiny", 2, 64, 4, 2, 16, 128, 97, 512, 10000.0, 1e-5)
ABOUT = {"schema_version": 1, "gpu": "g", "model": "tiny", "tp": 1, "memory_bytes": 10**9}
ROW = OperatorRow("o_proj", 64, 0, 10.0, 9.0, 11.0, 5.0, 8, "torch")
TABLE = OperatorTable(
    Provenance.of({**ABOUT, "model_spec": structs.asdict(SPEC)}), (ROW,), (PassRow("none", "5@0", 9.0, 8.0, 9.5, 4),)
)
Call = Callable[[], object]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def table_with(file: str, old: str, new: str) -> Call:
    """Load a table in one of whose files the text `old` is replaced."""

    def call() -> object:
        TABLE.save("t")
        path = Path("t", file)
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))
        return OperatorTable.load("t")

    return call


def model_with(**changes: Any) -> Call:
    def call() -> object:
        fields = structs.asdict(SPEC) | changes
        Path("m.yaml").write_text(yaml.safe_dump({key: value for key, value in fields.items() if value is not None}))
        return load_model("m.yaml")

    return call


def config_with(**changes: Any) -> Call:
    keys = {
        "model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4,
        "intermediate_size": 128, "vocab_size": 97, "max_position_embeddings": 512, "rope_theta": 1e4,
        "rms_norm_eps": 1e-5,
    }  # fmt: skip

    def call() -> object:
        Path("config.json").write_text(json.dumps(keys | changes))
        return load_model("config.json")

    return call


def public_with(file: str, old: str, new: str) -> Call:
    def call() -> object:
        path = public_folder(Path("public")) / file
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))
        return folder_source("public")

    return call


MESSAGES: list[tuple[Call, str]] = [
    (
        lambda: OperatorTable.load("absent"),
        "absent: is not a folder; expected an operator table (shipped tables are named by --gpu, --model and --tp or, as a TABLE, by gpu/model/tpN)",
    ),
    (table_with("operators.csv", "context,", "contexts,"), "t/operators.csv: row 1: lacks the columns context"),
    (
        table_with("operators.csv", "context,", "tokens,context,"),
        "t/operators.csv: row 1: the column 'tokens' is repeated",
    ),
    (table_with("operators.csv", ",5.0,8", ",8"), "t/operators.csv: row 2: has 8 fields; expected 9, as in row 1"),
    (
        table_with("operators.csv", "o_proj", "o_prj"),
        "t/operators.csv: row 2: unknown operator 'o_prj'; did you mean 'o_proj'? (known: acknowledge, activation, all_reduce, attention, check, combine, complete, decision, dispatch, down_proj, embed, expert_activation, expert_down, expert_gate_up, experts, gate_up_proj, graph, graph_check, graph_prepare, graph_rested, head, norm_attn, norm_mlp, o_proj, prepare, proceed, qkv_proj, resume, rope_kv, router)",
    ),
    (
        table_with("operators.csv", ",10.0,", ",nan,"),
        "t/operators.csv: row 2: device_us must be a number >= 0 and <= 10^12, got 'nan'",
    ),
    (
        table_with("operators.csv", "64,0", "6.5,0"),
        "t/operators.csv: row 2: tokens must be a whole number >= 0 and <= 10^12, got '6.5'",
    ),
    (table_with("operators.csv", "64,0", "0,0"), "t/operators.csv: row 2: tokens must be >= 1 for o_proj, got 0"),
    (
        table_with("passes.csv", "5@0", "5"),
        "t/passes.csv: row 2: slices must be tokens@context joined by +, as in 512@0+300@1024, got '5'",
    ),
    (
        table_with("passes.csv", "none", "nowhere"),
        "t/passes.csv: row 2: unknown cut 'nowhere'; did you mean 'none'? (known: block, chunk, layer, none, operator)",
    ),
    (table_with("passes.csv", "9.0,", "0,"), "t/passes.csv: row 2: wall_us must be a number > 0 and <= 10^12, got '0'"),
    (
        table_with("provenance.yaml", "schema_version: 1", "schema_version: 2"),
        "t/provenance.yaml: schema_version must be 1 (update flowsim), got 2",
    ),
    (
        table_with("provenance.yaml", "schema_version: 1", "a: ["),
        "t/provenance.yaml: line 3: is not YAML: while parsing a flow sequence, expected ',' or ']', but got ':'",
    ),
    (table_with("provenance.yaml", "tp: 1", "tp: 0"), "t/provenance.yaml: tp must be >= 1, got 0"),
    (table_with("provenance.yaml", "tp: 1", "tp: two"), "t/provenance.yaml: tp must be a whole number >= 1, got 'two'"),
    (
        table_with("provenance.yaml", "hidden: 64", "hiden: 64"),
        "t/provenance.yaml: model_spec: unknown field 'hiden'; did you mean 'hidden'? (known: chunked, dense_intermediate, dense_layers, experts, experts_per_token, head_dim, heads, hidden, intermediate, kv_heads, layers, max_context, name, norm_eps, post_norms, qk_norm, qkv_bias, rope_theta, shared_intermediate, tied, vocab, weights, window, windowed_layers)",
    ),
    (
        table_with("provenance.yaml", "heads: 4", "heads: 5"),
        "t/provenance.yaml: model_spec.heads must be a multiple of the number of key-value heads, 2, got 5",
    ),
    (
        table_with("provenance.yaml", "tp: 1", "boost: {window_s: 1, threshold: 1, gain: []}"),
        "t/provenance.yaml: boost.threshold must be < 1, got 1",
    ),
    (
        table_with("provenance.yaml", "tp: 1", "calls: {o_proj: 0}"),
        "t/provenance.yaml: calls.o_proj must be >= 1, got 0",
    ),
    (
        table_with("provenance.yaml", "tp: 1", "notes: none"),
        "t/provenance.yaml: notes must be a list (each item text), got 'none'",
    ),
    (
        table_with("provenance.yaml", "tp: 1", "leave_one_out: {o_proj: {sizes: 3}}"),
        "t/provenance.yaml: leave_one_out.o_proj: lacks median, max",
    ),
    (table_with("provenance.yaml", "tp: 1", "tp: 1\ntp: 1"), "t/provenance.yaml: line 5: the key 'tp' is repeated"),
    (lambda: fit(TABLE), "operators: no row of prepare"),
    (lambda: fit(OperatorTable(Provenance.of(ABOUT), (ROW,))), "provenance: lacks model_spec"),
    (
        lambda: fit(TABLE.stating(gpu="a/b")),
        "provenance: gpu must be a name without slashes, a leading dot or surrounding blanks, got 'a/b'",
    ),
    (
        lambda: fit(TABLE.stating(tp=2)),
        "operators: no row of all_reduce; expected the table of a rank, completed by flowsim calibrate all-reduce",
    ),
    (lambda: fit_passes(TABLE.stating(pass_layers=3)), "provenance: pass_layers must be <= 2, as in the model, got 3"),
    (lambda: fit_passes(replace(TABLE, operators=())), "operators: there are none: the table holds only passes"),
    (lambda: replace(TABLE, operators=(ROW, ROW)).samples("o_proj"), "operators: two rows of o_proj at 64@0"),
    (
        lambda: replace(TABLE, operators=(replace(ROW, context=5),)).samples("o_proj"),
        "operators: a row of o_proj has a context, on which only attention depends",
    ),
    (lambda: ranks(TABLE), "tp of the table must be >= 2: one GPU has nothing to reduce, got 1"),
    (lambda: join(TABLE, TABLE), "join: needs the table of a model, then one of all-reduces"),
    (lambda: join(TABLE, TABLE.stating(width=64, tp=2)), "tp of the all-reduces must be 1, as in the table, got 2"),
    (
        lambda: load_table("h20", "llama3-8b"),
        "gpu: there is no table of h20 (known: h100, h200); expected one of them, or a table measured on that GPU (flowsim calibrate --model llama3-8b --out DIR) or modelled (flowsim calibrate model --gpu h20 --model llama3-8b)",
    ),
    (
        lambda: load_table("h100", "llama3-7b"),
        "model: unknown model 'llama3-7b' on h100; did you mean 'llama3-70b'? (known: llama3-70b, llama3-8b, qwen2.5-14b, qwen3-32b, qwen3-8b); expected one of them, or a table measured on that GPU (flowsim calibrate --model config.json --out DIR), imported (flowsim calibrate import aiconfigurator --system h100_sxm --model config.json) or modelled (flowsim calibrate model --gpu h100 --model config.json)",
    ),
    (lambda: load_table("h100", "llama3-8b", 3), "tp must be a divisor of llama3-8b's heads, 32, got 3"),
    (
        lambda: load_table("h100", "llama3-8b", 2),
        "tp: unknown tp '2' of llama3-8b on h100 (known: 1); expected one of them, or a table measured on that GPU (flowsim calibrate --model llama3-8b --tp 2 --out DIR), imported (flowsim calibrate import aiconfigurator --system h100_sxm --model llama3-8b --tp 2) or modelled (flowsim calibrate model --gpu h100 --model llama3-8b --tp 2)",
    ),
    (
        lambda: load_model("llama3"),
        "model: unknown model 'llama3'; did you mean 'llama3-8b'? (known: llama3-70b, llama3-8b, llama3-8b-fp8, qwen2.5-14b, qwen3-235b-a22b, qwen3-30b-a3b, qwen3-32b, qwen3-32b-fp8, qwen3-8b, qwen3-8b-fp8)",
    ),
    (
        lambda: load_model("absent.yaml"),
        "absent.yaml: cannot be read: No such file or directory; expected a mapping of model fields",
    ),
    (model_with(layers=0), "m.yaml: layers must be >= 1, got 0"),
    (model_with(layers=None), "m.yaml: lacks layers"),
    (model_with(layers="two"), "m.yaml: layers must be a whole number >= 1 and <= 1e+12, got 'two'"),
    (model_with(norm_eps="1e-5"), "m.yaml: norm_eps must be a number > 0 (in YAML, write 1.0e-5), got '1e-5'"),
    (model_with(head_dim=15), "m.yaml: head_dim must be even, for rotary positions, got 15"),
    (model_with(kv_heads=3), "m.yaml: heads must be a multiple of the number of key-value heads, 3, got 4"),
    (
        model_with(experts=4, experts_per_token=5),
        "m.yaml: experts_per_token must be 1 to 4, the number of experts, got 5",
    ),
    (model_with(experts_per_token=5), "m.yaml: experts_per_token must be 0 without experts, got 5"),
    (
        model_with(name="a/b"),
        "m.yaml: name must be a name without slashes, a leading dot or surrounding blanks, got 'a/b'",
    ),
    (model_with(qkv_bias=1), "m.yaml: qkv_bias must be true or false, got 1"),
    (lambda: SPEC.shard(3), "tp must be a divisor of tiny's heads, 4, got 3"),
    (
        config_with(model_type="gpt2"),
        "config.json: unknown model_type 'gpt2'; did you mean 'gpt_oss'? (known: gemma, gemma2, gemma3, gemma3_text, glm4_moe, gpt_oss, granite, llama, llama4, llama4_text, llava, mistral, mistral3, mixtral, phi3, qwen2, qwen2_moe, qwen3, qwen3_moe); expected one of them, or a YAML file with a shape that comes near it (docs/calibration.md, Models)",
    ),
    (config_with(num_hidden_layers=None), "config.json: lacks num_hidden_layers"),
    (config_with(hidden_size="64"), "config.json: hidden_size must be a whole number >= 1 and <= 1e+12, got '64'"),
    (
        config_with(sliding_window=128),
        "config.json: sliding_window must be absent: llama has none, got 128",
    ),
    (
        config_with(torch_dtype="int8"),
        "config.json: torch_dtype must be bfloat16, float16, float32, auto (all are timed in bf16), got 'int8'",
    ),
    (
        config_with(quantization_config={"quant_method": "fp8"}),
        "config.json: quantization_config must be absent (then all is sized and timed in bf16), or all layers in FP8: static, dynamic, or in blocks of 128 x 128, got 'fp8'",
    ),
    (
        lambda: folder_source("."),
        ".: has no gemm*; expected a folder with gemm*.csv, context_attention*.csv and SYSTEM.yaml",
    ),
    (
        public_with("gemm.csv", "1,4096,4096,linear", "1,4096,4096"),
        "public/gemm.csv: row 2: has 4 fields; expected 5, as in row 1",
    ),
    (public_with("gemm.csv", "latency_ms", "time"), "public/gemm.csv: lacks the columns latency_ms"),
    (
        public_with("gemm.csv", "1,4096,4096,linear", "one,4096,4096,linear"),
        "public/gemm.csv: row 2: m must be a whole number >= 1 and <= 10^12, got 'one'",
    ),
    (
        public_with("context_attention.csv", "fa,1e-06", "fa,-1"),
        "public/context_attention.csv: row 2: latency_ms must be a number > 0 and <= 10^9, got '-1'",
    ),
    (public_with("toy_gpu.yaml", "mem_bw:", "bw:"), "public/toy_gpu.yaml: gpu: lacks mem_bw"),
    (
        public_with("toy_gpu.yaml", "0.5", "0"),
        "public/toy_gpu.yaml: gpu.mem_bw_empirical_scaling_factor must be >= 0.001, got 0",
    ),
]


@pytest.mark.parametrize(("call", "message"), MESSAGES, ids=[message[:60] for _, message in MESSAGES])
def test_message(call: Call, message: str) -> None:
    with pytest.raises(InputError) as error:
        call()
    assert str(error.value) == message
