"""Hugging Face's config.json as the shape of a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flowsim.errors import InputError, unknown

KINDS: Mapping[str, Mapping[str, Any]] = {
    "llama": {},
    "mistral": {},
    "mixtral": {},
    "qwen2": {"qkv_bias": True},
    "qwen3": {"qk_norm": True},
    "qwen3_moe": {"qk_norm": True},
}
"""The architectures (`model_type`) that `ModelSpec` describes, with the fields that config.json does not state."""

KEYS = {
    "layers": ("num_hidden_layers",),
    "hidden": ("hidden_size",),
    "heads": ("num_attention_heads",),
    "kv_heads": ("num_key_value_heads", "num_attention_heads"),
    "head_dim": ("head_dim",),
    "intermediate": ("moe_intermediate_size", "intermediate_size"),
    "vocab": ("vocab_size",),
    "max_context": ("max_position_embeddings",),
    "rope_theta": ("rope_theta",),
    "norm_eps": ("rms_norm_eps",),
    "qkv_bias": ("attention_bias",),
    "experts": ("num_experts", "num_local_experts"),
    "experts_per_token": ("num_experts_per_tok",),
    "tied": ("tie_word_embeddings",),
}
"""Fields of `ModelSpec`, and the keys that may hold each; the first one present counts."""
NEEDED = ("layers", "hidden", "heads", "kv_heads", "intermediate", "vocab", "max_context", "rope_theta", "norm_eps")

DTYPES = ("bfloat16", "float16", "float32", "auto")
"""Types of weights that are accepted; all are timed in bf16."""


def hugging_face_fields(where: str, config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The fields of a `ModelSpec` that a config.json states, named after its folder; and the key of each field.

    Raises:
        InputError: a key is missing, or the architecture is of another kind: sliding windows, layers of which only some
            have experts, quantised weights.
    """
    kind = str(config.get("model_type"))
    if kind not in KINDS:
        raise unknown("model_type", kind, KINDS).within(where)
    windows = config.get("sliding_window") and config.get("use_sliding_window", True)
    if windows or config.get("mlp_only_layers") or config.get("decoder_sparse_step", 1) != 1:
        raise InputError(where, "has sliding windows or unequal layers", expected="equal layers, full attention")
    _check_bf16(where, config)
    rope = config.get("rope_parameters") or {}  # where transformers 5 keeps rope_theta
    if not isinstance(rope, Mapping):
        raise InputError(f"{where}: rope_parameters", found=rope, expected="a mapping")
    config = {key: value for key, value in {**config, **rope}.items() if value is not None}
    keys = {field: next((key for key in keys if key in config), keys[-1]) for field, keys in KEYS.items()}
    values = {field: config[key] for field, key in keys.items() if key in config}
    if missing := sorted(keys[field] for field in NEEDED if field not in values):
        raise InputError(where, f"lacks {', '.join(missing)}")
    hidden, heads = values["hidden"], values["heads"]
    if isinstance(hidden, int) and isinstance(heads, int) and heads > 0:
        values.setdefault("head_dim", hidden // heads)
    values.setdefault("head_dim", 2)  # one of the two is wrong, which is what the error will say
    return {"name": Path(where).absolute().parent.name.lower(), **values, **KINDS[kind]}, keys


def _check_bf16(where: str, config: Mapping[str, Any]) -> None:
    """Raise InputError if the weights are of another type than what is timed."""
    if quantised := config.get("quantization_config"):
        found = quantised.get("quant_method") if isinstance(quantised, Mapping) else quantised
        raise InputError(f"{where}: quantization_config", found=found, expected="absent: weights are timed in bf16")
    for key in ("dtype", "torch_dtype"):
        if (found := config.get(key)) is not None and found not in DTYPES:
            raise InputError(f"{where}: {key}", found=found, expected=f"{', '.join(DTYPES)} (all are timed in bf16)")
