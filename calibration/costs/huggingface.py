"""Hugging Face's config.json as the shape of a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flowsim.errors import InputError, unknown

KINDS: Mapping[str, Mapping[str, Any]] = {
    "llama": {},
    "mistral": {"qkv_bias": False},
    "mixtral": {"qkv_bias": False},
    "qwen2": {"qkv_bias": True},
    "qwen3": {"qk_norm": True},
    "qwen3_moe": {"qk_norm": True},
}
"""The architectures (`model_type`) that `ModelSpec` describes, with the fields that config.json does not decide."""

EVERY_DEFAULT = {"rope_theta": 10000.0, "norm_eps": 1e-6}
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "llama": EVERY_DEFAULT,
    "mistral": {**EVERY_DEFAULT, "kv_heads": 8},
    "mixtral": {"rope_theta": 1e6, "norm_eps": 1e-5, "kv_heads": 8, "experts": 8, "experts_per_token": 2},
    "qwen2": {**EVERY_DEFAULT, "kv_heads": 32},
    "qwen3": {**EVERY_DEFAULT, "kv_heads": 32, "head_dim": 128},
    "qwen3_moe": {**EVERY_DEFAULT, "kv_heads": 4, "intermediate": 768, "experts": 128, "experts_per_token": 8},
}
"""What absent keys mean, by architecture. Source: the configurations of transformers 5.24. Sizes without which a
config is no use (`NEEDED`) have no default here."""
WINDOWS = {"mistral": 4096}
"""Sliding windows that absent keys mean."""

KEYS = {
    "layers": ("num_hidden_layers",),
    "hidden": ("hidden_size",),
    "heads": ("num_attention_heads",),
    "kv_heads": ("num_key_value_heads",),
    "head_dim": ("head_dim",),
    "intermediate": ("intermediate_size",),
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
OWN_KEYS = {"qwen3_moe": {"intermediate": ("moe_intermediate_size",)}}
"""Keys that another architecture has for a field."""
NEEDED = ("layers", "hidden", "heads", "intermediate", "vocab", "max_context")

DTYPES = ("bfloat16", "float16", "float32", "auto")
"""Types of weights that are accepted; all are timed in bf16."""


def hugging_face_fields(where: str, config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The fields of a `ModelSpec` that a config.json states, named after its folder; and the key of each field.

    A key that is absent means what it means for the architecture (`DEFAULTS`).

    Raises:
        InputError: a key is missing that has no default, heads that do not divide the hidden size where their size is
            not given, or an architecture of another kind: sliding windows, layers of which only some have experts,
            quantised weights.
    """
    kind = str(config.get("model_type"))
    if kind not in KINDS:
        raise unknown("model_type", kind, KINDS).within(where)
    if _has_windows(kind, config) or config.get("mlp_only_layers") or config.get("decoder_sparse_step", 1) != 1:
        raise InputError(where, "has sliding windows or unequal layers", expected="equal layers, full attention")
    _check_bf16(where, config)
    rope = config.get("rope_parameters") or {}  # where transformers 5 keeps rope_theta
    if not isinstance(rope, Mapping):
        raise InputError(f"{where}: rope_parameters", found=rope, expected="a mapping")
    stated = {key: value for key, value in {**config, **rope}.items() if value is not None}
    known = {**KEYS, **OWN_KEYS.get(kind, {})}
    keys = {field: next((key for key in keys if key in stated), keys[-1]) for field, keys in known.items()}
    values = {**DEFAULTS[kind], **{field: stated[key] for field, key in keys.items() if key in stated}}
    if missing := sorted(keys[field] for field in NEEDED if field not in values):
        raise InputError(where, f"lacks {', '.join(missing)}")
    if config.get("num_key_value_heads", 0) is None or "kv_heads" not in values:
        values["kv_heads"] = values["heads"]  # as null means in every architecture
    if "head_dim" not in values:
        values["head_dim"] = _head_dim(where, values["hidden"], values["heads"])
    return {"name": Path(where).absolute().parent.name.lower(), **values, **KINDS[kind]}, keys


def _has_windows(kind: str, config: Mapping[str, Any]) -> bool:
    """Whether attention is limited to a sliding window; Qwen's architectures switch theirs on, if at all."""
    used = config.get("use_sliding_window", not kind.startswith("qwen"))
    return bool(used and config.get("sliding_window", WINDOWS.get(kind)))


def _head_dim(where: str, hidden: object, heads: object) -> int:
    """The size of a head where config.json does not give it."""
    if not (isinstance(hidden, int) and isinstance(heads, int) and heads > 0):
        return 2  # one of the two is wrong, which is what the error will say
    if hidden % heads:
        expected = f"a multiple of num_attention_heads, {heads}, where head_dim is not given"
        raise InputError(f"{where}: hidden_size", found=hidden, expected=expected)
    return hidden // heads


def _check_bf16(where: str, config: Mapping[str, Any]) -> None:
    """Raise InputError if the weights are of another type than what is timed."""
    if quantised := config.get("quantization_config"):
        found = quantised.get("quant_method") if isinstance(quantised, Mapping) else quantised
        raise InputError(f"{where}: quantization_config", found=found, expected="absent: weights are timed in bf16")
    for key in ("dtype", "torch_dtype"):
        if (found := config.get(key)) is not None and found not in DTYPES:
            raise InputError(f"{where}: {key}", found=found, expected=f"{', '.join(DTYPES)} (all are timed in bf16)")
