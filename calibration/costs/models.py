"""Models: the shapes of decoder-only transformers, from YAML or a Hugging Face config.json; no weights."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from flowsim.calibration.costs.huggingface import spec_fields
from flowsim.calibration.costs.table import LARGEST
from flowsim.errors import InputError, unknown
from flowsim.io.documents import UniqueKeys, unique_pairs

BYTES_PER_VALUE = 2  # bf16
ATTENTION_OPERATORS = ("norm_attn", "qkv_proj", "rope_kv", "attention", "o_proj")
MLP_OPERATORS = ("norm_mlp", "gate_up_proj", "activation", "down_proj")
EXPERTS = ("dispatch", "expert_gate_up", "expert_activation", "expert_down", "combine")
"""What stands behind the router; a table may have it in one, as `experts`."""
EXPERT_OPERATORS = ("norm_mlp", "router", *EXPERTS)


@dataclass(frozen=True)
class ModelSpec:
    """The shape of a decoder: pre-norm, rotary positions, grouped-query attention, SwiGLU, dense or of experts.

    Sizes count elements; `max_context` counts tokens. With `experts` above 0 every MLP is a mixture of so many, each
    `intermediate` wide, of which a router picks `experts_per_token` for each token.
    """

    name: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    max_context: int
    rope_theta: float
    norm_eps: float
    qkv_bias: bool = False
    qk_norm: bool = False  # RMSNorm of every query and key head, before the rotary embedding
    experts: int = 0
    experts_per_token: int = 0
    tied: bool = False  # the output head is the embedding

    def __post_init__(self) -> None:
        for field in fields(self):
            _check(field.name, getattr(self, field.name), str(field.type))
        if self.heads % self.kv_heads:
            raise InputError(f"heads: found {self.heads}; allowed: a multiple of kv_heads, {self.kv_heads}")
        if self.head_dim % 2:
            raise InputError(f"head_dim: found {self.head_dim}; allowed: an even number, for rotary positions")
        if bool(self.experts) != bool(self.experts_per_token) or self.experts_per_token > self.experts:
            allowed = f"0 without experts, else 1 to {self.experts}"
            raise InputError(f"experts_per_token: found {self.experts_per_token}; allowed: {allowed}")

    @property
    def qkv_width(self) -> int:
        """Columns of the fused query, key and value projection."""
        return (self.heads + 2 * self.kv_heads) * self.head_dim

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes of keys and values that one token keeps in all layers, in bf16."""
        return self.layers * 2 * self.kv_heads * self.head_dim * BYTES_PER_VALUE

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights in bf16."""
        ends = (1 if self.tied else 2) * self.vocab * self.hidden + self.hidden
        return self.layers * self.layer_bytes + ends * BYTES_PER_VALUE

    @property
    def layer_bytes(self) -> int:
        """Bytes of one layer's weights in bf16."""
        attention = self.hidden * (self.qkv_width + self.heads * self.head_dim)
        bias = self.qkv_width if self.qkv_bias else 0
        norms = 2 * self.hidden + (2 * self.head_dim if self.qk_norm else 0)
        mlp = 3 * self.hidden * self.intermediate * max(1, self.experts) + self.hidden * self.experts
        return (attention + bias + norms + mlp) * BYTES_PER_VALUE

    @property
    def operators(self) -> tuple[str, ...]:
        """The operators of a pass on one rank, in the order in which they run."""
        mlp = EXPERT_OPERATORS if self.experts else MLP_OPERATORS
        return ("embed", *ATTENTION_OPERATORS, *mlp, "head")

    def shard(self, tp: int) -> ModelSpec:
        """What one of `tp` tensor-parallel ranks computes, as a model of its own (Shoeybi et al., Megatron-LM, 2019).

        Heads, the width of the MLP or of every expert, and the vocabulary are divided; with fewer key-value heads than
        ranks, each rank keeps a copy of one. InputError: they cannot be divided by `tp`.
        """
        parts = {"heads": self.heads, "intermediate": self.intermediate, "kv_heads": max(self.kv_heads, tp)}
        for name, size in parts.items():
            if tp < 1 or size % tp or (name == "kv_heads" and size % self.kv_heads):
                raise InputError(f"tp: found {tp}; allowed: a divisor of {self.name}'s {name}, {getattr(self, name)}")
        heads, intermediate, kv_heads = (size // tp for size in parts.values())
        return replace(
            self, heads=heads, intermediate=intermediate, kv_heads=kv_heads, vocab=-(-self.vocab // tp)
        )  # fmt: skip


def model_names() -> list[str]:
    """The names of the models shipped with the package."""
    folder = resources.files("flowsim.calibration") / "data" / "models"
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def load_model(name_or_path: str | Path) -> ModelSpec:
    """The model of this shipped name, or the one that a file describes.

    A path ends in .yaml or .yml (`ModelSpec`'s fields) or in .json (a Hugging Face config.json, whose model is named
    after its folder), or is a folder that holds a config.json. InputError: an unknown name, an unreadable file, a field
    that is missing, unknown, there twice or out of range, or an architecture that is not of this kind.
    """
    where = str(name_or_path)
    if where and where not in model_names() and Path(where).is_dir():
        where = str(Path(where) / "config.json")
    if where.endswith((".yaml", ".yml", ".json")):
        try:
            return _parse(where, Path(where).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{where}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if where not in model_names():
        raise unknown("model", where, model_names())
    file = resources.files("flowsim.calibration") / "data" / "models" / f"{where}.yaml"
    return _parse(f"{where}.yaml", file.read_text(encoding="utf-8"))


def _parse(where: str, text: str) -> ModelSpec:
    try:
        if where.endswith(".json"):
            values = json.loads(text, object_pairs_hook=unique_pairs)
        else:
            values = yaml.load(text, Loader=UniqueKeys)
    except InputError as error:
        raise InputError(f"{where}, {error}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        kind = "JSON" if where.endswith(".json") else "YAML"
        raise InputError(f"{where}: not {kind}: {' '.join(str(error).split())}") from error
    names: Mapping[str, str] = {}
    if isinstance(values, Mapping) and where.endswith(".json"):
        values, names = spec_fields(where, values)
    spec = spec_of(values, where, names)
    check_name(f"{where}: name", spec.name)
    return spec


def spec_of(values: Any, where: str, names: Mapping[str, str] = MappingProxyType({})) -> ModelSpec:
    """The model that a mapping of `ModelSpec`'s fields describes; InputError, which begins with `where`, if none.

    `names`: what fields are called where the values come from, if not as here.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"{where}: found {type(values).__name__}; allowed: a mapping of model fields")
    known = {field.name for field in fields(ModelSpec)}
    for key in values:
        if key not in known:
            raise InputError(f"{where}: {unknown('model field', str(key), known)}")
    missing = {field.name for field in fields(ModelSpec) if field.default is MISSING} - set(values)
    if missing:
        raise InputError(f"{where}: missing: {', '.join(sorted({names.get(name, name) for name in missing}))}")
    try:
        return ModelSpec(**values)
    except InputError as error:
        said = re.sub(r"\w+", lambda word: names.get(word[0], word[0]), str(error))
        raise InputError(f"{where}: {said}") from error


def check_name(what: str, name: str) -> None:
    """Raise InputError unless `name` can name a folder of tables."""
    if not re.fullmatch(r"[^\s./\\]([^\n\r/\\]*[^\s/\\])?", name):
        allowed = "a name without slashes, a dot in front, or blanks around it"
        raise InputError(f"{what}: found {name!r}; allowed: {allowed}")


def _check(name: str, value: Any, kind: str) -> None:
    """Raise InputError unless `value` is of this `kind` and, if a number, positive."""
    least = 0 if name.startswith("experts") else 1
    if kind == "int" and (type(value) is not int or not least <= value <= LARGEST):
        raise InputError(f"{name}: found {value!r:.60}; allowed: a whole number from {least} to 2**40")
    if kind == "float" and (type(value) not in (int, float) or not 0 < value <= LARGEST):
        hint = ", as in 1.0e-5, for YAML reads 1e-5 as text" if isinstance(value, str) else ""
        raise InputError(f"{name}: found {value!r:.60}; allowed: a number above 0{hint}")
    if kind == "bool" and type(value) is not bool:
        raise InputError(f"{name}: found {value!r}; allowed: true or false")
    if kind == "str" and (type(value) is not str or not value):
        raise InputError(f"{name}: found {value!r}; allowed: a name")
