"""`flowsim.studies.capacity`: the max goodput of policies on the same arrivals, with intervals over replications."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from flowsim.core.policy import Policy
from flowsim.errors import InputError
from flowsim.io.counts import number_of
from flowsim.io.schema import Name, PositiveCount, fitted
from flowsim.policies.registry import DEFAULT_POLICIES
from flowsim.runs.keywords import paths_of, policy_text
from flowsim.runs.prepare import SYNTHETIC
from flowsim.runs.workload import window_text
from flowsim.studies.point import Point, window_of
from flowsim.studies.replications import REPLICATION
from flowsim.studies.search import FEWEST_REQUESTS, Search
from flowsim.studies.study import Study
from flowsim.studies.sweep import Runs, sweep

REPLICATIONS, WARMUP = 10, 0.1
SEARCH = Search()
Names = Sequence[Name]


def capacity(
    trace: str | Path | Sequence[str | Path],
    policies: Sequence[Policy | str] = DEFAULT_POLICIES,
    *,
    replications: int = REPLICATIONS,
    target: float | str | Mapping[str, float] = SEARCH.target,
    weights: str | Mapping[str, float] | None = SEARCH.weights,
    tolerance: float = SEARCH.tolerance,
    out: str | Path | None = None,
    workers: int | None = None,
    dask: str | None = None,
    progress: Callable[..., None] | None = None,
    **options: Any,
) -> Runs:
    """The max goodput of each policy by both rules (see `flowsim.studies.search.highest_rates`).

    Args:
        trace: a file, a built-in trace, or "synthetic:PRESET:N"; or several.
        policies: policies, or their specifications.
        replications: of a synthetic trace, seeds from `seed`; of any other, that many windows of equal length, or fewer
            if one would have less than 30 requests per instance. A prefix cache is empty at the beginning of each.
        target: share of requests within their TTFT SLO that a rate must reach: of all (0.9), or of each class named
            ("text=.99,search=.9", or a mapping; "*" stands for each other class).
        weights: how much a request of each class counts in the share of all; 1 if not named ("*": the weight of those).
        tolerance: the most by which two neighbouring rates differ, as a share.
        out, workers, dask, progress: as `flowsim.studies.sweep` takes them.
        options: of every run, as a study names them; a list of values is an axis. `warmup` is 0.1 unless given;
            `bound=True` adds bound_rate_rps, the rate that no scheduler reaches (`flowsim.studies.bound_rate`).

    Returns:
        A row for each policy, replication and value of an axis. max_rate_attainment_rps is the highest rate tried that
        meets the target, max_rate_sustained_rps the highest at which the queue also empties again and again.

    Raises:
        InputError: as `flowsim.studies.sweep` does; also for a list of seeds or windows, which the replications make,
            and for a limit of a trace that is cut into windows.
    """
    replications = fitted(replications, PositiveCount, "replications")
    listed_policies = isinstance(policies, list | tuple)
    specs = fitted([policy_text(policy) for policy in policies] if listed_policies else policies, Names, "policies")
    search = Search(target, weights, tolerance)
    options = paths_of(options, "policies")
    for name in REPLICATION:
        if isinstance(options.get(name), list | tuple):
            raise InputError(name, "is a list, but the replications make these", expected=f"one {name}")
    names = _trace_names(trace)
    if not policies:
        raise InputError("policies", found=policies, expected="one or more")
    axes = {name: tuple(values) for name, values in options.items() if isinstance(values, list | tuple)}
    base = {"warmup": WARMUP, **{name: value for name, value in options.items() if name not in axes}}
    instances = fitted(axes.get("server.instances", [1]), Sequence[PositiveCount], "server.instances")
    made = {name: _replications({"trace": name, **base}, replications, max(instances)) for name in names}
    listed = tuple({"trace": name, **own} for name, each in made.items() for own in each)
    study = Study(
        base,
        {**axes, "policy": tuple(specs)},
        listed,
        tuple(range(len(listed))),
        search,
        title=f"Max goodput on {', '.join(Path(name).name for name in names)}",
        root=str(Path.cwd()),
    )
    runs = sweep(study, out, workers=workers, dask=dask, progress=progress)
    short = {name: len(each) for name, each in made.items() if len(each) < replications}
    return replace(runs, notices=tuple(_fewer(name, n, replications) for name, n in short.items()))


def _trace_names(trace: object) -> list[str]:
    """The names of one trace or of several. InputError: it is something else."""
    traces = [trace] if isinstance(trace, str | Path) else trace
    if not isinstance(traces, list | tuple) or not traces or not all(isinstance(one, str | Path) for one in traces):
        raise InputError("trace", found=trace, expected="the name of a trace, or a list of such names")
    return list(map(str, traces))


def _replications(values: Mapping[str, Any], n: int, instances: int) -> list[dict[str, Any]]:
    """What makes each replication: a seed, or a window within the one that is asked for, if one is.

    There are `n`, or as many windows as leave each 30 requests per instance; `instances` is the most of an axis, or 1.
    """
    options = Point.of(values).options
    if options.workload.concurrency is not None:
        raise InputError("workload.concurrency", "is given, but a closed loop has no rate to search", expected="none")
    if options.trace.startswith(SYNTHETIC):
        return [{"seed": options.seed + k} for k in range(n)]
    if options.workload.limit is not None and n > 1:
        found = f"is given, but {options.trace} is cut into {n} windows, one per replication, each of all its requests"
        raise InputError("workload.limit", found, expected="1 replication, or workload.window (FROM:TO) in its place")
    start_s, end_s = options.workload.period_s or (0.0, math.inf)
    root = str(Path.cwd())
    span_s = window_of(options.trace, root, options.workload, seed=options.seed).span_s
    if not span_s:
        raise InputError(options.trace, "all requests arrive at one instant", expected="a trace that spans some time")
    whole = msgspec.structs.replace(options.workload, window=None)
    arrival_s = window_of(options.trace, root, whole, seed=options.seed).arrival_s
    first_s = float(arrival_s[np.searchsorted(arrival_s, start_s)])
    fewest = FEWEST_REQUESTS * max(instances, options.server.instances)
    for k in range(n, 1, -1):
        edges = [first_s + span_s * place / k for place in range(k)] + [end_s]
        if np.diff(np.searchsorted(arrival_s, edges)).min() >= fewest:
            return [{"workload.window": window_text(pair)} for pair in pairwise(edges)]
    return [{}]  # the window that is asked for, or the whole trace


def _fewer(trace: str, made: int, wanted: int) -> str:
    """What to say of fewer replications than were wanted."""
    windows = "one window" if made == 1 else number_of(made, "window")
    return f"{Path(trace).name} is short: {windows} in place of {wanted}, each with the requests that a search needs"
