"""Hugging Face's config.json as the shape of a model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from flowsim.errors import InputError, unknown


class Architecture(NamedTuple):
    """What a config.json means for one `model_type`. Source: the configurations of transformers 5.24.

    Attributes:
        defaults: what absent keys mean, by field of `ModelSpec`. Sizes that every config states (`NEEDED`) have none,
            unless published ones leave them out.
        fixed: fields that config.json does not decide.
        keys: keys that this architecture has for a field, in place of those in `KEYS`.
        window: the sliding window that an absent key means.
        every: every n-th layer attends to all, and the others to a window; 1 = windows are in all layers, or, of Qwen's
            architectures, in later ones; 0 = there are none.
    """

    defaults: Mapping[str, Any] = {}
    fixed: Mapping[str, Any] = {}
    keys: Mapping[str, tuple[str, ...]] = {}
    window: int | None = None
    every: int = 0


GEMMA: Mapping[str, Any] = {"kv_heads": 4, "head_dim": 256, "tied": True}
MIXTURE: Mapping[str, tuple[str, ...]] = {"intermediate": ("moe_intermediate_size",)}
ARCHITECTURES: Mapping[str, Architecture] = {
    "llama": Architecture(),
    "granite": Architecture(),
    "mistral": Architecture({"kv_heads": 8}, {"qkv_bias": False}, window=4096, every=1),
    "mixtral": Architecture(
        {"rope_theta": 1e6, "norm_eps": 1e-5, "kv_heads": 8, "experts": 8, "experts_per_token": 2},
        {"qkv_bias": False},
        every=1,
    ),
    "qwen2": Architecture({"kv_heads": 32}, {"qkv_bias": True}, window=4096, every=1),
    "qwen2_moe": Architecture(
        {
            "kv_heads": 16, "qkv_bias": True, "intermediate": 1408, "experts": 60, "experts_per_token": 4,
            "shared_intermediate": 5632,
        },
        keys={
            **MIXTURE, "qkv_bias": ("qkv_bias",), "shared_intermediate": ("shared_expert_intermediate_size",),
        },
        window=4096,
        every=1,
    ),
    "qwen3": Architecture({"kv_heads": 32, "head_dim": 128}, {"qk_norm": True}, window=4096, every=1),
    "qwen3_moe": Architecture(
        {"kv_heads": 4, "intermediate": 768, "experts": 128, "experts_per_token": 8},
        {"qk_norm": True},
        MIXTURE,
        window=4096,
        every=1,
    ),
    "phi3": Architecture({"norm_eps": 1e-5}, {"qkv_bias": False}, every=1),
    "gemma": Architecture({**GEMMA, "kv_heads": 16}),
    "gemma2": Architecture(GEMMA, {"post_norms": True}, window=4096, every=2),
    "gemma3_text": Architecture(
        {**GEMMA, "rope_theta": 1e6, "heads": 8, "vocab": 262208, "max_context": 131072},
        {"post_norms": True, "qk_norm": True},
        window=4096,
        every=6,
    ),
    "gpt_oss": Architecture(
        {
            "rope_theta": 150000.0, "norm_eps": 1e-5, "kv_heads": 8, "head_dim": 64, "qkv_bias": True,
            "experts": 128, "experts_per_token": 4,
        },
        window=128,
        every=2,
    ),
}  # fmt: skip
"""The architectures that `ModelSpec` describes. Softcapping of logits and scores is computed in attention and in the
head, and partial rotary embeddings and fused projections cost what whole and separate ones do."""
TEXT = {"gemma3": "gemma3_text", "mistral3": "mistral", "llava": "llama"}
"""Architectures whose decoder is in `text_config`, and what it is if it does not say; encoders are left out."""
LATENT, STATE = "multi-head latent attention", "state-space layers"
REFUSED: Mapping[str, str] = {
    **dict.fromkeys(("deepseek_v2", "deepseek_v3", "deepseek_v32", "kimi_k2", "minicpm3", "longcat_flash"), LATENT),
    **dict.fromkeys(("mamba", "mamba2", "falcon_mamba", "jamba", "bamba", "zamba2", "falcon_h1", "nemotron_h"), STATE),
    "granitemoehybrid": STATE,
    "qwen3_next": "linear attention",
    "llama4": "attention in chunks, and layers of which only some have experts",
    "llama4_text": "attention in chunks, and layers of which only some have experts",
}
"""Architectures of another kind, and what makes them so."""

EVERY_DEFAULT = {"rope_theta": 10000.0, "norm_eps": 1e-6}
FULL_LAYERS = 28
"""Of Qwen's architectures with windows, the layers that attend to all, unless `max_window_layers` says how many."""
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
NEEDED = ("layers", "hidden", "heads", "intermediate", "vocab", "max_context")

