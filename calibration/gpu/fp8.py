"""Linear operators in FP8: weights in e4m3 with one scale per matrix, activations cast with a fixed scale.

This is static per-tensor quantisation, as vLLM and SGLang run FP8 checkpoints whose activation scales are stored: one
cast of the activations, and one matrix product that scales its output to the type of the residual stream. Random
activations need no scale: after a norm they are far within e4m3's range, 448 (Micikevicius et al., FP8 Formats for Deep
Learning, arXiv 2209.05433).
"""

from __future__ import annotations

from collections.abc import Callable

from flowsim.calibration.gpu.batch import Tensor

LARGEST_E4M3 = 448.0


def fp8_weight(weight: Tensor) -> tuple[Tensor, Tensor]:
    """The weight in e4m3, and the scale that gives it back: one float32, so that the largest value is e4m3's."""
    import torch

    scale = (weight.abs().max().float() / LARGEST_E4M3).clamp_(min=torch.finfo(torch.float32).tiny)
    return (weight / scale).to(torch.float8_e4m3fn), scale


def fp8_product(weight: Tensor, scale: Tensor, bias: Tensor | None = None) -> Callable[..., Tensor]:
    """The function (x, out) -> x weight^T + bias, in the type of `x` [tokens, inputs].

    `out` [tokens, outputs] is written if it is given.

    Args:
        weight: [outputs, inputs], in e4m3.
        scale: of the weight.
        bias: [outputs].
    """
    import torch

    transposed, one, e4m3, multiply = weight.t(), torch.ones_like(scale), torch.float8_e4m3fn, torch._scaled_mm

    def product(x: Tensor, out: Tensor | None = None) -> Tensor:
        x8 = x.to(e4m3)
        return multiply(
            x8, transposed, scale_a=one, scale_b=scale, bias=bias, out_dtype=x.dtype, use_fast_accum=True, out=out
        )

    return product
