"""The roofline of an operator: what it computes and moves, and the least time that this takes on a GPU.

Source: Williams, Waterman and Patterson, Roofline: an insightful visual performance model for multicore architectures,
Communications of the ACM 52 (2009).
"""

from __future__ import annotations

from typing import NamedTuple

from flowsim.calibration.costs.curves import query_key_pairs
from flowsim.calibration.costs.gpus import Gpu
from flowsim.calibration.costs.models import BYTES_PER_VALUE, ModelSpec
from flowsim.errors import InputError


class Work(NamedTuple):
    """What an operator does.

    Attributes:
        flops: floating-point operations of matrix products.
        bytes: that it reads and writes.
        fp8: whether the products are in FP8.
    """

    flops: float
    bytes: float
    fp8: bool = False

    def seconds(self, gpu: Gpu) -> float:
        """The least time on a GPU of this datasheet. InputError: it has no FP8."""
        tflops = gpu.fp8_tflops if self.fp8 else gpu.bf16_tflops
        if tflops is None:
            raise InputError("gpu", f"has no FP8, by {gpu.source}", expected="a model in bf16")
        return max(self.flops / (tflops * 1e12), self.bytes / (gpu.bandwidth_tb_s * 1e12))


class Product(NamedTuple):
    """A matrix product, [tokens * rows, k] x [k, n], whose rows are spread evenly over `copies` of the weights.

    Attributes:
        n: columns of the output.
        k: columns of the input.
        rows: per token.
        copies: experts, or 1.
        weight_bytes: of one weight.
    """

    n: int
    k: int
    rows: int = 1
    copies: int = 1
    weight_bytes: int = BYTES_PER_VALUE

    def work(self, tokens: int, context: int = 0) -> Work:
        """Of as many copies as at least one of these tokens is routed to."""
        m, idle = tokens * self.rows, (1 - self.rows / self.copies) ** tokens
        weights = self.copies * (1 - idle) * self.n * self.k * self.weight_bytes
        moved = m * (self.n + self.k) * BYTES_PER_VALUE + weights
        return Work(2 * m * self.n * self.k, moved, fp8=self.weight_bytes < BYTES_PER_VALUE)


class Attention(NamedTuple):
    """Causal attention of a chunk on its context: two products for each pair of a query and a key."""

    heads: int
    kv_heads: int
    head_dim: int

    def work(self, tokens: int, context: int = 0) -> Work:
        """Of one chunk."""
        values = 2 * self.head_dim * (tokens * self.heads + (tokens + context) * self.kv_heads)
        return Work(4 * self.heads * self.head_dim * float(query_key_pairs(tokens, context)), BYTES_PER_VALUE * values)


class Moved(NamedTuple):
    """An operator without a matrix product.

    Attributes:
        bytes: read and written per token.
    """

    bytes: float

    def work(self, tokens: int, context: int = 0) -> Work:
        """What moving the bytes of this number of tokens takes."""
        return Work(0, tokens * self.bytes)


Shape = Product | Attention | Moved


def shape_of(shard: ModelSpec, operator: str) -> Shape:
    """The shape of an operator on one rank, on which its cost depends."""
    if operator == "attention":
        return Attention(shard.heads, shard.kv_heads, shard.head_dim)
    one, experts = (1, 1, shard.bytes_per_weight), (shard.experts_per_token, shard.experts)
    products = {
        "qkv_proj": Product(shard.qkv_width, shard.hidden, *one),
        "o_proj": Product(shard.hidden, shard.heads * shard.head_dim, *one),
        "gate_up_proj": Product(2 * shard.mlp_width, shard.hidden, *one),
        "down_proj": Product(shard.hidden, shard.mlp_width, *one),
        "expert_gate_up": Product(2 * shard.intermediate, shard.hidden, *experts),
        "expert_down": Product(shard.hidden, shard.intermediate, *experts),
        "head": Product(shard.vocab, shard.hidden),
    }
    return products[operator] if operator in products else Moved(BYTES_PER_VALUE * _values(shard, operator))


def _values(shard: ModelSpec, operator: str) -> float:
    """Values per token that the operators of `flowsim.calibration.gpu.layer` read and write.

    Norms of queries and keys come on top of the rotary embedding: with them it took 2.5 times as long as without
    (qwen3-8b and llama3-8b on an H200).
    """
    rotated = (shard.heads + 2 * shard.kv_heads) * shard.head_dim
    return {
        "embed": 2 * shard.hidden,
        "norm_attn": 2 * shard.hidden,
        "norm_mlp": 2 * shard.hidden,
        "rope_kv": 2 * rotated * (2.5 if shard.qk_norm else 1),
        "activation": 5 * shard.mlp_width,
        "router": shard.hidden + 3 * shard.experts,
        "dispatch": (1 + shard.experts_per_token) * shard.hidden,
        "expert_activation": 5 * shard.experts_per_token * shard.intermediate,
        "combine": (3 * shard.experts_per_token + 2) * shard.hidden,
    }[operator]
