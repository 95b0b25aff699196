"""The type of a checkpoint's weights, from the `quantization_config` of its config.json."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from flowsim.errors import InputError

DTYPES = ("bfloat16", "float16", "float32", "auto")
"""Types of weights that are accepted, unless they are quantised; all are timed in bf16."""
BLOCK = [128, 128]
"""Weights of one scale, in checkpoints like DeepSeek's and Qwen's."""
FP8_ALONE = (
    "absent (then all is sized and timed in bf16), or all layers in FP8: static, dynamic, or in blocks of 128 x 128"
)
MATRICES = r"(_proj|self_attn|mlp|experts)\W*$"
"""The names, or patterns, of parts of a layer that have matrices."""
OTHER_PARTS = r"vision|visual|audio|projector|eh_proj$"
"""Encoders, and what predicts one token more (GLM-4.5)."""


def weights_of(where: str, config: Mapping[str, Any]) -> str:
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
        if re.search(MATRICES, name) and not re.search(OTHER_PARTS, name):
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
