"""Models: the shapes of dense decoder-only transformers, read from YAML; no weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from flowsim.errors import InputError, unknown

BYTES_PER_VALUE = 2  # bf16


@dataclass(frozen=True)
class ModelSpec:
    """The shape of a dense decoder: pre-norm, rotary positions, grouped-query attention, SwiGLU.

    Sizes count elements; `max_context` counts tokens; the embedding and the output head are not tied.
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

    def __post_init__(self) -> None:
        for field in fields(self):
            _check(field.name, getattr(self, field.name), str(field.type))
        if self.heads % self.kv_heads:
            raise InputError(f"heads: found {self.heads}; allowed: a multiple of kv_heads, {self.kv_heads}")
        if self.head_dim % 2:
            raise InputError(f"head_dim: found {self.head_dim}; allowed: an even number, for rotary positions")

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
        attention = self.hidden * (self.qkv_width + self.heads * self.head_dim)
        bias = self.qkv_width if self.qkv_bias else 0
        layer = attention + bias + 3 * self.hidden * self.intermediate + 2 * self.hidden
        return (self.layers * layer + 2 * self.vocab * self.hidden + self.hidden) * BYTES_PER_VALUE


def model_names() -> list[str]:
    """The names of the models shipped with the package."""
    folder = resources.files("flowsim.calibration") / "data" / "models"
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def load_model(name_or_path: str | Path) -> ModelSpec:
    """The model of this shipped name, or the one that a YAML file of `ModelSpec`'s fields describes.

    Anything that ends in .yaml or .yml is a path. InputError: an unknown name, an unreadable file, or a field
    that is missing, unknown or out of range.
    """
    where = str(name_or_path)
    if where.endswith((".yaml", ".yml")):
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
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{where}: not YAML: {' '.join(str(error).split())}") from error
    return spec_of(values, where)


def spec_of(values: Any, where: str) -> ModelSpec:
    """The model that a mapping of `ModelSpec`'s fields describes; InputError, which begins with `where`, if none."""
    if not isinstance(values, Mapping):
        raise InputError(f"{where}: found {type(values).__name__}; allowed: a mapping of model fields")
    known = {field.name for field in fields(ModelSpec)}
    for key in values:
        if key not in known:
            raise InputError(f"{where}: {unknown('model field', str(key), known)}")
    missing = sorted(known - {"qkv_bias"} - set(values))
    if missing:
        raise InputError(f"{where}: missing: {', '.join(missing)}")
    try:
        return ModelSpec(**values)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _check(name: str, value: Any, kind: str) -> None:
    """Raise InputError unless `value` is of this `kind` and, if a number, positive."""
    if kind == "int" and (type(value) is not int or value < 1):
        raise InputError(f"{name}: found {value!r}; allowed: a whole number from 1")
    if kind == "float" and (type(value) not in (int, float) or not 0 < value < float("inf")):
        raise InputError(f"{name}: found {value!r}; allowed: a number above 0")
    if kind == "bool" and type(value) is not bool:
        raise InputError(f"{name}: found {value!r}; allowed: true or false")
    if kind == "str" and (type(value) is not str or not value):
        raise InputError(f"{name}: found {value!r}; allowed: a name")
