"""A batch on its way through the decoder: what it carries, how it is checked and laid out, and its steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from flowsim.calibration.costs.models import ModelSpec
from flowsim.calibration.gpu.attention import PADDING, Kernel
from flowsim.errors import InputError

Tensor = Any
Ids = Sequence[int] | np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class CacheSlice:
    """`tokens` new tokens of a sequence that has `context` in the cache, whose first row there is `start`."""

    tokens: int
    context: int = 0
    start: int = 0


class Rope(NamedTuple):
    """What the rotary embedding of a pass reads and writes, as views created once; pairs are (first, second) half.

    [tokens, heads + kv_heads, (2,) head_dim / 2], of which keys and values are [tokens, kv_heads, head_dim]; `heads`
    are the queries and keys before the rotation, [tokens, heads + kv_heads, head_dim].
    """

    cos: Tensor
    sin: Tensor
    both: Tensor
    first: Tensor
    second: Tensor
    rotated: Tensor
    rotated_first: Tensor
    rotated_second: Tensor
    keys: Tensor
    values: Tensor
    heads: Tensor


class Batch:
    """A batch on its way through the decoder: index tensors, and the activations that are alive."""

    slices: tuple[CacheSlice, ...]
    tokens: int  # of all slices
    kernels: tuple[Kernel, ...]  # the attention kernel of each slice
    staged: Tensor  # [3 * tokens + slices], on the host: ids, positions, cache rows, the last token of each slice
    index: Tensor  # the same on the device, of which the next three are views
    ids: Tensor  # [tokens]
    rows: Tensor  # [tokens]: the cache rows of their keys and values
    last: Tensor  # [slices]: the last token of each
    rope: Rope
    queries: list[Tensor]  # [1, heads, padding + tokens + padding, head_dim] of each slice, rotated
    own: tuple[Tensor, Tensor] | None  # [1, kv_heads, tokens + padding, head_dim]: keys, values, if not the cache's
    hidden: Tensor  # [tokens, hidden]: the residual stream
    normed: Tensor  # [tokens, hidden]
    qkv: Tensor  # [tokens, qkv_width]
    attended: Tensor  # [tokens, heads * head_dim]
    gate_up: Tensor  # [tokens, 2 * intermediate]
    activation: Tensor  # [tokens, intermediate]
    shares: Tensor  # [tokens * experts_per_token, 1]: the router's weights
    chosen: Tensor  # [tokens, experts_per_token]: the experts of each token
    order: Tensor  # [tokens * experts_per_token]: the pairs of token and expert, sorted by expert
    ends: Tensor  # [experts]: where each one's pairs end
    gathered: Tensor  # [tokens * experts_per_token, hidden]: the pairs' tokens, then what the experts make of them
    logits: Tensor  # [slices, vocab]
    next_ids: Tensor  # [slices]


@dataclass(frozen=True, slots=True)
class Step:
    """One operator of a layer; `layer` is -1 for embed and the number of layers for head."""

    operator: str
    layer: int
    run: Callable[[Batch], None]


def check_slices(slices: Sequence[CacheSlice], given: int, rows: int) -> None:
    """Raise `InputError` unless the slices fit a cache of `rows` tokens, and `given` ids are one per token."""
    total = sum(s.tokens for s in slices)
    if not slices or given != total:
        raise InputError(
            "ids", f"there are {given} for {total} tokens", expected="one per token, and at least one slice"
        )
    for s in slices:
        end = s.context + s.tokens
        if s.tokens < 1 or min(s.context, s.start) < 0 or s.start + end > rows:
            raise InputError("slice", found=s, expected=f">= 1 token within {rows} cache rows")


def indices(slices: Sequence[CacheSlice], ids: Ids) -> np.ndarray[Any, Any]:
    """Ids, positions and cache rows of all tokens, then the last token of each slice: [3 * tokens + slices]."""
    total = sum(s.tokens for s in slices)
    out = np.empty(3 * total + len(slices), np.int64)
    out[:total] = ids
    at = 0
    for i, s in enumerate(slices):
        end = at + s.tokens
        out[total + at : total + end] = np.arange(s.context, s.context + s.tokens)
        out[2 * total + at : 2 * total + end] = np.arange(s.tokens) + (s.start + s.context)
        out[3 * total + i] = end - 1
        at = end
    return out


def allocate(p: Batch, spec: ModelSpec, angles: Tensor, *, own: bool) -> None:
    """Allocate a batch's buffers for q, k and v before and after rotation, and the views of them that the layers need.

    Args:
        p: the batch.
        spec: the model.
        angles: cosines and sines of its tokens' positions, [tokens, 2, head_dim / 2], on the device and of the type of
            the buffers.
        own: whether attention reads the keys and values that the batch computes instead of the cache's.
    """
    # Kernels read keys and values past the last ones, which must be finite.
    make = angles.new_zeros if own else angles.new_empty
    drawn = make((p.tokens + PADDING, spec.qkv_width))
    padded = make((PADDING + p.tokens + PADDING, spec.heads + spec.kv_heads, spec.head_dim))
    p.qkv = drawn[: p.tokens]
    p.rope = _rope(p.qkv, padded[PADDING:-PADDING], spec, angles)
    heads, at, p.queries = padded[:, : spec.heads].transpose(0, 1).unsqueeze(0), 0, []
    for s in p.slices:
        p.queries.append(heads.narrow(2, at, PADDING + s.tokens + PADDING))
        at += s.tokens
    values = drawn.view(p.tokens + PADDING, -1, spec.head_dim)[:, spec.heads + spec.kv_heads :]
    p.own = tuple(x.transpose(0, 1).unsqueeze(0) for x in (padded[PADDING:, spec.heads :], values)) if own else None


def _rope(qkv: Tensor, rotated: Tensor, spec: ModelSpec, angles: Tensor) -> Rope:
    """The views of `qkv`, [tokens, qkv_width], and of `rotated`, [tokens, heads + kv_heads, head_dim]."""
    tokens, qk, half = len(qkv), spec.heads + spec.kv_heads, spec.head_dim // 2
    cos, sin = angles.unsqueeze(2).unbind(1)
    both, out = qkv[:, : qk * 2 * half].view(tokens, qk, 2, half), rotated.view(tokens, qk, 2, half)
    per_head = qkv.view(tokens, -1, spec.head_dim)
    return Rope(
        both=both, cos=cos.unsqueeze(2), sin=sin, first=both[:, :, 0], second=both[:, :, 1],
        rotated=out, rotated_first=out[:, :, 0], rotated_second=out[:, :, 1],
        keys=rotated[:, spec.heads :], values=per_head[:, qk:], heads=per_head[:, :qk],
    )  # fmt: skip
