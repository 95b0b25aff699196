"""`flowsim.capacity`: the max goodput of policies on the same arrivals, with intervals over replications."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flowsim.errors import InputError
from flowsim.point import Point, replayed
from flowsim.search import Search
from flowsim.study import Study
from flowsim.sweep import Runs, sweep

POLICIES = ("fcfs", "chunked:2048", "flowprefill")
REPLICATIONS, WARMUP = 10, 0.1


def capacity(
    trace: str | Path,
    policies: Sequence[str] = POLICIES,
    *,
    replications: int = REPLICATIONS,
    target: float = 0.9,
    by: str = "all",
    tolerance: float = 0.01,
    out: str | Path | None = None,
    workers: int | None = None,
    dask: str | None = None,
    progress: Callable[..., None] | None = None,
    **options: Any,
) -> Runs:
    """The highest rate that each policy sustains (see `flowsim.search.highest_rate`).

    Args:
        trace: a file, a built-in trace, or "synthetic:PRESET:N".
        policies: specifications.
        replications: of a synthetic trace, seeds from 0; of any other, that many windows of equal length.
        target: share of requests within their TTFT SLO that a rate must reach.
        by: "all" = of all requests, "class" = of each class.
        tolerance: width of the bracket, as a share of the rate.
        out, workers, dask, progress: as `flowsim.sweep` takes them.
        options: of every run, as a study names them; `warmup` is 0.1 unless given.

    Returns:
        A row for each policy and replication: the bracket is max_rate_rps (sustained) and max_rate_high_rps (not).

    Raises:
        InputError: as `flowsim.sweep` does.
    """
    base = {"trace": str(trace), "warmup": WARMUP, **options}
    name, values = _replications(base, replications)
    axes = {"policy": tuple(policies), name: values}
    study = Study(
        base, axes, search=Search(target, by, tolerance), title=f"Max goodput on {trace}", root=str(Path.cwd())
    )
    return sweep(study, out, workers=workers, dask=dask, progress=progress)


def _replications(base: dict[str, Any], n: int) -> tuple[str, tuple[Any, ...]]:
    if n < 1:
        raise InputError(f"replications is {n}, allowed is 1 or more")
    if base["trace"].startswith("synthetic:"):
        return "seed", tuple(range(n))
    span_s = replayed(Point.of(base), str(Path.cwd())).span_s
    edges = [span_s * k / n for k in range(n)]
    return "window", tuple(
        f"{edge:g}:{end}" for edge, end in zip(edges, [*(f"{e:g}" for e in edges[1:]), ""], strict=True)
    )
