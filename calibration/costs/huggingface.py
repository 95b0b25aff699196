"""Hugging Face's config.json, read as the shape of a model."""

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
"""The architectures (`model_type`) that `ModelSpec` describes, and what of each its config.json leaves unsaid."""

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
"""Fields of `ModelSpec`, and the keys that may hold each, the first that is there winning."""

DTYPES = ("bfloat16", "float16", "float32", "auto")
"""Of weights; all are timed in bf16."""


def spec_fields(where: str, config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The fields of a `ModelSpec` in this config.json, named after the folder that it lies in; and its key of each.

    InputError: an architecture of another kind, sliding windows, layers of which only some have experts, or weights
    that are quantised.
    """
    kind = str(config.get("model_type"))
    if kind not in KINDS:
        raise InputError(f"{where}: {unknown('model_type', kind, KINDS)}")
    windows = config.get("sliding_window") and config.get("use_sliding_window", True)
    if windows or config.get("mlp_only_layers") or config.get("decoder_sparse_step", 1) != 1:
        raise InputError(f"{where}: found layers that differ or sliding windows; allowed: layers alike, full attention")
    _check_bf16(where, config)
    rope = config.get("rope_parameters") or {}  # where transformers 5 keeps rope_theta
    if not isinstance(rope, Mapping):
        raise InputError(f"{where}: rope_parameters: found {rope!r}; allowed: a mapping")
    config = {key: value for key, value in {**config, **rope}.items() if value is not None}
    names = {field: next((key for key in keys if key in config), keys[-1]) for field, keys in KEYS.items()}
    values = {field: config[key] for field, key in names.items() if key in config}
    hidden, heads = values.get("hidden"), values.get("heads")
    values.setdefault(
        "head_dim",  # None if one of the two is wrong, which is what will be said
        hidden // heads if isinstance(hidden, int) and isinstance(heads, int) and heads > 0 else None,
    )
    return {"name": Path(where).absolute().parent.name.lower(), **values, **KINDS[kind]}, names


def _check_bf16(where: str, config: Mapping[str, Any]) -> None:
    """Raise InputError if the weights are of another kind than what is timed."""
    if quantised := config.get("quantization_config"):
        found = quantised.get("quant_method") if isinstance(quantised, Mapping) else quantised
        raise InputError(f"{where}: quantization_config: found {found!r}; allowed: weights that are not quantised")
    for key in ("dtype", "torch_dtype"):
        if (found := config.get(key)) is not None and found not in DTYPES:
            raise InputError(f"{where}: {key}: found {found!r}; allowed: {', '.join(DTYPES)}, all timed in bf16")
