"""Attention over a key-value cache: the kernels that torch offers for it, their check, and the choice of one.

Every kernel has one signature, `kernel(q, k, v, start, tokens, context) -> out`. q is [1, heads, rows, head_dim], with
the chunk's rows after `PADDING` others; k and v are the cache of a layer, [1, kv_heads, cache rows, head_dim], where
the sequence's rows begin at `start`. The last `tokens` of its `context + tokens` positions attend causally to all
before them. `PADDING` rows past those are readable in q, k and v, and a kernel may use them; out is [1, heads, at
least `tokens`, head_dim].
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any

from flowsim.io.counts import percent

Tensor = Any
Kernel = Callable[[Tensor, Tensor, Tensor, int, int, int], Tensor]

PADDING = 128
"""Tokens of cuDNN's tiles; it is slow to plan for a new shape, and slower where tiles are not full."""


def math(q: Tensor, k: Tensor, v: Tensor, start: int, tokens: int, context: int) -> Tensor:
    """Plain attention with an explicit mask: the reference, and the kernel of CPUs."""
    import torch

    keys = context + tokens
    mask = torch.ones(tokens, keys, dtype=torch.bool, device=q.device).tril(context)
    return torch.nn.functional.scaled_dot_product_attention(
        q.narrow(2, PADDING, tokens),
        k.narrow(2, start, keys),
        v.narrow(2, start, keys),
        attn_mask=mask,
        enable_gqa=True,
    )


def sdpa(q: Tensor, k: Tensor, v: Tensor, start: int, tokens: int, context: int) -> Tensor:
    """The kernel that torch picks; it has no causal mask for a chunk on context."""
    import torch

    if context:
        raise ValueError("sdpa aligns its causal mask to the first key")
    q, k, v = q.narrow(2, PADDING, tokens), k.narrow(2, start, tokens), v.narrow(2, start, tokens)
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)


def cudnn(q: Tensor, k: Tensor, v: Tensor, start: int, tokens: int, context: int) -> Tensor:
    """cuDNN's fused kernel. Padding follows every real token, where the causal mask hides it."""
    if context:
        raise ValueError("cudnn aligns its causal mask to the first key")
    rows = _padded(tokens)
    return _cudnn(
        q.narrow(2, PADDING, rows), k.narrow(2, start, rows), v.narrow(2, start, rows), causal=True, lse=False
    )[0]


def flash(q: Tensor, k: Tensor, v: Tensor, start: int, tokens: int, context: int) -> Tensor:
    """FlashAttention-2 on one sequence; its causal mask is aligned to the last key."""
    import torch

    keys = context + tokens
    forward = torch.ops.aten._scaled_dot_product_flash_attention.default
    return forward(q.narrow(2, PADDING, tokens), k.narrow(2, start, keys), v.narrow(2, start, keys), 0.0, True)[0]


def varlen(q: Tensor, k: Tensor, v: Tensor, start: int, tokens: int, context: int) -> Tensor:
    """FlashAttention-2 through its variable-length entry, which never splits the keys over thread blocks."""
    import torch

    keys = context + tokens
    places = ((q, PADDING, tokens), (k, start, keys), (v, start, keys))
    ragged = [x[0].transpose(0, 1).narrow(0, at, n) for x, at, n in places]
    bounds = [_bounds(n, q.device) for n in (tokens, keys)]
    forward = torch.ops.aten._flash_attention_forward.default
    out = forward(*ragged, *bounds, tokens, keys, 0.0, True, False, window_size_left=-1, window_size_right=0)
    return out[0].transpose(0, 1).unsqueeze(0)


def split_attention(q: Tensor, k: Tensor, v: Tensor, start: int, tokens: int, context: int) -> Tensor:
    """cuDNN twice: over the full tiles of the context, and causally over the rest of the context and the chunk.

    The rows before the chunk's queries stand in for the rest; their outputs are dropped. The two parts are combined by
    their log-sum-exps.
    """
    if not context:
        raise ValueError("split needs a context")
    left = context % PADDING
    rows, at = _padded(left + tokens), start + context - left
    queries, keys, values = q.narrow(2, PADDING - left, rows), k.narrow(2, at, rows), v.narrow(2, at, rows)
    near, near_lse = (x.narrow(2, left, tokens) for x in _cudnn(queries, keys, values, causal=True))
    if left == context:
        return near
    full = context - left
    queries, keys, values = q.narrow(2, PADDING, _padded(tokens)), k.narrow(2, start, full), v.narrow(2, start, full)
    far, far_lse = (x.narrow(2, 0, tokens) for x in _cudnn(queries, keys, values, causal=False))
    return far.lerp_(near, (near_lse - far_lse).sigmoid_().to(q.dtype))


KERNELS: Mapping[str, Kernel] = {
    "cudnn": cudnn, "flash": flash, "split": split_attention, "sdpa": sdpa, "varlen": varlen, "math": math,
}  # fmt: skip


def default_kernel(working: Collection[str]) -> str:
    """The working kernel to use where none was timed."""
    return next(name for name in ("flash", "varlen", "math") if name in working)


def working_kernels(heads: int, kv_heads: int, head_dim: int, device: Any, dtype: Any) -> dict[str, str]:
    """Try every kernel on small inputs: its name -> "" if it agrees with `math` in float32, or the reason."""
    return {name: _trial(kernel, heads, kv_heads, head_dim, device, dtype) for name, kernel in KERNELS.items()}


def _trial(kernel: Kernel, heads: int, kv_heads: int, head_dim: int, device: Any, dtype: Any) -> str:
    import torch

    generator = torch.Generator(device).manual_seed(0)
    tried = 0
    for tokens, context in ((1, 0), (100, 0), (300, 0), (1, 100), (100, 128), (200, 777)):
        rows = PADDING + context + tokens + PADDING
        q, k, v = (
            torch.randn(1, n, rows, head_dim, generator=generator, device=device).to(dtype)
            for n in (heads, kv_heads, kv_heads)
        )
        try:
            found = kernel(q, k, v, 64, tokens, context)[:, :, :tokens].float()
        except ValueError:
            continue  # this kernel is not for this shape
        except (RuntimeError, NotImplementedError, TypeError, AttributeError) as error:
            return " ".join(str(error).split())[:120] or type(error).__name__
        truth = math(q.float(), k.float(), v.float(), 64, tokens, context)
        worst = ((found - truth).abs().max() / truth.abs().max()).item()
        if not worst < (0.03 if dtype.itemsize < 4 else 1e-4):
            return f"differs from plain attention by {percent(worst, 0)} at {tokens}@{context}"
        tried += 1
    return "" if tried else "fits no shape"


def _cudnn(q: Tensor, k: Tensor, v: Tensor, *, causal: bool, lse: bool = True) -> tuple[Tensor, Tensor]:
    """The output, [1, heads, rows, head_dim], and with `lse` the log-sum-exps, [1, heads, rows, 1]."""
    import torch

    forward = torch.ops.aten._scaled_dot_product_cudnn_attention.default
    result = forward(q, k, v, None, lse, 0.0, causal)
    return result[0], result[1].reshape(1, q.shape[1], -1, 1) if lse else result[1]


def _padded(tokens: int) -> int:
    return -(-tokens // PADDING) * PADDING


@functools.cache  # without a limit: recorded graphs go on reading them
def _bounds(length: int, device: Any) -> Tensor:
    import torch

    return torch.tensor([0, length], dtype=torch.int32, device=device)