DTYPES = ("bfloat16", "float16", "float32", "auto")
"""Types of weights that are accepted, unless they are quantised; all are timed in bf16."""
BLOCK = [128, 128]
"""Weights of one scale, in checkpoints like DeepSeek's and Qwen's."""
FP8_ALONE = "absent (bf16), or all layers in FP8: static, dynamic, or in blocks of 128 x 128"
MATRICES = r"(_proj|self_attn|mlp|experts)\W*$"
"""The names, or patterns, of parts of a layer that have matrices."""
ENCODERS = "vision|visual|audio|projector"


def hugging_face_fields(where: str, config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The fields of a `ModelSpec` that a config.json states, named after its folder; and the key of each field.

    A key that is absent means what it means for the architecture.

    Raises:
        InputError: a key is missing that has no default, heads that do not divide the hidden size where their size is
            not given, or an architecture of another kind: latent attention, state spaces, layers of which only some
            have experts, quantised weights.
    """
    weights = _weights(where, config)
    config = _of_text(where, config)
    kind = str(config.get("model_type"))
    if kind in REFUSED:
        raise InputError(f"{where}: model_type", f"{kind} has {REFUSED[kind]}", expected=", ".join(ARCHITECTURES))
    if kind not in ARCHITECTURES:
        raise unknown("model_type", kind, (*ARCHITECTURES, *TEXT)).within(where)
    if config.get("mlp_only_layers") or config.get("decoder_sparse_step", 1) != 1:
        raise InputError(where, "has layers of which only some have experts", expected="equal layers")
    rope = config.get("rope_parameters") or {}  # where transformers 5 keeps rope_theta
    if not isinstance(rope, Mapping):
        raise InputError(f"{where}: rope_parameters", found=rope, expected="a mapping")
    family = ARCHITECTURES[kind]
    stated = {key: value for key, value in {**config, **rope}.items() if value is not None}
    known = {**KEYS, **family.keys}
    keys = {field: next((key for key in keys if key in stated), keys[-1]) for field, keys in known.items()}
    given = {field: stated[key] for field, key in keys.items() if key in stated}
    values = {**EVERY_DEFAULT, **family.defaults, **given}
    if missing := sorted(keys[field] for field in NEEDED if field not in values):
        raise InputError(where, f"lacks {', '.join(missing)}")
    if config.get("num_key_value_heads", 0) is None or "kv_heads" not in values:
        values["kv_heads"] = values["heads"]  # as null means in every architecture
    if "head_dim" not in values:
        values["head_dim"] = _head_dim(where, values["hidden"], values["heads"])
    values |= _windows(where, kind, config, values)
    return {"name": Path(where).absolute().parent.name.lower(), **values, **family.fixed, "weights": weights}, keys


def _of_text(where: str, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part that describes the decoder; of what it does not say about embeddings the whole does."""
    text = config.get("text_config")
    if text is None:
        return config
    if not isinstance(text, Mapping):
        raise InputError(f"{where}: text_config", found=text, expected="a mapping")
    outer = str(config.get("model_type"))
    whole = {key: config[key] for key in ("tie_word_embeddings",) if key in config}
    return {**whole, "model_type": TEXT.get(outer, outer), **text}


def _windows(where: str, kind: str, config: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, int]:
    """The sliding window and the number of layers that have it; nothing if it is as long as the context.

    Qwen's architectures switch theirs on, if at all, and only in later layers.
    """
    family, is_qwen = ARCHITECTURES[kind], kind.startswith("qwen")
    window = config.get("sliding_window", family.window)
    if not window or not config.get("use_sliding_window", not is_qwen):
        return {}
    if not family.every:
        raise InputError(f"{where}: sliding_window", found=window, expected=f"absent: {kind} has none")
    numbers = {"sliding_window": window, "sliding_window_pattern": config.get("sliding_window_pattern", family.every)}
    numbers |= {"max_window_layers": config.get("max_window_layers", FULL_LAYERS)}
    for key, number in numbers.items():
        if type(number) is not int or number < 1:
            raise InputError(f"{where}: {key}", found=number, expected="a whole number >= 1")
    windowed = _windowed_layers(where, config, values["layers"], numbers, is_qwen)
    is_long = type(values["max_context"]) is int and window >= values["max_context"]
    return {"window": window, "windowed_layers": windowed} if windowed and not is_long else {}


def _windowed_layers(
    where: str, config: Mapping[str, Any], layers: Any, numbers: Mapping[str, int], is_qwen: bool
) -> int:
    """How many layers have the window: as the config lists them, or as the architecture does."""
    types = config.get("layer_types")
    if types:
        known = ("full_attention", "sliding_attention")
        for found in types if isinstance(types, list) else [types]:
            if found not in known:
                raise InputError(f"{where}: layer_types", found=found, expected=f"a list of {' and '.join(known)}")
        return int(types.count("sliding_attention"))
    if type(layers) is not int:
        return 0  # which is what the error will be about
    if is_qwen:
        return max(layers - numbers["max_window_layers"], 0)
    every = numbers["sliding_window_pattern"]
    return layers - layers // every if every > 1 else layers


def _head_dim(where: str, hidden: object, heads: object) -> int:
    """The size of a head where config.json does not give it."""
    if not (isinstance(hidden, int) and isinstance(heads, int) and heads > 0):
        return 2  # one of the two is wrong, which is what the error will say
    if hidden % heads:
        expected = f"a multiple of num_attention_heads, {heads}, where head_dim is not given"
        raise InputError(f"{where}: hidden_size", found=hidden, expected=expected)
    return hidden // heads


def _weights(where: str, config: Mapping[str, Any]) -> str:
    """The type of the layers' weights (`ModelSpec.weights`); `quantization_config` says how they are in FP8."""
    for part in (config, config.get("text_config")):
        for key in ("dtype", "torch_dtype"):
            found = part.get(key) if isinstance(part, Mapping) else None
            if found is not None and found not in DTYPES:
                expected = f"{', '.join(DTYPES)} (all are timed in bf16)"
                raise InputError(f"{where}: {key}", found=found, expected=expected)
    quantised = config.get("quantization_config")
    if not quantised:
        return "bf16"
    how = quantised if isinstance(quantised, Mapping) else {"quant_method": quantised}
    weights = _of_groups(how) if how.get("config_groups") else _of_scheme(how)
    if weights is None:
        names = ("quant_method", "quant_algo", "format", "activation_scheme", "weight_block_size")
        found = " ".join(str(how[name]) for name in names if how.get(name))
        raise InputError(f"{where}: quantization_config", found=found, expected=FP8_ALONE)
    left_out = [how.get(key) for key in ("ignore", "modules_to_not_convert")]
    for name in (str(name) for names in left_out if isinstance(names, list) for name in names):
        if re.search(MATRICES, name) and not re.search(ENCODERS, name):
            raise InputError(where, f"quantization_config leaves out {name}", expected=FP8_ALONE)
    return weights


def _of_scheme(how: Mapping[str, Any]) -> str | None:
    """The weights of a checkpoint in Hugging Face's or ModelOpt's FP8, None if it is of another kind."""
    if how.get("quant_method") == "modelopt":
        return "fp8" if how.get("quant_algo") == "FP8" else None
    known = {("static", None): "fp8", ("dynamic", None): "fp8_dynamic", ("dynamic", str(BLOCK)): "fp8_block"}
    scheme, block = how.get("activation_scheme"), how.get("weight_block_size")
    return known.get((str(scheme), block and str(block))) if how.get("quant_method") == "fp8" else None


def _of_groups(how: Mapping[str, Any]) -> str | None:
    """The weights of a checkpoint of compressed-tensors or ModelOpt with one group of layers, all in FP8."""
    groups = how["config_groups"]
    (group,) = groups.values() if isinstance(groups, Mapping) and len(groups) == 1 else ({},)
    parts = [group.get(key) if isinstance(group, Mapping) else None for key in ("weights", "input_activations")]
    matrices, activations = (part if isinstance(part, Mapping) else {} for part in parts)
    if any((part.get("num_bits"), part.get("type")) != (8, "float") for part in (matrices, activations)):
        return None
    if matrices.get("strategy") == "block":
        return "fp8_block" if list(matrices.get("block_structure") or ()) == BLOCK else None
    if matrices.get("strategy", "tensor") not in ("tensor", "channel"):
        return None
    return "fp8_dynamic" if activations.get("dynamic") else "fp8"
