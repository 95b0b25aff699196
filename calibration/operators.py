"""The decoder that is measured: a transformer of random weights, written operator by operator.

`Decoder.program` is the list of its steps, in order; `Decoder.prepare` makes a `Batch`, which carries all that a
forward of one batch needs; `step.run(batch)` launches one operator of it. Whoever drives a forward (a timer, a
server) may stop between any two steps: a batch owns its activations, so others can run meanwhile.

The layer: RMSNorm, fused q-k-v projection, rotary embedding and cache write, attention, output projection;
RMSNorm, fused gate-up projection, SiLU times up, down projection. Both residual additions are in the epilogue of
the projection before them (o_proj, down_proj), which saves a launch. In place of those three, a mixture of experts
has a router (the best of a softmax), tokens sorted by expert (dispatch), two grouped projections (expert_gate_up,
expert_down) with the router's weights on the activations between them, and each token's outputs added up (combine).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from flowsim.calibration.attention import KERNELS, PADDING, Choice, Kernel
from flowsim.calibration.models import ModelSpec
from flowsim.errors import InputError
from flowsim.forward import LAYER_OPERATORS, check_cut, segments

REDUCED_BY = {"o_proj": "all_reduce_attn", "down_proj": "all_reduce_mlp", "combine": "all_reduce_mlp"}
"""The operators whose outputs tensor-parallel ranks sum up, and what does it."""
Tensor = Any
Ids = Sequence[int] | np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class CacheSlice:
    """`tokens` new tokens of a sequence that has `context` in the cache, whose first row there is `start`."""

    tokens: int
    context: int = 0
    start: int = 0


class Rope(NamedTuple):
    """What the rotary embedding of a pass reads and writes, as views made once; pairs are (first, second) half.

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
    queries: list[Tensor]  # [1, heads, tokens + padding, head_dim] of each slice, rotated
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
    """One operator at its place: `layer` is -1 for embed and the number of layers for head."""

    operator: str
    layer: int
    run: Callable[[Batch], None]


