"""The decoder that is measured: a transformer with random weights, written operator by operator.

`Decoder.program` is the list of its steps, in order; `Decoder.prepare` creates a `Batch`, which carries everything that
a forward needs; `step.run(batch)` launches one operator. A stopwatch or a server that drives a forward may stop between
any two steps: a batch owns its activations, so others can run meanwhile.

The layer: RMSNorm, fused q-k-v projection, rotary embedding and cache write, attention, output projection; RMSNorm,
fused gate-up projection, SiLU times up, down projection. Both residual additions are in the epilogue of the projection
before them (o_proj, down_proj), which saves a launch. Instead of the last three, a mixture of experts has a router
(the largest of a softmax), tokens sorted by expert (dispatch), two grouped projections (expert_gate_up, expert_down)
with the router's weights on the activations between them, and the sum of each token's outputs (combine).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flowsim.calibration.costs.attention.kernels import Choice
from flowsim.calibration.costs.models import ModelSpec
from flowsim.calibration.gpu.attention import KERNELS, PADDING
from flowsim.calibration.gpu.batch import Batch, CacheSlice, Ids, Step, Tensor, allocate, check_slices, indices
from flowsim.calibration.gpu.fp8 import fp8_weight
from flowsim.calibration.gpu.layer import attention_operators, expert_operators, mlp_operators
from flowsim.core.operators import LAYER_OPERATORS, check_cut, segments

REDUCED_BY = {"o_proj": "all_reduce_attn", "down_proj": "all_reduce_mlp", "combine": "all_reduce_mlp"}
"""The operators whose outputs are summed over tensor-parallel ranks, and the operator that does it."""


class Decoder:
    """Random weights in the shapes of `spec` and a cache of `rows` tokens, on one device.

    To be launched under `torch.inference_mode()`.

    Args:
        spec: the model, or its shard on one tensor-parallel rank.
        device: "cuda", "cpu", or one of several GPUs.
        rows: tokens of the cache; rows that were not written hold noise.
        layers: all layers of the model if None. They are distinct, so that no cache of the GPU holds the next layer's
            weights.
        dtype: torch's name of the type of activations, and of weights that are not in FP8.
        seed: of all randomness.
        attention: the choice of kernels.
        reduce: sums a tensor over the ranks, in place.
        adds_residual: true on one rank only, so that the sum of the ranks' outputs holds the residual stream once.
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
        """A new batch over these slices.

        Args:
            slices: of sequences.
            ids: their tokens, concatenated; random ones if None.
            own: whether attention reads the keys and values that the batch computes, not the cache's: for one slice
                without context they are the same, wherever in the cache they are written.

        Raises:
            InputError: a slice does not fit the cache, or the number of ids is wrong.
        """
        import torch

        p = Batch()
        p.slices = tuple(slices)
        p.tokens = total = sum(s.tokens for s in slices)
        check_slices(p.slices, total if ids is None else len(ids), self.rows)
        p.staged = torch.from_numpy(indices(p.slices, self._ids[:total] if ids is None else ids))
        if self.device.type == "cuda":
            p.staged = p.staged.pin_memory()
        p.index = p.staged.to(self.device, non_blocking=True)
        p.ids, positions, p.rows = p.index[: 3 * total].view(3, total)
        p.last = p.index[3 * total :]
        allocate(p, self.spec, self.angles.index_select(0, positions), own=own)
        p.kernels = tuple(KERNELS[self.attention(s.tokens, s.context)] for s in slices)
        return p

    def refill(self, p: Batch, s: CacheSlice, ids: Ids | None = None) -> None:
        """Reuse a batch of one slice that reads its `own` keys and values for another slice, no longer, and padding.

        Everything launched for the batch must have ended. Padding is written to the cache past the rows.

        Raises:
            InputError: as in `prepare`.
        """
        check_slices((s,), s.tokens if ids is None else len(ids), self.rows)
        staged, n, total = p.staged.numpy(), s.tokens, p.tokens
        staged[:n] = self._ids[:n] if ids is None else ids
        staged[2 * total : 2 * total + n] = np.arange(s.start, s.start + n)
        staged[2 * total + n : 3 * total] = self.rows
        staged[3 * total] = n - 1
        p.index.copy_(p.staged, non_blocking=True)

    def random_ids(self, prompt: int, first: int, tokens: int) -> np.ndarray[Any, Any]:
        """The ids of a prompt's tokens from position `first`; the same for the same prompt number, and not a copy."""
        start = (7919 * prompt + first) % self.rows
        return self._twice[start : start + tokens]

    @property
    def operators(self) -> tuple[str, ...]:
        """The operators of one layer, in order."""
        return tuple(step.operator for step in self.program if step.layer == 0)

    def expert_load(self, p: Batch) -> float:
        """Tokens of the busiest expert over the mean of all experts, in the last layer that the batch has run."""
        import torch

        counts = torch.bincount(p.chosen.flatten(), minlength=self.spec.experts)
        return float(counts.max() / counts.float().mean())

    def run(self, p: Batch) -> Tensor:
        """Launch the whole pass; returns the next token of each slice, [slices], not yet synchronised."""
        for step in self.program:
            step.run(p)
        return p.next_ids

    def segments(self, cut: str) -> list[list[Callable[[Batch], None]]]:
        """The program divided at the checks of this cut; the last segment ends with the head."""
        check_cut(cut)
        ends = {part[-1] for part in segments(cut)} if cut not in ("none", "chunk") else set[int]()
        parts: list[list[Callable[[Batch], None]]] = [[]]
        for step, following in zip(self.program, [*self.program[1:], None], strict=True):
            parts[-1].append(step.run)
            if step.layer in range(self.layers) and ends.intersection(_up_to(step, following)):
                parts.append([])
        return parts

    def _normal(self, *shape: int, scale: float | None = None) -> Tensor:
        """Gaussian weights; by default scaled to preserve the magnitude of what they multiply."""
        import torch

        out = torch.empty(shape, device=self.device, dtype=self.dtype)
        return out.normal_(0.0, shape[-1] ** -0.5 if scale is None else scale, generator=self._draw)

    def _added(self, width: int) -> float:
        """Scale of weights whose output is added to the residual stream, twice per layer of the whole model.

        They are smaller by the square root of the number of additions (Radford et al., GPT-2, 2019, section 2.3).
        Otherwise, with random weights, tokens become similar from layer to layer and all go to the same experts.
        """
        return float((2 * self.spec.layers * width) ** -0.5)

    def _layer_weights(self) -> dict[str, Tensor]:
        import torch

        s = self.spec
        width = s.heads * s.head_dim
        ones = torch.ones(s.hidden, device=self.device, dtype=self.dtype)
        return {
            "norm_attn": ones,
            **self._linear("qkv", self._normal(s.qkv_width, s.hidden)),
            "qkv_bias": self._normal(s.qkv_width) if s.qkv_bias else None,
            **self._linear("o", self._normal(s.hidden, width, scale=self._added(width))),
            "norm_mlp": ones.clone(),
        } | (self._expert_weights() if s.experts else self._mlp_weights())

    def _linear(self, name: str, weight: Tensor) -> dict[str, Tensor]:
        """A matrix in the type of the model's weights, with its scale if it is in e4m3."""
        if self.spec.weights == "bf16":
            return {name: weight}
        quantised, scale = fp8_weight(weight)
        return {name: quantised, f"{name}_scale": scale}

    def _mlp_weights(self) -> dict[str, Tensor]:
        s = self.spec
        down = self._normal(s.hidden, s.intermediate, scale=self._added(s.intermediate))
        return self._linear("gate_up", self._normal(2 * s.intermediate, s.hidden)) | self._linear("down", down)

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
            first = attention_operators(self.spec, w, self.cache[layer], self._kept)
            second = (expert_operators if self.spec.experts else mlp_operators)(self.spec, w, self._kept)
            for name, run in (*first, *second):
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

    def _embed(self) -> Callable[[Batch], None]:
        table = self.embedding

        def embed(p: Batch) -> None:
            p.hidden = table.index_select(0, p.ids)

        return embed

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
    """Indices in LAYER_OPERATORS of this step and of the following operators that the model lacks."""
    at = LAYER_OPERATORS.index(step.operator)
    inside = following is not None and following.layer == step.layer
    return range(at, LAYER_OPERATORS.index(following.operator) if inside and following else len(LAYER_OPERATORS))


def _rotary_table(spec: ModelSpec, rows: int, device: Any, dtype: Any) -> Tensor:
    """Cosines and sines of the first `rows` positions, [rows, 2, head_dim / 2] (Su et al., RoFormer, 2021)."""
    import torch

    exponents = torch.arange(0, spec.head_dim, 2, device=device, dtype=torch.float64) / spec.head_dim
    angles = torch.arange(rows, device=device, dtype=torch.float64)[:, None] / spec.rope_theta**exponents
    return torch.stack([angles.cos(), angles.sin()], 1).to(dtype)
