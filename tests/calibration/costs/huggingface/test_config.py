"""A config of Hugging Face gives a model, or is refused in one line."""

import json
from pathlib import Path

import pytest

from flowsim.calibration.costs.huggingface.quantisation import FP8_ALONE
from flowsim.calibration.costs.models import load_model
from flowsim.errors import InputError
from support.calibration import LLAMA

QWEN3_MOE = {
    "model_type": "qwen3_moe", "num_hidden_layers": 48, "hidden_size": 2048, "num_attention_heads": 32, "head_dim": 128,
    "num_key_value_heads": 4, "intermediate_size": 6144, "moe_intermediate_size": 768, "num_experts": 128,
    "num_experts_per_tok": 8, "decoder_sparse_step": 1, "mlp_only_layers": [], "vocab_size": 151936,
    "max_position_embeddings": 40960, "rope_parameters": {"rope_theta": 1e6}, "rms_norm_eps": 1e-06,
    "sliding_window": None, "use_sliding_window": False,
}  # fmt: skip

BLOCKS = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}
KEPT = ["lm_head", "model.layers.0.input_layernorm", "model.layers.0.mlp.gate", "vision_model.layers.0.mlp"]
PER_TENSOR = {"num_bits": 8, "type": "float", "strategy": "tensor", "dynamic": False}
PER_CHANNEL = {"num_bits": 8, "type": "float", "strategy": "channel", "dynamic": False}
IN_BLOCKS = {"num_bits": 8, "type": "float", "strategy": "block", "block_structure": [128, 128]}
PER_TOKEN = {"num_bits": 8, "type": "float", "strategy": "token", "dynamic": True}
PER_GROUP = {"num_bits": 8, "type": "float", "strategy": "group", "group_size": 128, "dynamic": True}


