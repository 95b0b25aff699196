"""`flowsim.studies.capacity`: the max goodput of policies on the same arrivals, with intervals over replications."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from flowsim.errors import InputError
from flowsim.io.schema import Name, PositiveCount, fitted
from flowsim.policies.registry import DEFAULT_POLICIES
from flowsim.runs.keywords import paths_of
from flowsim.runs.prepare import SYNTHETIC
from flowsim.runs.workload import window_text
from flowsim.studies.point import Point, part_of
from flowsim.studies.replications import REPLICATION
from flowsim.studies.search import Search
from flowsim.studies.study import Study
from flowsim.studies.sweep import Runs, sweep

REPLICATIONS, WARMUP = 10, 0.1
SEARCH = Search()


def capacity(
    trace: str | Path | Sequence[str | Path],
    policies: Sequence[str] = DEFAULT_POLICIES,
    *,
    replications: int = REPLICATIONS,
    target: float = SEARCH.target,
    by: Literal["all", "class"] = SEARCH.by,
    tolerance: float = SEARCH.tolerance,
    out: str | Path | None = None,
    workers: int | None = None,
    dask: str | None = None,
    progress: Callable[..., None] | None = None,
    **options: Any,
) -> Runs:
    """The highest rate that each policy sustains (see `flowsim.studies.search.highest_rate`).

    Args:
        trace: a file, a built-in trace, or "synthetic:PRESET:N"; or several.
        policies: specifications.
        replications: of a synthetic trace, seeds from `seed`; of any other, that many windows of equal length. A
            prefix cache is empty at the beginning of each.
        target: share of requests within their TTFT SLO that a rate must reach.
        by: "all" = of all requests, "class" = of each class.
        tolerance: width of the bracket, as a share of the rate.
        out, workers, dask, progress: as `flowsim.studies.sweep` takes them.
        options: of every run, as a study names them; a list of values is an axis. `warmup` is 0.1 unless given.

    Returns:
        A row for each policy, replication and value of an axis: the bracket is max_rate_rps (sustained) and
        max_rate_high_rps (not).

    Raises:
        InputError: as `flowsim.studies.sweep` does; also for a list of seeds or windows, which the replications make,
            and for a limit of a trace that is cut into windows.
    """
    replications = fitted(replications, PositiveCount, "replications")
    policies = fitted(policies, Sequence[Name], "policies")
    options = paths_of(options)
    for name in REPLICATION:
        if isinstance(options.get(name), list | tuple):
            raise InputError(name, "is a list, but the replications make these", expected=f"one {name}")
    traces = [str(trace)] if isinstance(trace, str | Path) else list(map(str, fitted(trace, Sequence[Any], "trace")))
    axes = {name: tuple(values) for name, values in options.items() if isinstance(values, list | tuple)}
    base = {"warmup": WARMUP, **{name: value for name, value in options.items() if name not in axes}}
    listed = tuple({"trace": name, **own} for name in traces for own in _replications(name, base, replications))
    study = Study(
        base,
        {**axes, "policy": tuple(policies)},
        listed,
        tuple(range(len(listed))),
        Search(target, by, tolerance),
        title=f"Max goodput on {', '.join(Path(name).name for name in traces)}",
        root=str(Path.cwd()),
    )
    return sweep(study, out, workers=workers, dask=dask, progress=progress)


def _replications(trace: str, base: Mapping[str, Any], n: int) -> list[dict[str, Any]]:
    """What makes each replication: a seed, or a window within the one that `base` asks for, if it does."""
    point = Point.of({"trace": trace, **base}).options
    if trace.startswith(SYNTHETIC):
        return [{"seed": point.seed + k} for k in range(n)]
    workload = point.workload
    if workload.limit is not None and n > 1:
        problem = f"is {workload.limit}, but the replications are windows of {trace}"
        raise InputError("workload.limit", problem, expected="a window")
    start_s, end_s = workload.period_s or (0.0, math.inf)
    span_s = part_of(trace, str(Path.cwd()), workload, seed=point.seed).span_s
    if not span_s:
        raise InputError(trace, "all requests arrive at one instant", expected="a trace that spans some time")
    edges = [start_s + span_s * k / n for k in range(n)] + [end_s]
    return [{"workload.window": window_text(pair)} for pair in pairwise(edges)]
