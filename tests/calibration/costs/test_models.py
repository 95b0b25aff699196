import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from flowsim.calibration.costs.models import ModelSpec, load_model, model_names
from flowsim.errors import InputError
from support.calibration import LLAMA

TINY = """\
name: tiny
layers: 2
hidden: 64
heads: 4
kv_heads: 2
head_dim: 16
intermediate: 128
vocab: 97
max_context: 512
rope_theta: 10000.0
norm_eps: 1.0e-5
"""


def test_llama3_8b_has_the_published_sizes() -> None:
    model = load_model("llama3-8b")
    assert model.weight_bytes == 2 * 8_030_261_248
    assert model.kv_bytes_per_token == 131_072
    assert model.qkv_width == 6144


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("llama3-70b", 70_553_706_496),
        ("qwen2.5-14b", 14_770_033_664),
        ("qwen3-8b", 8_190_735_360),
        ("qwen3-32b", 32_762_123_264),
        ("qwen3-30b-a3b", 30_532_122_624),
        ("qwen3-235b-a22b", 235_093_634_560),
    ],
)
def test_a_shipped_model_has_its_published_number_of_parameters(name: str, parameters: int) -> None:
    assert load_model(name).weight_bytes == 2 * parameters


def test_fp8_halves_the_matrices_of_the_layers() -> None:
    whole, fp8 = load_model("llama3-8b"), load_model("llama3-8b-fp8")
    matrices = 32 * 4096 * (6144 + 4096 + 3 * 14336)
    assert whole.weight_bytes - fp8.weight_bytes == matrices
    assert whole.kv_bytes_per_token == fp8.kv_bytes_per_token
    assert {replace(fp8, weights=w).weight_bytes for w in ("fp8_dynamic", "fp8_block")} == {fp8.weight_bytes}


def test_experts_in_fp8_keep_their_router_in_bf16() -> None:
    whole = load_model("qwen3-30b-a3b")
    blocks = replace(whole, weights="fp8_block")
    matrices = 48 * 2048 * (5120 + 4096 + 3 * 768 * 128)
    assert whole.weight_bytes - blocks.weight_bytes == matrices


def test_a_shard_is_one_rank_s_part() -> None:
    shard = load_model("qwen3-30b-a3b").shard(8)
    assert (shard.heads, shard.kv_heads, shard.intermediate, shard.vocab) == (4, 1, 96, 18992)
    assert load_model("llama3-8b").shard(1) == load_model("llama3-8b")
    with pytest.raises(InputError, match="tp must be a divisor of llama3-8b's heads, 32, got 3"):
        load_model("llama3-8b").shard(3)
    with pytest.raises(InputError, match=r"a divisor of qwen2\.5-14b's heads, 40"):
        load_model("qwen2.5-14b").shard(16)


def test_every_shipped_model_loads_under_its_name() -> None:
    assert "llama3-8b" in model_names()
    assert [load_model(name).name for name in model_names()] == model_names()


