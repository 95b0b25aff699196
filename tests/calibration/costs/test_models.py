import json
from pathlib import Path

import pytest

from flowsim.calibration.costs.models import ModelSpec, load_model, model_names
from flowsim.errors import InputError

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


def test_a_shard_is_one_rank_s_part() -> None:
    shard = load_model("qwen3-30b-a3b").shard(8)
    assert (shard.heads, shard.kv_heads, shard.intermediate, shard.vocab) == (4, 1, 96, 18992)
    assert load_model("llama3-8b").shard(1) == load_model("llama3-8b")
    with pytest.raises(InputError, match="tp must be a divisor of llama3-8b's heads, 32, got 3"):
        load_model("llama3-8b").shard(3)
    with pytest.raises(InputError, match=r"a divisor of qwen2\.5-14b's heads, 40"):
        load_model("qwen2.5-14b").shard(16)


LLAMA = {
    "model_type": "llama", "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32,
    "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256, "max_position_embeddings": 131072,
    "rope_theta": 500000.0, "rms_norm_eps": 1e-05, "attention_bias": False, "tie_word_embeddings": False,
}  # fmt: skip
QWEN3_MOE = {
    "model_type": "qwen3_moe", "num_hidden_layers": 48, "hidden_size": 2048, "num_attention_heads": 32, "head_dim": 128,
    "num_key_value_heads": 4, "intermediate_size": 6144, "moe_intermediate_size": 768, "num_experts": 128,
    "num_experts_per_tok": 8, "decoder_sparse_step": 1, "mlp_only_layers": [], "vocab_size": 151936,
    "max_position_embeddings": 40960, "rope_parameters": {"rope_theta": 1e6}, "rms_norm_eps": 1e-06,
    "sliding_window": None, "use_sliding_window": False,
}  # fmt: skip
QWEN25 = {
    "model_type": "qwen2", "num_hidden_layers": 48, "hidden_size": 5120, "num_attention_heads": 40,
    "num_key_value_heads": 8, "intermediate_size": 13824, "vocab_size": 152064, "max_position_embeddings": 131072,
    "rope_theta": 1e6, "rms_norm_eps": 1e-05, "sliding_window": 131072, "use_sliding_window": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "name"), [(LLAMA, "llama3-8b"), (QWEN3_MOE, "qwen3-30b-a3b"), (QWEN25, "qwen2.5-14b")]
)
def test_a_config_of_hugging_face_gives_the_shipped_model(config: dict[str, object], name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    file = tmp_path / name / "config.json"
    file.write_text(json.dumps(config))
    assert load_model(file) == load_model(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "qwen3moe"}, "unknown model_type 'qwen3moe'; did you mean 'qwen3_moe'"),
        ({"sliding_window": 4096}, "has sliding windows or unequal layers; expected equal layers, full attention"),
        ({"mlp_only_layers": [0]}, "has sliding windows or unequal layers; expected equal layers, full attention"),
        ({"vocab_size": None, "num_hidden_layers": None}, "lacks num_hidden_layers, vocab_size"),
        ({"hidden_size": "4096"}, "hidden_size must be a whole number >= 1 and <= 1e+12, got '4096'"),
        ({"num_attention_heads": 0}, "num_attention_heads must be >= 1, got 0"),
        (
            {"num_key_value_heads": 5},
            "num_attention_heads must be a multiple of the number of key-value heads, 5",
        ),
        ({"rope_theta": None, "rope_parameters": [1e6]}, "rope_parameters must be a mapping, got [1000000.0]"),
        ({"num_experts": 8}, "num_experts_per_tok must be 1 to 8, the number of experts, got 0"),
        (
            {"quantization_config": {"quant_method": "fp8"}},
            "quantization_config must be absent: weights are timed in bf16, got 'fp8'",
        ),
        (
            {"torch_dtype": "int8"},
            "torch_dtype must be bfloat16, float16, float32, auto (all are timed in bf16)",
        ),
    ],
)
def test_a_config_of_another_kind_is_refused(change: dict[str, object], message: str, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(LLAMA | change))
    with pytest.raises(InputError) as error:
        load_model(file)
    assert str(error.value).startswith(f"{file}: ")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON: Expecting property name"),
        ("[" * 100_000, "is not JSON: maximum recursion depth"),
        ("9" * 5000, "is not JSON: Exceeds the limit"),
        ("[]", "must be a Hugging Face config.json, got"),
    ],
)
def test_a_file_that_is_not_a_config(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(text)
    with pytest.raises(InputError, match=f"config.json:? {message}"):
        load_model(file)


SIZES = {
    "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32, "intermediate_size": 14336,
    "vocab_size": 128256, "max_position_embeddings": 8192, "moe_intermediate_size": 1000,
}  # fmt: skip
"""What a config must have, and a key that only a mixture of experts reads."""


@pytest.mark.parametrize(
    ("config", "fields"),
    [
        ({"model_type": "mixtral", "num_key_value_heads": 8}, {"experts": 8, "experts_per_token": 2}),
        ({"model_type": "mixtral"}, {"kv_heads": 8, "rope_theta": 1e6, "norm_eps": 1e-5, "intermediate": 14336}),
        ({"model_type": "mixtral", "num_local_experts": 4}, {"experts": 4, "experts_per_token": 2}),
        ({"model_type": "qwen3", "hidden_size": 5120, "num_attention_heads": 64}, {"head_dim": 128, "kv_heads": 32}),
        ({"model_type": "qwen3", "head_dim": 96}, {"head_dim": 96, "qk_norm": True}),
        ({"model_type": "qwen3_moe"}, {"kv_heads": 4, "experts": 128, "experts_per_token": 8, "head_dim": 128}),
        ({"model_type": "qwen3_moe"}, {"intermediate": 1000}),
        ({"model_type": "qwen3_moe", "moe_intermediate_size": None}, {"intermediate": 768}),
        ({"model_type": "qwen2"}, {"kv_heads": 32, "qkv_bias": True, "experts": 0, "rope_theta": 10000.0}),
        ({"model_type": "qwen2", "sliding_window": 4096}, {"max_context": 8192}),  # off unless use_sliding_window
        ({"model_type": "mistral", "sliding_window": None}, {"kv_heads": 8, "head_dim": 128}),
        ({"model_type": "mistral", "sliding_window": None, "attention_bias": True}, {"qkv_bias": False}),
        ({"model_type": "mistral", "sliding_window": None, "num_key_value_heads": None}, {"kv_heads": 32}),
        ({"model_type": "llama"}, {"kv_heads": 32, "head_dim": 128, "norm_eps": 1e-6, "intermediate": 14336}),
        ({"model_type": "llama", "hidden_size": 5120, "head_dim": 128}, {"head_dim": 128}),
    ],
)
def test_absent_keys_mean_what_they_mean_for_the_architecture(
    config: dict[str, object], fields: dict[str, object], tmp_path: Path
) -> None:
    """Cases cfg_mixtral_default and cfg_qwen3_nohd."""
    (tmp_path / "config.json").write_text(json.dumps(SIZES | config))
    spec = load_model(tmp_path)
    assert {name: getattr(spec, name) for name in fields} == fields


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"model_type": "llama", "hidden_size": 1792, "num_attention_heads": 24},
            "hidden_size must be a multiple of num_attention_heads, 24, where head_dim is not given, got 1792",
        ),
        ({"model_type": "mistral"}, "has sliding windows or unequal layers"),  # of 4096 tokens
        ({"model_type": "qwen2", "sliding_window": 4096, "use_sliding_window": True}, "has sliding windows"),
        ({"model_type": "qwen3", "intermediate_size": None}, "lacks intermediate_size"),
    ],
)
def test_what_the_architecture_does_not_say_is_refused(config: dict[str, object], message: str, tmp_path: Path) -> None:
    """Case cfg_hd_nondiv."""
    (tmp_path / "config.json").write_text(json.dumps(SIZES | config))
    with pytest.raises(InputError) as error:
        load_model(tmp_path)
    assert f"config.json: {message}" in str(error.value)


