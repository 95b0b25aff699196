"""Models: the shapes of decoder-only transformers, from YAML or a Hugging Face config.json; no weights."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta
from msgspec.structs import replace

from flowsim.calibration.costs.huggingface.config import hugging_face_fields
from flowsim.errors import InputError, unknown
from flowsim.io.documents import mapping
from flowsim.io.schema import Checked, Name, Positive, build

LARGEST = 10**12
"""Of sizes in tokens or elements."""
BYTES_PER_VALUE = 2  # bf16
ATTENTION_OPERATORS = ("norm_attn", "qkv_proj", "rope_kv", "attention", "o_proj")
MLP_OPERATORS = ("norm_mlp", "gate_up_proj", "activation", "down_proj")
EXPERTS = ("dispatch", "expert_gate_up", "expert_activation", "expert_down", "combine")
"""What follows the router; a table may have them as one operator, `experts`."""
EXPERT_OPERATORS = ("norm_mlp", "router", *EXPERTS)
SHARED_OPERATORS = (*MLP_OPERATORS, *EXPERT_OPERATORS[1:])
"""Of a mixture with shared experts, which are an MLP beside it, or with layers that have an MLP in its place."""

Size = Annotated[int, Meta(ge=1, le=LARGEST)]
Number = Annotated[int, Meta(ge=0, le=LARGEST)]


class ModelSpec(Checked, frozen=True, forbid_unknown_fields=True):
    """The shape of a decoder: pre-norm, rotary positions, grouped-query attention, SwiGLU, dense or of experts.

    Sizes count elements; `max_context` and `window` count tokens. With `experts` > 0 every MLP is a mixture of that
    many experts, each `intermediate` wide, of which a router picks `experts_per_token` for each token, and of shared
    ones, together `shared_intermediate` wide, that every token takes; but `dense_layers` of the layers have an MLP
    without experts, `dense_intermediate` wide. In `windowed_layers` of the layers a token attends to the last `window`
    tokens only, itself included, or, if they are `chunked`, to those of its own chunk of `window` tokens.

    With `weights` in FP8 (e4m3) activations are cast for their products: with a fixed scale (fp8), with one that is
    computed for each token as they come (fp8_dynamic), or with one for 128 values of a token, where each block of
    128 x 128 weights has a scale of its own (fp8_block). Embedding, head, router and attention are in bf16.
    """

    name: Name
    layers: Size
    hidden: Size
    heads: Size
    kv_heads: Size
    head_dim: Size
    intermediate: Size
    vocab: Size
    max_context: Size
    rope_theta: Positive
    norm_eps: Positive
    qkv_bias: bool = False
    qk_norm: bool = False  # RMSNorm of every query and key head, before the rotary embedding
    post_norms: bool = False  # RMSNorm after attention and after the MLP, too
    experts: Number = 0
    experts_per_token: Number = 0
    shared_intermediate: Number = 0
    dense_layers: Number = 0
    dense_intermediate: Number = 0
    window: Number = 0
    windowed_layers: Number = 0
    chunked: bool = False
    tied: bool = False  # the output head is the embedding
    weights: Literal["bf16", "fp8", "fp8_dynamic", "fp8_block"] = "bf16"  # of a layer's matrices

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.heads % self.kv_heads:
            of_kv_heads = f"a multiple of the number of key-value heads, {self.kv_heads}"
            raise InputError("heads", found=self.heads, expected=of_kv_heads)
        if self.head_dim % 2:
            raise InputError("head_dim", found=self.head_dim, expected="even, for rotary positions")
        if bool(self.experts) != bool(self.experts_per_token) or self.experts_per_token > self.experts:
            allowed = f"1 to {self.experts}, the number of experts" if self.experts else "0 without experts"
            raise InputError("experts_per_token", found=self.experts_per_token, expected=allowed)
        if self.shared_intermediate and not self.experts:
            raise InputError("shared_intermediate", found=self.shared_intermediate, expected="0 without experts")
        if bool(self.dense_layers) != bool(self.dense_intermediate) or self.dense_layers > max(self.layers - 1, 0):
            allowed = f"1 to {self.layers - 1}, some of the layers" if self.dense_intermediate else "0 without a width"
            raise InputError("dense_layers", found=self.dense_layers, expected=allowed)
        if self.dense_layers and not self.experts:
            raise InputError("dense_layers", found=self.dense_layers, expected="0 without experts")
        if bool(self.window) != bool(self.windowed_layers) or self.windowed_layers > self.layers:
            allowed = f"1 to {self.layers}, the number of layers" if self.window else "0 without a window"
            raise InputError("windowed_layers", found=self.windowed_layers, expected=allowed)
        if self.chunked and not self.window:
            raise InputError("chunked", found=True, expected="false without a window")

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
        """Bytes of all weights; embedding and head are in bf16."""
        ends = (1 if self.tied else 2) * self.vocab * self.hidden + self.hidden
        return sum(layers * kind.layer_bytes for layers, kind in self.layer_kinds) + ends * BYTES_PER_VALUE

    @property
    def layer_kinds(self) -> tuple[tuple[int, ModelSpec], ...]:
        """The number of layers of each kind, and a model whose layers are all such: of experts, and without them."""
        if not self.dense_layers:
            return ((self.layers, self),)
        mixture = replace(self, dense_layers=0, dense_intermediate=0)
        dense = replace(
            mixture, intermediate=self.dense_intermediate, experts=0, experts_per_token=0, shared_intermediate=0
        )
        return (self.layers - self.dense_layers, mixture), (self.dense_layers, dense)

    @property
    def layer_bytes(self) -> int:
        """Bytes of the weights of one layer, with experts if some have them."""
        attention = self.hidden * (self.qkv_width + self.heads * self.head_dim)
        bias = self.qkv_width if self.qkv_bias else 0
        norms = (4 if self.post_norms else 2) * self.hidden + (2 * self.head_dim if self.qk_norm else 0)
        mlp, router = 3 * self.hidden * (self.mlp_width + self.intermediate * self.experts), self.hidden * self.experts
        return (attention + mlp) * self.bytes_per_weight + (router + bias + norms) * BYTES_PER_VALUE

    @property
    def mlp_width(self) -> int:
        """Width of the MLP that every token takes: in a mixture of experts, that of the shared ones."""
        return self.shared_intermediate if self.experts else self.intermediate

    @property
    def bytes_per_weight(self) -> int:
        """Bytes of one weight of a layer's matrices."""
        return BYTES_PER_VALUE if self.weights == "bf16" else 1

    @property
    def not_measured(self) -> list[str]:
        """What the model has that is not measured; its tables are imported or scaled from measured ones."""
        parts = {"sliding windows": self.window, "norms after the MLP": self.post_norms}
        parts |= {"shared experts": self.shared_intermediate, "experts in some layers only": self.dense_layers}
        parts |= {f"weights in {self.weights}": self.weights not in ("bf16", "fp8")}
        parts["experts in FP8"] = self.experts and self.weights == "fp8"
        return [name for name, there in parts.items() if there]

    @property
    def operators(self) -> tuple[str, ...]:
        """The operators of a pass on one rank, in the order in which they run."""
        mixture = SHARED_OPERATORS if self.shared_intermediate or self.dense_layers else EXPERT_OPERATORS
        mlp = mixture if self.experts else MLP_OPERATORS
        return ("embed", *ATTENTION_OPERATORS, *mlp, "head")

    def shard(self, tp: int) -> ModelSpec:
        """What one of `tp` tensor-parallel ranks computes, as a model of its own (Shoeybi et al., Megatron-LM, 2019).

        Heads, the width of the MLP or of every expert, and the vocabulary are divided; with fewer key-value heads than
        ranks, each rank keeps a copy of one. InputError: they cannot be divided by `tp`.
        """
        parts = {"heads": self.heads, "intermediate": self.intermediate, "kv_heads": max(self.kv_heads, tp)}
        parts |= {name: getattr(self, name) for name in ("shared_intermediate", "dense_intermediate")}
        for name, size in parts.items():
            if tp < 1 or size % tp or (name == "kv_heads" and size % self.kv_heads):
                raise InputError("tp", found=tp, expected=f"a divisor of {self.name}'s {name}, {getattr(self, name)}")
        return replace(self, **{name: size // tp for name, size in parts.items()}, vocab=-(-self.vocab // tp))


def model_names() -> list[str]:
    """The names of the models shipped with the package."""
    return sorted(file.stem for file in _shipped().glob("*.yaml"))


def load_model(name_or_path: str | Path) -> ModelSpec:
    """The model of this shipped name, or the one that a file describes.

    A path ends in .yaml or .yml (`ModelSpec`'s fields) or in .json (a Hugging Face config.json, whose model is named
    after its file, or after its folder where the file is called config.json), or is a folder that holds a config.json.

    Raises:
        InputError: an unknown name, an unreadable file, a field that is missing, unknown, repeated or out of range, or
            an architecture of another kind.
    """
    where = str(name_or_path)
    if where and where not in model_names() and Path(where).is_dir():
        where = str(Path(where) / "config.json")
    if where.endswith(".json"):
        return _named(_of_config(where), where)
    if where.endswith((".yaml", ".yml")):
        return _named(spec_of(mapping(where, "a mapping of model fields"), where), where)
    if where not in model_names():
        raise unknown("model", where, model_names(), where="model")
    return spec_of(mapping(_shipped() / f"{where}.yaml"), where)


def spec_of(values: Any, where: str) -> ModelSpec:
    """The model that a mapping of `ModelSpec`'s fields describes. InputError begins with `where`."""
    try:
        return build(ModelSpec, values, where)
    except InputError as error:
        raise as_yaml_number(error) from None


def as_yaml_number(error: InputError) -> InputError:
    """The same error; if the value is like 1e-5, which PyYAML reads as text, it also says how to write it."""
    if not (isinstance(error.found, str) and re.fullmatch(r"[-+]?\d+[eE][-+]?\d+", error.found)):
        return error
    digits, _, exponent = error.found.lower().partition("e")
    sign = "" if exponent[0] in "+-" else "+"
    hint = f"(in YAML, write {digits}.0e{sign}{exponent})"
    return error.at(error.where, expected=f"{error.expected} {hint}")


def check_table_name(what: str, name: str) -> None:
    """Raise InputError unless `name` can name a folder of tables."""
    if not re.fullmatch(r"[^\s./\\]([^\n\r/\\]*[^\s/\\])?", name):
        raise InputError(what, found=name, expected="a name without slashes, a leading dot or surrounding blanks")


def _shipped() -> Path:
    return Path(str(resources.files("flowsim.calibration"))) / "data" / "models"


def _named(spec: ModelSpec, where: str) -> ModelSpec:
    check_table_name(f"{where}: name", spec.name)
    return spec


def _of_config(where: str) -> ModelSpec:
    """The model of a Hugging Face config.json; errors name its keys."""
    values, keys = hugging_face_fields(where, mapping(where, "a Hugging Face config.json"))
    try:
        return build(ModelSpec, values)
    except InputError as error:
        raise error.at(f"{where}: {keys.get(error.where, error.where)}") from None
