"""The operators of a decoder layer, and after which of them each cut level checks."""

from __future__ import annotations

from typing import Literal

from flowsim.errors import unknown

Cut = Literal["none", "chunk", "layer", "block", "operator"]

LAYER_OPERATORS = (
    "norm_attn",
    "qkv_proj",
    "rope_kv",
    "attention",
    "o_proj",
    "all_reduce_attn",
    "norm_mlp",
    "gate_up_proj",
    "router",
    "activation",
    "down_proj",
    "experts",
    "dispatch",
    "expert_gate_up",
    "expert_activation",
    "expert_down",
    "combine",
    "all_reduce_mlp",
)
"""The operators of any decoder layer, in the order in which they are launched; those that a model lacks cost nothing.

In place of a dense layer's gate_up_proj, activation and down_proj a mixture of experts has router, dispatch (tokens
sorted by expert), expert_gate_up, expert_activation, expert_down and combine (each token's outputs added up); `experts`
is all that follows the router in one, as in public tables. So what follows the first or the last operator of the MLP is
at the same place in both kinds of layer. All-reduces run under tensor parallelism.
"""

CHECKED_AFTER: dict[str, tuple[str, ...]] = {
    "none": (),
    "chunk": (),
    "layer": ("all_reduce_mlp",),
    "block": ("all_reduce_attn", "all_reduce_mlp"),
    "operator": ("qkv_proj", "attention", "all_reduce_attn", "router", "all_reduce_mlp"),
}
"""Where each cut level checks inside a layer: the released code's two blocks; the paper's five operators.

Those are qkv_proj, attention, o_proj, gate_up_proj and down_proj, or for experts qkv_proj, attention, o_proj, router
and all that follows; where an all-reduce follows the operator, the check comes after the all-reduce.
"""

ATTENTION = LAYER_OPERATORS.index("attention")


def check_cut(cut: str) -> None:
    """Raise `InputError` unless `cut` is a cut level."""
    if not isinstance(cut, str) or cut not in CHECKED_AFTER:
        raise unknown("cut", cut, CHECKED_AFTER)


def segments(cut: str) -> list[range]:
    """The stretches of LAYER_OPERATORS (index ranges) between two checks; one stretch when nothing is checked."""
    ends = [LAYER_OPERATORS.index(name) + 1 for name in CHECKED_AFTER[cut]] or [len(LAYER_OPERATORS)]
    return [range(start, end) for start, end in zip([0, *ends], ends, strict=False)]