def test_a_folder_stands_for_its_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "Llama3-8B"
    folder.mkdir()
    with pytest.raises(InputError, match=r"Llama3-8B/config\.json: cannot be read: No such file"):
        load_model(folder)
    (folder / "config.json").write_text(json.dumps(LLAMA | {"torch_dtype": "float16"}))
    assert load_model(folder) == load_model("llama3-8b")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "qwen3-8b").mkdir()  # of some results: a shipped name is what it was
    assert load_model("qwen3-8b").layers == 36


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
        (("layers: 2", "layers: two"), "layers must be a whole number >= 1 and <= 1e+12, got 'two'"),
        (("layers: 2", "layers: true"), "layers must be a whole number >= 1 and <= 1e+12, got True"),
        (("kv_heads: 2", "kv_heads: 3"), "heads must be a multiple of the number of key-value heads, 3, got 4"),
        (("head_dim: 16", "head_dim: 15"), "head_dim must be even, for rotary positions, got 15"),
        (("10000.0", ".inf"), "rope_theta must be <= 2^53, got inf"),
        (("1.0e-5", "1e-5"), "norm_eps must be a number > 0 (in YAML, write 1.0e-5), got '1e-5'"),
        (("name: tiny", "name: 5"), "name must be non-empty text, got 5"),
        (("vocab", "vocabs"), "unknown field 'vocabs'; did you mean 'vocab'?"),
        ((TINY, "- 1"), "must be a mapping of model fields, got [1]"),
        ((TINY, "a: [1"), "is not YAML: "),
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
