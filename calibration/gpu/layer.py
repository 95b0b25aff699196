"""The operators of a decoder layer: attention with its projections, and the MLP or the mixture of experts.

Each function returns operators by name, in order, as functions of a batch. An operator binds its weights once, so that
a call costs the host little beyond the launches. `kept` multiplies the residual stream before an output is added to it:
1, or 0 on the tensor-parallel ranks that do not add it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flowsim.calibration.costs.models import ModelSpec
from flowsim.calibration.gpu.batch import Batch, Tensor
from flowsim.calibration.gpu.fp8 import fp8_product

Operator = Callable[[Batch], None]
Operators = list[tuple[str, Operator]]
Weights = Mapping[str, Tensor]
"""Of a layer, by name. Beside a matrix NAME in e4m3 there is its scale, NAME_scale."""
Product = Callable[[Tensor], Tensor]
Addition = Callable[[Tensor, Tensor], object]


def attention_operators(spec: ModelSpec, w: Weights, cache: Tensor, kept: float) -> Operators:
    """Norm, q-k-v projection, rotary embedding and cache write, attention, output projection.

    `cache` is the layer's, [2, rows, kv_heads, head_dim]: keys and values.
    """
    return [
        ("norm_attn", _norm(spec, w["norm_attn"])),
        ("qkv_proj", _qkv_proj(w)),
        ("rope_kv", _rope_kv(spec, w, cache)),
        ("attention", _attention(spec, cache)),
        ("o_proj", _o_proj(w, kept)),
    ]


def mlp_operators(spec: ModelSpec, w: Weights, kept: float) -> Operators:
    """Norm, gate-up projection, SiLU times up, down projection."""
    return [("norm_mlp", _norm(spec, w["norm_mlp"])), *_mlp(w, kept)]


def expert_operators(spec: ModelSpec, w: Weights, kept: float) -> Operators:
    """Norm, router, dispatch, the experts' gate-up projection, activation and down projection, combine."""
    return [
        ("norm_mlp", _norm(spec, w["norm_mlp"])),
        *_routed(spec, w),
        *_experts(w),
        ("combine", _combine(spec, kept)),
    ]


def _norm(spec: ModelSpec, weight: Tensor) -> Operator:
    import torch

    rms_norm, shape, eps = torch.rms_norm, (spec.hidden,), spec.norm_eps

    def norm(p: Batch) -> None:
        p.normed = rms_norm(p.hidden, shape, weight, eps)

    return norm


def _qkv_proj(w: Weights) -> Operator:
    import torch

    bias, qkv_t = w["qkv_bias"], w["qkv"].t()
    mm, addmm = torch.mm, torch.addmm
    fp8 = fp8_product(w["qkv"], w["qkv_scale"], bias) if "qkv_scale" in w else None

    def qkv_proj(p: Batch) -> None:
        if fp8:
            fp8(p.normed, p.qkv)
        elif bias is None:
            mm(p.normed, qkv_t, out=p.qkv)
        else:
            addmm(bias, p.normed, qkv_t, out=p.qkv)

    return qkv_proj


def _rope_kv(spec: ModelSpec, w: Weights, cache: Tensor) -> Operator:
    import torch

    rms_norm, mul, eps = torch.rms_norm, torch.mul, spec.norm_eps
    per_head = (spec.head_dim,) if spec.qk_norm else None
    qk_weights = w["norm_attn"].new_ones((spec.heads + spec.kv_heads, spec.head_dim))
    k_cache, v_cache = cache

    def rope_kv(p: Batch) -> None:
        r = p.rope
        if per_head is not None:
            r.heads.copy_(rms_norm(r.heads, per_head, None, eps).mul_(qk_weights))
        mul(r.both, r.cos, out=r.rotated)
        r.rotated_first.addcmul_(r.second, r.sin, value=-1.0)
        r.rotated_second.addcmul_(r.first, r.sin)
        k_cache.index_copy_(0, p.rows, r.keys)
        v_cache.index_copy_(0, p.rows, r.values)

    return rope_kv