class Decoder:
    """Random weights in the shapes of `spec` and a cache of `rows` tokens, on one device.

    `layers` (all of them unless told) are distinct, so that no cache of the GPU holds the next one's weights, and
    what lies in the rows unwritten is noise. All randomness comes from `seed`. `attention` names the kernel for a
    chunk. Launch under `torch.inference_mode()`.

    As one of several tensor-parallel ranks it is of a shard, and `reduce` sums a tensor over the ranks, in place. Only
    one of them `adds_residual`, so that the sum of the ranks' outputs holds the residual stream once.
    """

    def __init__(
        self,
        spec: ModelSpec,
        device: str,
        *,
        rows: int,
        layers: int | None = None,
        dtype: str = "bfloat16",
        seed: int = 0,
        attention: Choice | None = None,
        reduce: Callable[[Tensor], None] | None = None,
        adds_residual: bool = True,
    ) -> None:
        import torch

        self.spec = spec
        self._reduce, self._kept = reduce, 1.0 if adds_residual else 0.0
        self.device = torch.device(device)
        self.dtype = getattr(torch, dtype)
        self.layers = layers or spec.layers
        self.rows = rows
        self.attention = attention or Choice("flash" if self.device.type == "cuda" else "math")
        self._draw = torch.Generator(self.device).manual_seed(seed)
        shape = (2, rows + PADDING, spec.kv_heads, spec.head_dim)
        self.cache = [self._normal(*shape, scale=1.0) for _ in range(self.layers)]
        self.angles = _rotary_table(spec, rows, self.device, self.dtype)
        self.embedding = self._normal(spec.vocab, spec.hidden, scale=1.0)
        self.weights = [self._layer_weights() for _ in range(self.layers)]
        self.head = self._normal(spec.vocab, spec.hidden)
        self._ids = np.random.default_rng(seed).integers(0, spec.vocab, rows)
        self._twice = np.concatenate([self._ids, self._ids])
        self.program = self._program()

    def prepare(self, slices: Sequence[CacheSlice], ids: Ids | None = None, *, own: bool = False) -> Batch:
        """A new pass over these slices; `ids` are their tokens, concatenated (random ones unless told).

        With `own`, attention reads the keys and values that the pass makes and not the cache: for one slice without
        context that is the same, wherever in the cache they are written to.

        InputError: a slice that the cache or the positions do not hold, or a wrong number of ids.
        """
        import torch

        p = Batch()
        p.slices = tuple(slices)
        p.tokens = total = sum(s.tokens for s in slices)
        self._check(p.slices, total if ids is None else len(ids), total)
        p.staged = torch.from_numpy(self._indices(p.slices, ids))
        if self.device.type == "cuda":
            p.staged = p.staged.pin_memory()
        p.index = p.staged.to(self.device, non_blocking=True)
        p.ids, positions, p.rows = p.index[: 3 * total].view(3, total)
        p.last = p.index[3 * total :]
        self._allocate(p, self.angles.index_select(0, positions), own)
        p.kernels = tuple(KERNELS[self.attention(s.tokens, s.context)] for s in slices)
        return p

    def refill(self, p: Batch, s: CacheSlice, ids: Ids | None = None) -> None:
        """Have a batch of one slice that reads its `own` keys and values carry another, no longer one, and padding.

        Whatever was launched for the batch must have ended. What its padding writes to the cache goes behind the rows.
        InputError: as `prepare` says.
        """
        self._check((s,), s.tokens if ids is None else len(ids), s.tokens)
        staged, n, total = p.staged.numpy(), s.tokens, p.tokens
        staged[:n] = self._ids[:n] if ids is None else ids
        staged[2 * total : 2 * total + n] = np.arange(s.start, s.start + n)
        staged[2 * total + n : 3 * total] = self.rows
        staged[3 * total] = n - 1
        p.index.copy_(p.staged, non_blocking=True)

    def random_ids(self, prompt: int, first: int, tokens: int) -> np.ndarray[Any, Any]:
        """The ids of the tokens from position `first` of the prompt with this number; always the same, and no copy."""
        start = (7919 * prompt + first) % self.rows
        return self._twice[start : start + tokens]

    @property
    def operators(self) -> tuple[str, ...]:
        """The operators of one layer, in order."""
        return tuple(step.operator for step in self.program if step.layer == 0)

    def expert_load(self, p: Batch) -> float:
        """Tokens of the busiest expert over the mean of all, in the last layer that a pass has run."""
        import torch

        counts = torch.bincount(p.chosen.flatten(), minlength=self.spec.experts)
        return float(counts.max() / counts.float().mean())

    def run(self, p: Batch) -> Tensor:
        """Launch the whole pass; returns the next token of each slice, [slices], not yet synchronised."""
        for step in self.program:
            step.run(p)
        return p.next_ids

    def segments(self, cut: str) -> list[list[Callable[[Batch], None]]]:
        """The program in the runs of steps that a check follows at this cut; the last ends with the head."""
        check_cut(cut)
        ends = {part[-1] for part in segments(cut)} if cut not in ("none", "chunk") else set[int]()
        parts: list[list[Callable[[Batch], None]]] = [[]]
        for step, following in zip(self.program, [*self.program[1:], None], strict=True):
            parts[-1].append(step.run)
            if step.layer in range(self.layers) and ends.intersection(_up_to(step, following)):
                parts.append([])
        return parts

    def _check(self, slices: tuple[CacheSlice, ...], given: int, total: int) -> None:
        if not slices or given != total:
            raise InputError(f"ids: found {given} for {total} tokens; allowed: one for each, and at least one slice")
        for s in slices:
            end = s.context + s.tokens
            if s.tokens < 1 or min(s.context, s.start) < 0 or s.start + end > self.rows:
                raise InputError(f"slice: found {s}; allowed: 1 token or more, within {self.rows} cache rows")

    def _indices(self, slices: tuple[CacheSlice, ...], ids: Ids | None) -> np.ndarray[Any, Any]:
        """Ids, positions and cache rows of all tokens, then the last token of each slice, in one array."""
        total = sum(s.tokens for s in slices)
        out = np.empty(3 * total + len(slices), np.int64)
        out[:total] = self._ids[:total] if ids is None else ids
        at = 0
        for i, s in enumerate(slices):
            end = at + s.tokens
            out[total + at : total + end] = np.arange(s.context, s.context + s.tokens)
            out[2 * total + at : 2 * total + end] = np.arange(s.tokens) + (s.start + s.context)
            out[3 * total + i] = end - 1
            at = end
        return out

    def _allocate(self, p: Batch, angles: Tensor, own: bool) -> None:
        """Buffers for q, k and v before and after rotation, and every view of them that the layers need."""
        import torch

        spec = self.spec
        qk, half = spec.heads + spec.kv_heads, spec.head_dim // 2
        make = torch.zeros if own else torch.empty  # kernels read keys and values past the last: they must be finite
        drawn = make(p.tokens + PADDING, spec.qkv_width, device=self.device, dtype=self.dtype)
        padded = make(p.tokens + PADDING, qk, spec.head_dim, device=self.device, dtype=self.dtype)
        p.qkv, rotated = drawn[: p.tokens], padded[: p.tokens]
        cos, sin = angles.unsqueeze(2).unbind(1)
        both, out = p.qkv[:, : qk * 2 * half].view(p.tokens, qk, 2, half), rotated.view(p.tokens, qk, 2, half)
        p.rope = Rope(
            both=both, cos=cos.unsqueeze(2), sin=sin, first=both[:, :, 0], second=both[:, :, 1],
            rotated=out, rotated_first=out[:, :, 0], rotated_second=out[:, :, 1],
            keys=rotated[:, spec.heads :], values=p.qkv.view(p.tokens, -1, spec.head_dim)[:, qk:],
            heads=p.qkv.view(p.tokens, -1, spec.head_dim)[:, :qk],
        )  # fmt: skip
        heads, at, p.queries = padded[:, : spec.heads].transpose(0, 1).unsqueeze(0), 0, []
        for s in p.slices:
            p.queries.append(heads.narrow(2, at, s.tokens + PADDING))
            at += s.tokens
        values = drawn.view(p.tokens + PADDING, -1, spec.head_dim)[:, qk:]
        p.own = tuple(x.transpose(0, 1).unsqueeze(0) for x in (padded[:, spec.heads :], values)) if own else None

    def _normal(self, *shape: int, scale: float | None = None) -> Tensor:
        """Gaussian weights; by default of the scale that keeps the size of what they multiply."""
        import torch

        out = torch.empty(shape, device=self.device, dtype=self.dtype)
        return out.normal_(0.0, shape[-1] ** -0.5 if scale is None else scale, generator=self._draw)

    def _added(self, width: int) -> float:
        """Scale of weights whose output is added to the residual stream, one of two in each layer of the whole model.

        They are smaller by the root of that number (Radford et al., GPT-2, 2019, section 2.3). Without that the tokens
        of random weights grow alike from layer to layer, and all go to the same experts.
        """
        return float((2 * self.spec.layers * width) ** -0.5)

    def _layer_weights(self) -> dict[str, Tensor]:
        import torch

        s = self.spec
        ones = torch.ones(s.hidden, device=self.device, dtype=self.dtype)
        return {
            "norm_attn": ones,
            "qkv": self._normal(s.qkv_width, s.hidden),
            "qkv_bias": self._normal(s.qkv_width) if s.qkv_bias else None,
            "o": self._normal(s.hidden, s.heads * s.head_dim, scale=self._added(s.heads * s.head_dim)),
            "norm_mlp": ones.clone(),
        } | (self._expert_weights() if s.experts else self._mlp_weights())

    def _mlp_weights(self) -> dict[str, Tensor]:
        s = self.spec
        return {
            "gate_up": self._normal(2 * s.intermediate, s.hidden),
            "down": self._normal(s.hidden, s.intermediate, scale=self._added(s.intermediate)),
        }

    def _expert_weights(self) -> dict[str, Tensor]:
        s = self.spec
        return {
            "router": self._normal(s.experts, s.hidden),
            "gate_up": self._normal(s.experts, 2 * s.intermediate, s.hidden),
            "down": self._normal(s.experts, s.hidden, s.intermediate, scale=self._added(s.intermediate)),
        }

    def _program(self) -> list[Step]:
        steps = [Step("embed", -1, self._embed())]
        for layer in range(self.layers):
            w = self.weights[layer]
            mlp_half = self._expert_half(w) if self.spec.experts else self._mlp_half(w)
            for name, run in (*self._attention_half(layer, w), *mlp_half):
                steps.append(Step(name, layer, run))
                if self._reduce and name in REDUCED_BY:
                    steps.append(Step(REDUCED_BY[name], layer, self._all_reduce()))
        return [*steps, Step("head", self.layers, self._head())]

    def _all_reduce(self) -> Callable[[Batch], None]:
        reduce = self._reduce
        assert reduce is not None

        def all_reduce(p: Batch) -> None:
            reduce(p.hidden)

        return all_reduce

    # Each method below binds an operator's weights once: a call costs the host little but the launches.

    def _embed(self) -> Callable[[Batch], None]:
        table = self.embedding

        def embed(p: Batch) -> None:
            p.hidden = table.index_select(0, p.ids)

        return embed

    def _attention_half(self, layer: int, w: dict[str, Tensor]) -> list[tuple[str, Callable[[Batch], None]]]:
        import torch

        spec, eps = self.spec, self.spec.norm_eps
        shape, bias, norm = (spec.hidden,), w["qkv_bias"], w["norm_attn"]
        qkv_t, o_t = w["qkv"].t(), w["o"].t()
        rms_norm, mm, addmm, mul, cat = torch.rms_norm, torch.mm, torch.addmm, torch.mul, torch.cat
        kept, width, per_head = self._kept, spec.heads * spec.head_dim, (spec.head_dim,) if spec.qk_norm else None
        qk_weights = torch.ones(spec.heads + spec.kv_heads, spec.head_dim, device=self.device, dtype=self.dtype)
        k_cache, v_cache = self.cache[layer]
        keys, values = (c.unsqueeze(0).transpose(1, 2) for c in (k_cache, v_cache))

        def norm_attn(p: Batch) -> None:
            p.normed = rms_norm(p.hidden, shape, norm, eps)

        def qkv_proj(p: Batch) -> None:
            if bias is None:
                mm(p.normed, qkv_t, out=p.qkv)
            else:
                addmm(bias, p.normed, qkv_t, out=p.qkv)

        def rope_kv(p: Batch) -> None:
            r = p.rope
            if per_head is not None:
                r.heads.copy_(rms_norm(r.heads, per_head, None, eps).mul_(qk_weights))
            mul(r.both, r.cos, out=r.rotated)
            r.rotated_first.addcmul_(r.second, r.sin, value=-1.0)
            r.rotated_second.addcmul_(r.first, r.sin)
            k_cache.index_copy_(0, p.rows, r.keys)
            v_cache.index_copy_(0, p.rows, r.values)

        def attention(p: Batch) -> None:
            parts = []
            k, v = p.own or (keys, values)
            for q, s, kernel in zip(p.queries, p.slices, p.kernels, strict=True):
                out = kernel(q, k, v, s.start, s.tokens, s.context)
                parts.append(out.transpose(1, 2).reshape(-1, width).narrow(0, 0, s.tokens))
            p.attended = parts[0] if len(parts) == 1 else cat(parts)

        def o_proj(p: Batch) -> None:
            p.hidden.addmm_(p.attended, o_t, beta=kept)

        steps = (norm_attn, qkv_proj, rope_kv, attention, o_proj)
        return [(f.__name__, f) for f in steps]

    def _mlp_half(self, w: dict[str, Tensor]) -> list[tuple[str, Callable[[Batch], None]]]:
        import torch

        shape, eps, norm = (self.spec.hidden,), self.spec.norm_eps, w["norm_mlp"]
        gate_up_t, down_t, kept = w["gate_up"].t(), w["down"].t(), self._kept
        rms_norm, mm, silu = torch.rms_norm, torch.mm, torch.nn.functional.silu

        def norm_mlp(p: Batch) -> None:
            p.normed = rms_norm(p.hidden, shape, norm, eps)

        def gate_up_proj(p: Batch) -> None:
            p.gate_up = mm(p.normed, gate_up_t)

        def activation(p: Batch) -> None:
            gate, up = p.gate_up.chunk(2, 1)
            p.activation = silu(gate).mul_(up)

        def down_proj(p: Batch) -> None:
            p.hidden.addmm_(p.activation, down_t, beta=kept)

        return [(f.__name__, f) for f in (norm_mlp, gate_up_proj, activation, down_proj)]

    def _expert_half(self, w: dict[str, Tensor]) -> list[tuple[str, Callable[[Batch], None]]]:
        import torch

        shape, eps, norm = (self.spec.hidden,), self.spec.norm_eps, w["norm_mlp"]
        router_t, gate_up_t, down_t = w["router"].t(), w["gate_up"].mT, w["down"].mT
        rms_norm, mm, silu, grouped_mm = torch.rms_norm, torch.mm, torch.nn.functional.silu, torch._grouped_mm
        kept, best, bounds = (
            self._kept,
            self.spec.experts_per_token,
            torch.arange(self.spec.experts, device=self.device),
        )

        def norm_mlp(p: Batch) -> None:
            p.normed = rms_norm(p.hidden, shape, norm, eps)

        def router(p: Batch) -> None:
            shares, p.chosen = mm(p.normed, router_t).softmax(1).topk(best, dim=1)
            p.shares = shares.div_(shares.sum(1, keepdim=True)).view(-1, 1)

        def dispatch(p: Batch) -> None:
            ordered, p.order = p.chosen.flatten().sort()
            p.ends = torch.searchsorted(ordered, bounds, right=True, out_int32=True)
            p.gathered = p.normed.index_select(0, p.order // best)

        def expert_gate_up(p: Batch) -> None:
            p.gate_up = grouped_mm(p.gathered, gate_up_t, offs=p.ends)

        def expert_activation(p: Batch) -> None:
            gate, up = p.gate_up.chunk(2, 1)
            p.activation = silu(gate).mul_(up).mul_(p.shares.index_select(0, p.order))

        def expert_down(p: Batch) -> None:
            p.gathered = grouped_mm(p.activation, down_t, offs=p.ends)

        def combine(p: Batch) -> None:
            spread = torch.empty_like(p.gathered).index_copy_(0, p.order, p.gathered).view(p.tokens, best, shape[0])
            if kept:
                p.hidden.add_(spread.sum(1))
            else:
                torch.sum(spread, 1, out=p.hidden)

        steps = (norm_mlp, router, dispatch, expert_gate_up, expert_activation, expert_down, combine)
        return [(f.__name__, f) for f in steps]

    def _head(self) -> Callable[[Batch], None]:
        import torch

        spec, norm = self.spec, torch.ones(self.spec.hidden, device=self.device, dtype=self.dtype)
        head_t = self.head.t()

        def head(p: Batch) -> None:
            normed = torch.rms_norm(p.hidden.index_select(0, p.last), (spec.hidden,), norm, spec.norm_eps)
            p.logits = torch.mm(normed, head_t)
            p.next_ids = p.logits.argmax(1)

        return head


def _up_to(step: Step, following: Step | None) -> range:
    """Places in LAYER_OPERATORS of this step and of those behind it that the model lacks."""
    at = LAYER_OPERATORS.index(step.operator)
    inside = following is not None and following.layer == step.layer
    return range(at, LAYER_OPERATORS.index(following.operator) if inside and following else len(LAYER_OPERATORS))


def _rotary_table(spec: ModelSpec, rows: int, device: Any, dtype: Any) -> Tensor:
    """Cosines and sines of the first `rows` positions, [rows, 2, head_dim / 2] (Su et al., RoFormer, 2021)."""
    import torch

    exponents = torch.arange(0, spec.head_dim, 2, device=device, dtype=torch.float64) / spec.head_dim
    angles = torch.arange(rows, device=device, dtype=torch.float64)[:, None] / spec.rope_theta**exponents
    return torch.stack([angles.cos(), angles.sin()], 1).to(dtype)
