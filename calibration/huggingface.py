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


def spec_fields(where: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a `ModelSpec` in this config.json, named after the folder that it lies in.

    InputError: an architecture of another kind, sliding windows, or layers of which only some have experts.
    """
    kind = str(config.get("model_type"))
    if kind not in KINDS:
        raise InputError(f"{where}: {unknown('model_type', kind, KINDS)}")
    windows = config.get("sliding_window") and config.get("use_sliding_window", True)
    if windows or config.get("mlp_only_layers") or config.get("decoder_sparse_step", 1) != 1:
        raise InputError(f"{where}: found layers that differ or sliding windows; allowed: layers alike, full attention")
    config = {**config, **(config.get("rope_parameters") or {})}  # where transformers 5 keeps rope_theta
    found = {field: _first(config, keys) for field, keys in KEYS.items()}
    values = {field: value for field, value in found.items() if value is not None}
    if "head_dim" not in values and isinstance(values.get("hidden"), int) and isinstance(values.get("heads"), int):
        values["head_dim"] = values["hidden"] // max(values["heads"], 1)
    return {"name": Path(where).absolute().parent.name.lower(), **values, **KINDS[kind]}


def _first(config: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    return next((config[key] for key in keys if config.get(key) is not None), None)
