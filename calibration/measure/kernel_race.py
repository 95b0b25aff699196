"""Which attention kernel is fastest on this GPU, by chunk and context: a race at every size of the grid."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Sequence

from flowsim.calibration.costs.attention.kernels import Choice
from flowsim.calibration.costs.table_rows import format_slices
from flowsim.calibration.gpu.attention import KERNELS, default_kernel, working_kernels
from flowsim.calibration.gpu.batch import CacheSlice
from flowsim.calibration.gpu.decoder import Decoder
from flowsim.calibration.gpu.memory import enough_memory, ran_out
from flowsim.calibration.measure import stopwatch
from flowsim.calibration.measure.grid import Grid
from flowsim.calibration.measure.measurement_log import MeasurementLog, Rows
from flowsim.calibration.measure.rows import in_microseconds, rounded

TIE = 1.02
"""Of kernels within 2 % of the fastest, the earliest wins."""


def race_kernels(
    stack: Decoder, cells: Sequence[tuple[int, int]], grid: Grid, log: MeasurementLog, without: Collection[str]
) -> tuple[Choice, dict[str, float]]:
    """The fastest kernel at each of these (tokens, context), and the microseconds of each kernel's first call there.

    Raises:
        InputError: no kernel works for the smallest prompt.
    """
    working = log.do("kernels", _working, stack, without)[0]["working"]
    default = default_kernel(working)
    fastest, firsts = {}, dict[str, list[float]]()
    for cell in cells:
        row = log.do(f"kernel {format_slices([cell])}", _race, stack, cell, working, grid)[0]
        fastest[cell] = row.get("winner", default)
        for name, us in row.get("first_call_us", {}).items():
            firsts.setdefault(name, []).append(us)
    return Choice.of(default, fastest), {name: rounded(statistics.median(us)) for name, us in firsts.items()}


def _working(stack: Decoder, without: Collection[str]) -> Rows:
    spec = stack.spec
    with enough_memory(spec.name):  # without kernels there is no other size
        found = working_kernels(spec.heads, spec.kv_heads, spec.head_dim, stack.device, stack.dtype)
    found |= dict.fromkeys(without, "left out")
    broken = [{"note": f"{name} not used: {reason}"} for name, reason in found.items() if reason]
    return [{"working": [name for name, reason in found.items() if not reason]}, *broken]


def _race(stack: Decoder, cell: tuple[int, int], candidates: list[str], grid: Grid) -> Rows:
    """Time each kernel at one size. A kernel that raises is skipped.

    `sdpa` chooses among the others, and makes cuDNN build a plan for every length (40 ms); `math` is slow, and its mask
    is large. Both are only used where nothing else works.
    """
    import torch

    times, firsts, notes = dict[str, float](), dict[str, float](), Rows()
    p = stack.prepare([CacheSlice(*cell)])
    p.queries[0].normal_()
    for name in candidates:
        if name in ("sdpa", "math") and times:
            continue
        p.kernels = (KERNELS[name],)
        try:
            times[name], firsts[name] = stopwatch.time_attention(stack, p, grid.kernel_limits)
        except (ValueError, RuntimeError, MemoryError) as error:
            if ran_out(error):
                notes.append({"note": f"{name} not tried: out of memory"})
                torch.cuda.empty_cache()
    if not times:
        return [{"note": "no attention kernel fits"}, *notes]
    winner = next(name for name in times if times[name] <= TIE * min(times.values()))
    return [{"winner": winner, "device_us": in_microseconds(times), "first_call_us": in_microseconds(firsts)}, *notes]
