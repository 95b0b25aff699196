"""Getting a model ready to serve on the device at hand: whether it fits, its attention kernels, and everything warm."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator

from flowsim.calibration.costs.attention.kernels import Choice, kernel_choice
from flowsim.calibration.costs.models import BYTES_PER_VALUE, ModelSpec
from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.gpu.attention import KERNELS, PADDING
from flowsim.calibration.gpu.batch import CacheSlice
from flowsim.calibration.gpu.decoder import Decoder
from flowsim.calibration.gpu.machine import check_measurable, dtype_of
from flowsim.calibration.gpu.memory import enough_memory
from flowsim.calibration.gpu_engine.runner import synchroniser
from flowsim.errors import InputError

UNSERVABLE = ("split",)
"""Kernels for which cuDNN builds a new plan for each length: some 40 ms at its first call, while serving."""
FORWARDS = 6
"""Forwards of full size whose activations the memory must hold: the running one, and paused ones."""
MET_TOKENS = 4096
"""Longer forwards wait for the device alone. Shorter ones may wait for what the host does when it meets a number of
tokens for the first time: it chooses matrix kernels, and loads them, which took 1 to 4 ms on an H200 (llama3-8b)."""
HEAT_S = 0.5
"""How long to keep the device busy before it counts as warm."""
LESS = "use a smaller model, or less --kv-tokens or --max-batched-tokens"
"""What to try when the memory is not enough."""


def serving_decoder(
    spec: ModelSpec,
    table: OperatorTable,
    device: str,
    *,
    rows: int,
    max_batched_tokens: int,
    recorded_tokens: int = 0,
    seed: int = 0,
) -> Decoder:
    """The whole model with its KV cache.

    Args:
        table: whose attention kernels it uses, but for those that cannot serve.
        rows: tokens of the KV cache.
        max_batched_tokens: most tokens of one forward.
        recorded_tokens: of all forwards that are to be recorded, whose buffers stay.

    Raises:
        InputError: it does not fit.
    """
    check_memory(spec, device, rows, max_batched_tokens, recorded_tokens)
    with enough_memory(spec.name, LESS):
        attention = servable(kernel_choice(table))
        return Decoder(spec, device, rows=rows, dtype=dtype_of(device), seed=seed, attention=attention)


def servable(choice: Choice) -> Choice:
    """The same choice of kernels, with the default in place of those that cannot serve or are not torch's."""
    used = {kernel for _, _, kernels in choice.rows for kernel in kernels}
    default = "flash" if "cudnn" in used else choice.default
    return choice.among(KERNELS.keys() - set(UNSERVABLE), default)


def check_memory(spec: ModelSpec, device: str, rows: int, max_batched_tokens: int, recorded_tokens: int = 0) -> None:
    """Raise `InputError` unless weights, a cache of `rows` tokens, some forwards and recordings fit the free memory."""
    check_measurable(spec, device)
    import torch

    if device != "cuda":
        return
    gc.collect()
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    widths = 4 * spec.hidden + 2 * spec.qkv_width + 3 * spec.intermediate * max(1, spec.experts_per_token)
    parts = {
        "weights": spec.weight_bytes,
        "KV cache": spec.kv_bytes_per_token * (rows + PADDING),
        "activations": (FORWARDS * max_batched_tokens + recorded_tokens) * widths * BYTES_PER_VALUE,
    }
    if sum(parts.values()) > 0.97 * free:
        needs = ", ".join(f"{name} {size / 2**30:.1f}" for name, size in parts.items())
        raise InputError(
            spec.name,
            f"does not fit the {free / 2**30:.1f} GiB of GPU memory that are free; in GiB it needs: {needs}",
            expected="less, with --kv-tokens, --max-batched-tokens or --graph-tokens",
        )


def warm_up(decoder: Decoder, largest: int, longest: int) -> Iterator[None]:
    """Run everything that is slow the first time once: kernels' plans, memory pools; then go on until clocks are up.

    To be called in the thread that will serve (`Runner.call`): handles and plans belong to a thread. Yields between
    any two layers, where it may be left.

    Args:
        largest: tokens of the largest forward; `longest`: of the longest prompt.
    """
    synchronise = synchroniser(decoder.device)
    until_attention = next(i for i, step in enumerate(decoder.program) if step.operator == "attention") + 1
    sizes = range(PADDING, largest + PADDING, PADDING) if decoder.device.type == "cuda" else ()
    contexts = sorted({longest - largest, longest - 1, largest} & set(range(1, longest)))
    chunks = [CacheSlice(min(largest, longest - context), context) for context in contexts]
    powers = [1 << n for n in range(largest.bit_length())]
    shortest = [*decoder.program[: 1 + len(decoder.operators)], decoder.program[-1]]
    for tokens in range(1, min(largest, MET_TOKENS) + 1) if decoder.device.type == "cuda" else ():
        p = decoder.prepare([CacheSlice(tokens)])
        for step in shortest:
            step.run(p)
        yield
    for tokens in sizes:
        p = decoder.prepare([CacheSlice(min(tokens, largest))])
        for step in decoder.program[:until_attention]:
            step.run(p)
        yield
    for slices in [[CacheSlice(n)] for n in powers] + [[chunk] for chunk in chunks] + [[CacheSlice(largest)]]:
        yield from forward(decoder, slices, synchronise)
    end = time.perf_counter() + (HEAT_S if decoder.device.type == "cuda" else 0.0)
    while time.perf_counter() < end:
        yield from forward(decoder, [CacheSlice(largest)], synchronise)


def forward(decoder: Decoder, slices: list[CacheSlice], synchronise: Callable[[], None]) -> Iterator[None]:
    """One forward; the device lags by at most a layer."""
    p = decoder.prepare(slices)
    for segment in decoder.segments("layer"):
        for run in segment:
            run(p)
        synchronise()
        yield
