"""Hugging Face's config.json as the shape of a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flowsim.calibration.costs.huggingface.architectures import (
    ARCHITECTURES,
    EVERY_DEFAULT,
    FULL_LAYERS,
    KEYS,
    LATENT,
    NEEDED,
    REFUSED,
    TEXT,
    Architecture,
)
from flowsim.calibration.costs.huggingface.quantisation import weights_of
from flowsim.errors import InputError, unknown

SHAPE = "a YAML file with a shape that comes near it (docs/calibration.md, Models)"


def hugging_face_fields(where: str, config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The fields of a `ModelSpec` that a config.json states; and the key of each field.

    The model is named after its file, or after the folder of a file that is called config.json.
    A key that is absent means what it means for the architecture.

    Raises:
        InputError: a key is missing that has no default, heads that do not divide the hidden size where their size is
            not given, or an architecture of another kind: latent attention, state spaces, weights that are quantised
            otherwise than in FP8.
    """
    weights = weights_of(where, config)
    config = _of_text(where, config)
    kind = _known_kind(where, config)
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
    values |= {**_windows(where, kind, config, values), **_dense_layers(where, kind, config, values)}
    if family.shared and type(values["intermediate"]) is int:
        shared = _whole_number(where, config, "n_shared_experts", family.shared, least=0)
        values["shared_intermediate"] = shared * values["intermediate"]
    path = Path(where).absolute()
    name = path.parent.name if path.name == "config.json" else path.stem
    return {"name": name.lower(), **values, **family.fixed, "weights": weights}, keys


def _known_kind(where: str, config: Mapping[str, Any]) -> str:
    """The model_type. InputError: it is unknown, or of an architecture of another kind."""
    kind = str(config.get("model_type"))
    if what := REFUSED.get(kind, LATENT if config.get("kv_lora_rank") else ""):
        raise InputError(
            f"{where}: model_type", f"{kind} has {what}", expected=f"{', '.join(ARCHITECTURES)}, or {SHAPE}"
        )
    if kind not in ARCHITECTURES:
        raise unknown("model_type", kind, (*ARCHITECTURES, *TEXT), expected=f"one of them, or {SHAPE}").within(where)
    return kind


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


def _windows(where: str, kind: str, config: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The window and the number of layers that have it; nothing if it is as long as the context.

    Qwen's architectures switch theirs on, if at all, and only in later layers.
    """
    family, is_qwen = ARCHITECTURES[kind], kind.startswith("qwen")
    (size, pattern), chunked = family.window_keys, {"chunked": True} if family.chunked else {}
    window = config.get(size, family.window)
    if not window or not config.get("use_sliding_window", not is_qwen):
        return {}
    if not family.every:
        raise InputError(f"{where}: {size}", found=window, expected=f"absent: {kind} has none")
    defaults = {size: window, pattern: family.every, "max_window_layers": FULL_LAYERS}
    window, every, full = (_whole_number(where, config, key, default) for key, default in defaults.items())
    windowed = _windowed_layers(where, config, family, values["layers"], every, full if is_qwen else None)
    is_long = type(values["max_context"]) is int and window >= values["max_context"]
    return {"window": window, "windowed_layers": windowed, **chunked} if windowed and not is_long else {}


def _windowed_layers(
    where: str, config: Mapping[str, Any], family: Architecture, layers: Any, every: int, full: int | None
) -> int:
    """How many layers have the window: as the config lists them, or as the architecture does: all after `full`."""
    types, rotary = config.get("layer_types"), config.get("no_rope_layers")
    if types:
        known = ("full_attention", "chunked_attention" if family.chunked else "sliding_attention")
        for found in types if isinstance(types, list) else [types]:
            if found not in known:
                raise InputError(f"{where}: layer_types", found=found, expected=f"a list of {' and '.join(known)}")
        return int(types.count(known[1]))
    if rotary:  # 1 for each layer with positions, and these attend within chunks
        return sum(map(bool, _whole_numbers(where, config, "no_rope_layers")))
    if type(layers) is not int:
        return 0  # which is what the error will be about
    if full is not None:
        return max(layers - full, 0)
    return layers - layers // every if every > 1 else layers


def _dense_layers(where: str, kind: str, config: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The number of layers that have an MLP in place of experts, and its width; nothing if there are none."""
    width, layers = ARCHITECTURES[kind].dense_width, values["layers"]
    if width is None or type(layers) is not int:
        return {}
    if ARCHITECTURES[kind].shared:
        dense = _whole_number(where, config, "first_k_dense_replace", 1, least=0)
    else:
        step_key = "interleave_moe_layer_step" if kind == "llama4_text" else "decoder_sparse_step"
        step = _whole_number(where, config, step_key, 1)
        listed, without = (set(_whole_numbers(where, config, key)) for key in ("moe_layers", "mlp_only_layers"))
        mixtures = len(listed) or layers // step - sum(i < layers and not (i + 1) % step for i in without)
        dense = layers - mixtures
    if dense <= 0:
        return {}
    key, default = width
    return {"dense_layers": dense, "dense_intermediate": _whole_number(where, config, key, default)}


def _whole_number(where: str, config: Mapping[str, Any], key: str, default: int | None, *, least: int = 1) -> int:
    """The number of this key, at least `least`."""
    number = default if config.get(key) is None else config[key]
    if type(number) is not int or number < least:
        raise InputError(f"{where}: {key}", found=number, expected=f"a whole number >= {least}")
    return number


def _whole_numbers(where: str, config: Mapping[str, Any], key: str) -> list[int]:
    """The numbers >= 0 of this key; none if it is absent."""
    numbers = config.get(key) or []
    if not isinstance(numbers, list) or any(type(number) is not int or number < 0 for number in numbers):
        raise InputError(f"{where}: {key}", found=numbers, expected="a list of whole numbers >= 0")
    return numbers


def _head_dim(where: str, hidden: object, heads: object) -> int:
    """The size of a head where config.json does not give it."""
    if not (isinstance(hidden, int) and isinstance(heads, int) and heads > 0):
        return 2  # one of the two is wrong, which is what the error will say
    if hidden % heads:
        expected = f"a multiple of num_attention_heads, {heads}, where head_dim is not given"
        raise InputError(f"{where}: hidden_size", found=hidden, expected=expected)
    return hidden // heads
