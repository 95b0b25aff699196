"""Twenty-nine published models: their config.json, as far as it matters here, gives their number of parameters.

Each is written from published values: the sizes in its config.json, and parameters as its page or its report counts
them, without an encoder of images; of Llama 4 with it, which is 0.2 to 0.8 % of them. GLM-4.5's are counted with the
layer that predicts one token more, and without embedding and head.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flowsim.calibration.costs.models import ModelSpec, load_model

HEADS = ("num_hidden_layers", "hidden_size", "num_attention_heads", "num_key_value_heads", "intermediate_size")


def config(kind: str, *sizes: int, vocab: int, context: int, **more: Any) -> dict[str, Any]:
    """A config.json; `sizes` are those of HEADS."""
    stated = dict(zip(HEADS, sizes, strict=True))
    return {"model_type": kind, **stated, "vocab_size": vocab, "max_position_embeddings": context, **more}


TIED = {"tie_word_embeddings": True}
GEMMA3_4B = {
    "model_type": "gemma3",
    "text_config": {
        "hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text", "num_hidden_layers": 34,
        "sliding_window": 1024,
    },
    "vision_config": {"hidden_size": 1152, "num_hidden_layers": 27},
}  # fmt: skip
GEMMA3_27B = {
    "model_type": "gemma3",
    "text_config": {
        "head_dim": 128, "hidden_size": 5376, "intermediate_size": 21504, "model_type": "gemma3_text",
        "num_attention_heads": 32, "num_hidden_layers": 62, "num_key_value_heads": 16, "sliding_window": 1024,
    },
}  # fmt: skip
MISTRAL_SMALL_31 = {
    "model_type": "mistral3",
    "text_config": config(
        "mistral", 40, 5120, 32, 8, 32768, vocab=131072, context=131072, head_dim=128, sliding_window=None
    ),
}  # fmt: skip
QWEN15_MOE = config(
    "qwen2_moe", 24, 2048, 16, 16, 5632, vocab=151936, context=8192, moe_intermediate_size=1408, num_experts=60,
    num_experts_per_tok=4, shared_expert_intermediate_size=5632, sliding_window=32768, use_sliding_window=False,
)  # fmt: skip
QWEN3_MOE = config(
    "qwen3_moe", 48, 2048, 32, 4, 6144, vocab=151936, context=40960, head_dim=128, moe_intermediate_size=768,
    num_experts=128, num_experts_per_tok=8,
)  # fmt: skip


def llama4(**more: Any) -> dict[str, Any]:
    """A config.json of Llama 4, whose sizes are the same in both."""
    sizes = config("llama4_text", 48, 5120, 40, 8, 8192, vocab=202048, context=1048576, intermediate_size_mlp=16384)
    more = {"attention_chunk_size": 8192, "head_dim": 128, "num_experts_per_tok": 1, **more}
    return {"model_type": "llama4", "text_config": {**sizes, **more}, "vision_config": {"hidden_size": 1408}}


def glm(*sizes: int, **more: Any) -> dict[str, Any]:
    """A config.json of GLM-4.5."""
    more = {"n_shared_experts": 1, "num_experts_per_tok": 8, "num_nextn_predict_layers": 1, **more}
    return config("glm4_moe", *sizes, vocab=151552, context=131072, head_dim=128, attention_bias=True, **more)


GPT_OSS = {"head_dim": 64, "sliding_window": 128, "vocab": 201088, "context": 131072, "attention_bias": True}

PUBLISHED: dict[str, tuple[dict[str, Any], float, dict[str, int]]] = {
    "Llama-2-7b": (config("llama", 32, 4096, 32, 32, 11008, vocab=32000, context=4096), 6.738, {}),
    "Llama-2-70b": (config("llama", 80, 8192, 64, 8, 28672, vocab=32000, context=4096), 68.977, {}),
    "Llama-3.1-8B": (config("llama", 32, 4096, 32, 8, 14336, vocab=128256, context=131072), 8.030, {}),
    "Llama-3.2-1B": (config("llama", 16, 2048, 32, 8, 8192, vocab=128256, context=131072, **TIED), 1.236, {}),
    "Llama-3.2-3B": (config("llama", 28, 3072, 24, 8, 8192, vocab=128256, context=131072, **TIED), 3.213, {}),
    "granite-3.1-8b": (config("granite", 40, 4096, 32, 8, 12800, vocab=49155, context=131072, **TIED), 8.171, {}),
    "Mistral-7B-v0.1": (
        config("mistral", 32, 4096, 32, 8, 14336, vocab=32000, context=32768, sliding_window=4096),
        7.242,
        {"window": 4096, "windowed_layers": 32},
    ),
    "Mistral-Nemo": (
        config("mistral", 40, 5120, 32, 8, 14336, vocab=131072, context=131072, head_dim=128, sliding_window=None),
        12.248,
        {"window": 0},
    ),
    "Mistral-Small-3.1": (MISTRAL_SMALL_31, 23.572, {"window": 0}),
    "Mixtral-8x7B": (config("mixtral", 32, 4096, 32, 8, 14336, vocab=32000, context=32768), 46.703, {"experts": 8}),
    "Qwen2.5-0.5B": (config("qwen2", 24, 896, 14, 2, 4864, vocab=151936, context=32768, **TIED), 0.494, {}),
    "Qwen2.5-7B": (config("qwen2", 28, 3584, 28, 4, 18944, vocab=152064, context=131072), 7.616, {"window": 0}),
    "Qwen1.5-MoE-A2.7B": (QWEN15_MOE, 14.316, {"intermediate": 1408, "shared_intermediate": 5632}),
    "Qwen3-4B": (config("qwen3", 36, 2560, 32, 8, 9728, vocab=151936, context=40960, **TIED), 4.022, {"head_dim": 128}),
    "Qwen3-30B-A3B": (QWEN3_MOE, 30.532, {"experts_per_token": 8}),
    "gemma-7b": (config("gemma", 28, 3072, 16, 16, 24576, vocab=256000, context=8192), 8.538, {"head_dim": 256}),
    "gemma-2-9b": (
        config("gemma2", 42, 3584, 16, 8, 14336, vocab=256000, context=8192, attn_logit_softcapping=50.0),
        9.242,
        {"window": 4096, "windowed_layers": 21, "head_dim": 256},
    ),
    "gemma-2-27b": (
        config("gemma2", 46, 4608, 32, 16, 36864, vocab=256000, context=8192, head_dim=128, sliding_window=4096),
        27.227,
        {"windowed_layers": 23},
    ),
    "gemma-3-4b": (GEMMA3_4B, 3.880, {"window": 1024, "windowed_layers": 29, "heads": 8, "kv_heads": 4}),
    "gemma-3-27b": (GEMMA3_27B, 27.009, {"window": 1024, "windowed_layers": 52}),
    "Phi-3-mini-4k": (
        config("phi3", 32, 3072, 32, 32, 8192, vocab=32064, context=4096, sliding_window=2047),
        3.821,
        {"window": 2047, "windowed_layers": 32},
    ),
    "Phi-4-mini": (
        config("phi3", 32, 3072, 24, 8, 8192, vocab=200064, context=131072, partial_rotary_factor=0.75,
               sliding_window=262144, **TIED),
        3.836,
        {"window": 0},
    ),
    "phi-4": (config("phi3", 40, 5120, 40, 10, 17920, vocab=100352, context=16384, sliding_window=None), 14.660, {}),
    "gpt-oss-20b": (
        config("gpt_oss", 24, 2880, 64, 8, 2880, num_local_experts=32, num_experts_per_tok=4, **GPT_OSS),
        20.915,
        {"window": 128, "windowed_layers": 12, "experts": 32},
    ),
    "gpt-oss-120b": (
        config("gpt_oss", 36, 2880, 64, 8, 2880, num_local_experts=128, num_experts_per_tok=4, **GPT_OSS),
        116.829,
        {"windowed_layers": 18},
    ),
    "Llama-4-Scout": (
        llama4(num_local_experts=16, interleave_moe_layer_step=1),
        108.642,
        {"dense_layers": 0, "windowed_layers": 36, "chunked": True},
    ),
    "Llama-4-Maverick": (
        llama4(num_local_experts=128, interleave_moe_layer_step=2),
        401.584,
        {"dense_layers": 24, "experts": 128, "shared_intermediate": 8192},
    ),
    "GLM-4.5-Air": (
        glm(46, 4096, 96, 8, 10944, moe_intermediate_size=1408, n_routed_experts=128, first_k_dense_replace=1),
        106.0,
        {"dense_layers": 1, "dense_intermediate": 10944, "shared_intermediate": 1408, "qk_norm": False},
    ),
    "GLM-4.5": (
        glm(92, 5120, 96, 8, 12288, moe_intermediate_size=1536, n_routed_experts=160, first_k_dense_replace=3,
            use_qk_norm=True),
        355.0,
        {"dense_layers": 3, "experts": 160, "qk_norm": True, "qkv_bias": True},
    ),
}  # fmt: skip
"""By name: the config, its parameters in 10^9, and what else is to be read from it."""


def parameters(spec: ModelSpec) -> float:
    """The number of parameters, in 10^9."""
    return spec.weight_bytes / 2e9


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_config_gives_the_published_parameters(name: str, tmp_path: Path) -> None:
    stated, published, fields = PUBLISHED[name]
    (tmp_path / name).mkdir()
    (tmp_path / name / "config.json").write_text(json.dumps(stated))
    spec = load_model(tmp_path / name)
    assert spec.name == name.lower()
    assert parameters(spec) == pytest.approx(published, rel=0.01)
    assert {field: getattr(spec, field) for field in fields} == fields
