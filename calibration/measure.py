"""Calibration: measure a model's operators and passes on this machine's GPU, and write down how.

Sizes are taken in random order, so that drift does not look like a trend. Device times come from whole layers in
place; whole passes of the full model, at sizes off the grid, are kept apart to state the error of a fit.
"""

from __future__ import annotations

import json
import platform
import random
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flowsim.calibration import timing
from flowsim.calibration.attention import PADDING, Choice, working_kernels
from flowsim.calibration.models import ModelSpec
from flowsim.calibration.monitor import driver_version, gpu_state
from flowsim.calibration.operators import Decoder, Slice
from flowsim.calibration.table import (
    LAYER_OPERATORS,
    SCHEMA_VERSION,
    OperatorRow,
    OperatorTable,
    PassRow,
    format_slices,
    parse_slices,
)
from flowsim.calibration.timing import Limits
from flowsim.errors import InputError

Progress = Callable[[int, int, str], None]
Rows = list[dict[str, Any]]

_UNCHECKED = tuple(
    "5@0 23@0 75@0 150@0 200@0 300@0 437@0 600@0 777@0 1000@0 1100@0 1500@0 1900@0 2500@0 3000@0 3500@0 5000@0 "
    "6000@0 7000@0 7900@0 10000@0 14000@0 300@1000 512@15872 700@3000 1000@6000 1500@20000 2048@14336 3000@50000 "
    "300@0+700@0 190@0+190@0+190@0+190@0+190@0 1000@0+500@2000 60@0+90@0+40@0 512@8192+300@0".split()
)
_CHECKED = tuple(
    "5@0 75@0 150@0 300@0 437@0 777@0 1000@0 1500@0 2500@0 5000@0 7900@0 300@1000 1000@6000 300@0+700@0".split()
)


@dataclass(frozen=True)
class Grid:
    """Which sizes to measure, in tokens, and how often."""

    tokens: tuple[int, ...] = (
        *(1, 2, 4, 8, 16, 32, 48, 64, 96, 128),
        *range(192, 513, 64),
        *range(640, 2049, 128),
        *range(2304, 4097, 256),
        *range(4608, 8193, 512),
        *(12288, 16384, 24576, 32768),
    )
    chunk_tokens: tuple[int, ...] = (16, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
    chunk_contexts: tuple[int, ...] = (16, 256, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072)
    sequences: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128)
    prepared: tuple[int, ...] = (1, 16, 64, 256, 1024, 4096, 16384)
    queues: tuple[int, ...] = (1, 4, 16, 64, 256, 1024)
    kernel_tokens: tuple[int, ...] = (16, 64, 256, 1024, 4096, 8192)
    kernel_contexts: tuple[int, ...] = (0, 256, 1024, 4096, 16384, 65536)
    passes: tuple[str, ...] = _UNCHECKED
    checked_passes: tuple[str, ...] = _CHECKED
    cuts: tuple[str, ...] = ("layer", "block", "operator")
    extra: int = 24  # sizes added where the line between neighbours misses by more than 2 %
    layers: int = 6  # of the stack in which operators are timed
    limits: Limits = field(default_factory=Limits)

    def within(self, longest: int) -> Grid:
        """This grid without the sizes that a model of this longest context does not reach."""
        sizes = {
            name: tuple(n for n in getattr(self, name) if n <= longest)
            for name in ("tokens", "chunk_tokens", "chunk_contexts", "prepared", "kernel_tokens", "kernel_contexts")
        }
        passes = {
            name: tuple(s for s in getattr(self, name) if all(t + c <= longest for t, c in parse_slices(s)))
            for name in ("passes", "checked_passes")
        }
        return Grid(**{**self.__dict__, **sizes, **passes})


QUICK = Grid(
    tokens=(1, 16, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384),
    chunk_tokens=(64, 512, 2048),
    chunk_contexts=(1024, 8192, 32768),
    sequences=(1, 4, 16, 64),
    prepared=(1, 256, 4096),
    kernel_tokens=(64, 512, 4096),
    kernel_contexts=(0, 1024, 16384),
    passes=("75@0", "300@0", "1100@0", "3000@0", "7900@0", "512@15872", "300@0+700@0"),
    checked_passes=("300@0", "1100@0", "5000@0"),
    extra=4,
    limits=Limits(4, 20, 0.2),
)
"""Fewer sizes and repeats, for a look within a minute."""


def calibrate(
    spec: ModelSpec,
    gpu: str | None = None,
    *,
    quick: bool = False,
    grid: Grid | None = None,
    device: str = "cuda",
    seed: int = 0,
    progress: Progress | None = None,
    journal: str | Path | None = None,
) -> OperatorTable:
    """Measure this model's operators and passes here, with random weights, on one GPU (tensor parallelism 1).

    `gpu` is the table's name for the GPU (from its own name unless told); `grid` overrides the sizes; `progress` is
    called with (done, total, what) after every size. Finished sizes are appended to `journal` and not measured
    again when the same calibration is started anew. A size that does not fit the memory is skipped and noted.
    InputError: no torch, no such device, or the journal of another calibration.
    """
    torch = _torch(device)
    grid = (grid or (QUICK if quick else Grid())).within(spec.max_context)
    where = _whereabouts(torch.device(device), gpu)
    identity = {"spec": asdict(spec), "grid": asdict(grid), "seed": seed, **where}
    log = Journal(journal, identity, progress or (lambda done, total, what: None))
    with timing.undisturbed(), gpu_state(_gpu_id(torch.device(device))) as state:
        _Calibration(spec, grid, device, seed, log).run()
    notes = [f"{key}: {row['note']}" for key, rows in log.rows.items() for row in rows if "note" in row]
    provenance = {
        "schema_version": SCHEMA_VERSION, "gpu": where["gpu"], "gpu_name": where["gpu_name"],
        "model": spec.name, "layers": spec.layers, "tp": 1, "dtype": _dtype(device), **where["software"],
        "date": datetime.now(UTC).date().isoformat(), **state, "seed": seed, "notes": notes,
    }  # fmt: skip
    return OperatorTable(provenance, log.collect(OperatorRow, "operator"), log.collect(PassRow, "cut"))