def test_a_model_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY + "qkv_bias: true\n")
    model = load_model(file)
    assert model == ModelSpec("tiny", 2, 64, 4, 2, 16, 128, 97, 512, 10000.0, 1e-5, qkv_bias=True)
    layer = 64 * 128 + 128 + 64 * 64 + 3 * 64 * 128 + 2 * 64
    assert model.weight_bytes == 2 * (2 * layer + 2 * 97 * 64 + 64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("layers: 2\n", ""), "lacks layers"),
        (
            ("vocab: 97", "vocab: 97\nweights: fp4"),
            "weights: unknown weights 'fp4'; did you mean 'fp8'? (known: bf16, fp8, fp8_block, fp8_dynamic)",
        ),
        (("layers: 2", "layers: two"), "layers must be a whole number >= 1 and <= 1e+12, got 'two'"),
        (("layers: 2", "layers: true"), "layers must be a whole number >= 1 and <= 1e+12, got True"),
        (("kv_heads: 2", "kv_heads: 3"), "heads must be a multiple of the number of key-value heads, 3, got 4"),
        (("head_dim: 16", "head_dim: 15"), "head_dim must be even, for rotary positions, got 15"),
        (("10000.0", ".inf"), "rope_theta must be <= 2^53, got inf"),
        (("1.0e-5", "1e-5"), "norm_eps must be a number > 0 (in YAML, write 1.0e-5), got '1e-5'"),
        (("name: tiny", "name: 5"), "name must be non-empty text, got 5"),
        (("vocab", "vocabs"), "unknown field 'vocabs'; did you mean 'vocab'?"),
        ((TINY, "- 1"), "must be a mapping of model fields, got [1]"),
        ((TINY, "a: [1"), "line 1: is not YAML: "),
        (("layers: 2", "layers: 2026-13-45"), "is not YAML: month must be in 1..12"),
    ],
)
def test_a_wrong_file_is_one_clear_line(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(TINY.replace(*change))
    with pytest.raises(InputError) as error:
        load_model(file)
    assert str(error.value).replace(" must be a map", ": must be a map").startswith(f"{file}: {message}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["a/b", "..", ".cache", "a\\b", " a", "a ", "two\nlines"])
def test_a_name_that_can_be_no_folder_is_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(TINY.replace("name: tiny", f"name: {json.dumps(name)}"))
    with pytest.raises(InputError, match=r"wrong\.yaml: name must be a name without slashes"):
        load_model(file)
    file.write_text(TINY.replace("name: tiny", "name: qwen (copy)@main-2.5"))
    assert load_model(file).name == "qwen (copy)@main-2.5"


def test_a_repeated_field_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(TINY.replace("layers: 2", "layers: 2\nlayers: 3"))
    with pytest.raises(InputError, match=r"wrong\.yaml: line \d+: the key 'layers' is repeated"):
        load_model(file)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(LLAMA)[:-1] + ', "hidden_size": 64}')
    with pytest.raises(InputError, match=r"config\.json: the key 'hidden_size' is repeated"):
        load_model(config)


def test_a_field_that_is_neither_true_nor_false(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yml"
    file.write_text(TINY + "qkv_bias: 1\n")
    with pytest.raises(InputError, match="qkv_bias must be true or false, got 1"):
        load_model(file)


def test_unknown_and_unreadable_models(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown model 'llama3-8'; did you mean 'llama3-8b'"):
        load_model("llama3-8")
    with pytest.raises(InputError, match="cannot be read: No such file"):
        load_model(tmp_path / "absent.yaml")


MIXED = "experts: 4\nexperts_per_token: 2\n"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("window: 128", "windowed_layers must be 1 to 2, the number of layers, got 0"),
        ("window: 128\nwindowed_layers: 3", "windowed_layers must be 1 to 2, the number of layers, got 3"),
        ("windowed_layers: 1", "windowed_layers must be 0 without a window, got 1"),
        ("shared_intermediate: 64", "shared_intermediate must be 0 without experts, got 64"),
        ("chunked: true", "chunked must be false without a window, got True"),
        ("dense_layers: 1", "dense_layers must be 0 without a width, got 1"),
        ("dense_layers: 1\ndense_intermediate: 64", "dense_layers must be 0 without experts, got 1"),
        (f"{MIXED}dense_layers: 2\ndense_intermediate: 64", "dense_layers must be 1 to 1, some of the layers, got 2"),
        (f"{MIXED}dense_intermediate: 64", "dense_layers must be 1 to 1, some of the layers, got 0"),
    ],
)
def test_windows_and_kinds_of_experts_are_checked(more: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY + more)
    with pytest.raises(InputError) as error:
        load_model(tmp_path / "tiny.yaml")
    assert str(error.value).endswith(message)


def test_shared_experts_are_an_mlp_beside_the_mixture(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY + "experts: 4\nexperts_per_token: 2\nshared_intermediate: 256\n")
    spec = load_model(tmp_path / "tiny.yaml")
    attention, norms = 64 * (4 + 4) * 16 + 64 * 64, 2 * 64
    assert spec.layer_bytes == 2 * (attention + norms + 3 * 64 * (4 * 128 + 256) + 4 * 64)
    assert spec.operators[6:-1] == (
        "norm_mlp", "gate_up_proj", "activation", "down_proj", "router", "dispatch", "expert_gate_up",
        "expert_activation", "expert_down", "combine",
    )  # fmt: skip
    assert (spec.shard(2).intermediate, spec.shard(2).shared_intermediate) == (64, 128)


def test_layers_without_experts_have_an_mlp_in_their_place(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(f"{TINY}{MIXED}dense_layers: 1\ndense_intermediate: 256\n")
    spec = load_model(tmp_path / "tiny.yaml")
    (_, mixture), (_, dense) = spec.layer_kinds
    assert ([layers for layers, _ in spec.layer_kinds], spec.layers) == ([1, 1], 2)
    assert dense.operators[6:-1] == ("norm_mlp", "gate_up_proj", "activation", "down_proj")
    assert set(spec.operators) == {*mixture.operators, *dense.operators}
    assert mixture.layer_bytes - dense.layer_bytes == 2 * (3 * 64 * (4 * 128 - 256) + 4 * 64)
    assert 2 * spec.weight_bytes == mixture.weight_bytes + dense.weight_bytes
    assert (spec.shard(2).intermediate, spec.shard(2).dense_intermediate) == (64, 128)