def _attention(spec: ModelSpec, cache: Tensor) -> Operator:
    import torch

    cat, width = torch.cat, spec.heads * spec.head_dim
    keys, values = (c.unsqueeze(0).transpose(1, 2) for c in cache)

    def attention(p: Batch) -> None:
        parts = []
        k, v = p.own or (keys, values)
        for q, s, kernel in zip(p.queries, p.slices, p.kernels, strict=True):
            out = kernel(q, k, v, s.start, s.tokens, s.context)
            parts.append(out.transpose(1, 2).reshape(-1, width).narrow(0, 0, s.tokens))
        p.attended = parts[0] if len(parts) == 1 else cat(parts)

    return attention


def _o_proj(w: Weights, kept: float) -> Operator:
    add = _addition(w, "o", kept)

    def o_proj(p: Batch) -> None:
        add(p.hidden, p.attended)

    return o_proj


def _product(w: Weights, name: str) -> Product:
    """The function x -> x weight^T."""
    import torch

    if f"{name}_scale" in w:
        return fp8_product(w[name], w[f"{name}_scale"])
    weight_t, mm = w[name].t(), torch.mm
    return lambda x: mm(x, weight_t)


def _addition(w: Weights, name: str, kept: float) -> Addition:
    """The function (hidden, x) that makes hidden = kept hidden + x weight^T."""
    if f"{name}_scale" not in w:
        weight_t = w[name].t()
        return lambda hidden, x: hidden.addmm_(x, weight_t, beta=kept)
    product = fp8_product(w[name], w[f"{name}_scale"])
    return (lambda hidden, x: hidden.add_(product(x))) if kept else (lambda hidden, x: product(x, hidden))


def _mlp(w: Weights, kept: float) -> Operators:
    import torch

    widen, add, silu = _product(w, "gate_up"), _addition(w, "down", kept), torch.nn.functional.silu

    def gate_up_proj(p: Batch) -> None:
        p.gate_up = widen(p.normed)

    def activation(p: Batch) -> None:
        gate, up = p.gate_up.chunk(2, 1)
        p.activation = silu(gate).mul_(up)

    def down_proj(p: Batch) -> None:
        add(p.hidden, p.activation)

    return [(f.__name__, f) for f in (gate_up_proj, activation, down_proj)]


def _routed(spec: ModelSpec, w: Weights) -> Operators:
    """The router, and the tokens gathered by expert."""
    import torch

    best, router_t, mm = spec.experts_per_token, w["router"].t(), torch.mm
    bounds = torch.arange(spec.experts, device=router_t.device)

    def router(p: Batch) -> None:
        shares, p.chosen = mm(p.normed, router_t).softmax(1).topk(best, dim=1)
        p.shares = shares.div_(shares.sum(1, keepdim=True)).view(-1, 1)

    def dispatch(p: Batch) -> None:
        ordered, p.order = p.chosen.flatten().sort()
        p.ends = torch.searchsorted(ordered, bounds, right=True, out_int32=True)
        p.gathered = p.normed.index_select(0, p.order // best)

    return [(f.__name__, f) for f in (router, dispatch)]


def _experts(w: Weights) -> Operators:
    """The experts, on the tokens gathered for them."""
    import torch

    gate_up_t, down_t = w["gate_up"].mT, w["down"].mT
    silu, grouped_mm = torch.nn.functional.silu, torch._grouped_mm

    def expert_gate_up(p: Batch) -> None:
        p.gate_up = grouped_mm(p.gathered, gate_up_t, offs=p.ends)

    def expert_activation(p: Batch) -> None:
        gate, up = p.gate_up.chunk(2, 1)
        p.activation = silu(gate).mul_(up).mul_(p.shares.index_select(0, p.order))

    def expert_down(p: Batch) -> None:
        p.gathered = grouped_mm(p.activation, down_t, offs=p.ends)

    return [(f.__name__, f) for f in (expert_gate_up, expert_activation, expert_down)]


def _combine(spec: ModelSpec, kept: float) -> Operator:
    import torch

    best, hidden = spec.experts_per_token, spec.hidden

    def combine(p: Batch) -> None:
        spread = torch.empty_like(p.gathered).index_copy_(0, p.order, p.gathered).view(p.tokens, best, hidden)
        if kept:
            p.hidden.add_(spread.sum(1))
        else:
            torch.sum(spread, 1, out=p.hidden)

    return combine