def compressed(weights: dict[str, object], activations: dict[str, object] | None) -> dict[str, object]:
    """As compressed-tensors states a checkpoint of one group of layers."""
    group = {"targets": ["Linear"], "weights": weights, "input_activations": activations}
    about = {"quant_method": "compressed-tensors", "format": "float-quantized", "ignore": ["lm_head"]}
    return {**about, "config_groups": {"group_0": group}}


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
    assert load_model(file.rename(tmp_path / f"{name}.json")) == load_model(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "qwen3moe"}, "unknown model_type 'qwen3moe'; did you mean 'qwen3_moe'"),
        ({"sliding_window": 4096}, "sliding_window must be absent: llama has none, got 4096"),
        (QWEN3_MOE | {"mlp_only_layers": 0.5}, "mlp_only_layers must be a list of whole numbers >= 0, got 0.5"),
        (QWEN3_MOE | {"decoder_sparse_step": 0}, "decoder_sparse_step must be a whole number >= 1, got 0"),
        (QWEN3_MOE | {"decoder_sparse_step": 49}, "dense_layers must be 1 to 47, some of the layers, got 48"),
        (
            {"model_type": "deepseek_v3"},
            "model_type: deepseek_v3 has multi-head latent attention; expected llama, granite",
        ),
        ({"model_type": "mamba2"}, "model_type: mamba2 has state-space layers; expected llama, granite"),
        ({"model_type": "glm4_moe_lite"}, "model_type: glm4_moe_lite has multi-head latent attention; expected llama"),
        (
            {"model_type": "new", "kv_lora_rank": 512},
            "model_type: new has multi-head latent attention; expected llama",
        ),
        ({"model_type": "qwen3_5_text"}, "or a YAML file with a shape that comes near it (docs/"),
        (
            {"model_type": "glm4_moe", "n_shared_experts": -1},
            "n_shared_experts must be a whole number >= 0, got -1",
        ),
        ({"text_config": [1]}, "text_config must be a mapping, got [1]"),
        ({"model_type": "mistral", "sliding_window": "4k"}, "sliding_window must be a whole number >= 1, got '4k'"),
        (
            {"model_type": "gemma2", "sliding_window_pattern": 0},
            "sliding_window_pattern must be a whole number >= 1, got 0",
        ),
        (
            {"model_type": "mistral", "layer_types": ["linear_attention"]},
            "layer_types must be a list of full_attention and sliding_attention, got 'linear_attention'",
        ),
        (
            {"model_type": "mistral", "layer_types": ["sliding_attention"] * 33},
            "windowed_layers must be 1 to 32, the number of layers, got 33",
        ),
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
            f"quantization_config must be {FP8_ALONE}, got 'fp8'",
        ),
        (
            {"quantization_config": BLOCKS | {"weight_block_size": [64, 64]}},
            "in blocks of 128 x 128, got 'fp8 dynamic [64, 64]'",
        ),
        (
            {"quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"}},
            "in blocks of 128 x 128, got 'modelopt NVFP4'",
        ),
        (
            {"quantization_config": compressed({"num_bits": 4, "type": "int", "strategy": "group"}, None)},
            "in blocks of 128 x 128, got 'compressed-tensors float-quantized'",
        ),
        (
            {"quantization_config": BLOCKS | {"modules_to_not_convert": ["lm_head", "model.layers.0.self_attn"]}},
            "quantization_config leaves out model.layers.0.self_attn; expected absent (then all is sized and timed",
        ),
        (
            {"quantization_config": "mxfp4"},
            "in blocks of 128 x 128, got 'mxfp4'",
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
        ("[" * 100_000, "is not JSON that can be read: it is nested too deep"),
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
        (
            {"model_type": "llama", "quantization_config": {"quant_method": "fp8", "activation_scheme": "static"}},
            {"weights": "fp8"},
        ),
        (
            {"model_type": "llama", "quantization_config": {"quant_method": "fp8", "activation_scheme": "dynamic"}},
            {"weights": "fp8_dynamic"},
        ),
        (
            {"model_type": "qwen3_moe", "quantization_config": BLOCKS | {"modules_to_not_convert": KEPT}},
            {"weights": "fp8_block", "experts": 128},
        ),
        (
            {"model_type": "llama", "quantization_config": {"quant_method": "modelopt", "quant_algo": "FP8"}},
            {"weights": "fp8"},
        ),
        (
            {"model_type": "llama", "quantization_config": compressed(PER_CHANNEL, PER_TOKEN)},
            {"weights": "fp8_dynamic"},
        ),
        ({"model_type": "llama", "quantization_config": compressed(PER_TENSOR, PER_TENSOR)}, {"weights": "fp8"}),
        ({"model_type": "llama", "quantization_config": compressed(IN_BLOCKS, PER_GROUP)}, {"weights": "fp8_block"}),
        ({"model_type": "mistral"}, {"window": 4096, "windowed_layers": 32, "weights": "bf16"}),
        ({"model_type": "mistral", "sliding_window": 8192}, {"window": 0, "windowed_layers": 0}),  # the whole context
        (
            {"model_type": "qwen2", "sliding_window": 4096, "use_sliding_window": True, "max_window_layers": 20},
            {"window": 4096, "windowed_layers": 12},
        ),
        ({"model_type": "qwen3", "use_sliding_window": True}, {"window": 4096, "windowed_layers": 4}),
        ({"model_type": "phi3"}, {"window": 0, "kv_heads": 32, "norm_eps": 1e-5, "tied": False}),
        ({"model_type": "gemma2"}, {"window": 4096, "windowed_layers": 16, "head_dim": 256, "tied": True}),
        ({"model_type": "gemma3_text"}, {"window": 4096, "windowed_layers": 27, "post_norms": True, "qk_norm": True}),
        (
            {"model_type": "gemma2", "layer_types": ["sliding_attention"] * 5 + ["full_attention"] * 27},
            {"window": 4096, "windowed_layers": 5},
        ),
        ({"model_type": "qwen3_moe", "decoder_sparse_step": 2}, {"dense_layers": 16, "dense_intermediate": 14336}),
        ({"model_type": "qwen3_moe", "mlp_only_layers": [0, 1, 1, 40]}, {"dense_layers": 2, "intermediate": 1000}),
        ({"model_type": "qwen2_moe", "mlp_only_layers": [0, 3], "decoder_sparse_step": 2}, {"dense_layers": 17}),
        (
            {"model_type": "llama4_text", "interleave_moe_layer_step": 2, "max_position_embeddings": 10**6},
            {
                "dense_layers": 16,
                "dense_intermediate": 16384,
                "intermediate": 14336,
                "shared_intermediate": 14336,
                "experts": 16,
                "experts_per_token": 1,
                "window": 8192,
                "windowed_layers": 24,
                "chunked": True,
                "qk_norm": True,
            },
        ),
        (
            {
                "model_type": "llama4_text",
                "moe_layers": [31],
                "no_rope_layers": [1, 0] * 16,
                "use_qk_norm": False,
                "max_position_embeddings": 10**6,
            },
            {"dense_layers": 31, "windowed_layers": 16, "qk_norm": False},
        ),
        (
            {"model_type": "glm4_moe", "n_shared_experts": 2},
            {"experts": 128, "shared_intermediate": 2000, "dense_layers": 1, "dense_intermediate": 14336},
        ),
        (
            {"model_type": "glm4_moe", "n_shared_experts": 0, "first_k_dense_replace": 0, "use_qk_norm": True},
            {"shared_intermediate": 0, "dense_layers": 0, "qk_norm": True},
        ),
        ({"model_type": "llama4_text"}, {"window": 0, "chunked": False, "dense_layers": 0}),  # the whole context
        ({"model_type": "gpt_oss"}, {"window": 128, "experts": 128, "experts_per_token": 4, "head_dim": 64}),
        ({"model_type": "qwen2_moe"}, {"experts": 60, "shared_intermediate": 5632, "intermediate": 1000}),
        ({"model_type": "llava", "text_config": SIZES}, {"layers": 32, "kv_heads": 32}),
        ({"model_type": "gemma3", "tie_word_embeddings": False, "text_config": SIZES}, {"tied": False, "window": 4096}),
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
