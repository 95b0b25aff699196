"""Long traces, long queues, many instances and a large study: the time and memory of each, kept as JSON."""

from __future__ import annotations

import json
import os
import resource
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import flowsim
from benchmarks.case import capacity_rps
from benchmarks.decisions import decision_s
from flowsim.policies.catalogue import TABLE
from flowsim.policies.registry import load_policy
from flowsim.traces.synthetic import synthesize

KINDS = ("replay", "instances", "waiting", "study")
STUDIED = ("fcfs", "chunked:2048", "edf", "flowprefill")


@dataclass(frozen=True)
class Sizes:
    """How large each case is.

    Attributes:
        replayed: requests of the long traces.
        waiting: lengths of the queues.
        instances: numbers of instances.
        shared: requests that these share.
        points: of the study.
    """

    replayed: Sequence[int] = (1_000_000, 10_000_000)
    waiting: Sequence[int] = (25_000, 50_000, 100_000)
    instances: Sequence[int] = (1, 100, 1000)
    shared: Sequence[int] = (100_000, 200_000, 400_000)
    points: int = 100_000


QUICK = Sizes((5_000, 10_000), (250, 500, 1000), (1, 10, 20), (1000, 2000, 4000), 400)


def replay(policy: str, requests: int, instances: int) -> Mapping[str, Any]:
    """A replay of generated requests at 80 % of the capacity of the instances."""
    begin = time.process_time()
    trace = synthesize(requests, rate_rps=20.0, seed=1)
    rate_rps = 0.8 * instances * capacity_rps(trace, policy)
    flowsim.run(trace, policy, rate_scale=rate_rps / trace.rate_rps, instances=instances, bound=False)
    return _used(begin, policy=policy, requests=requests, instances=instances)


def waiting(policy: str, requests: int) -> Mapping[str, Any]:
    """Requests that all wait from the start: their arrival, ten decisions, and the rejection of the rest."""
    begin = time.process_time()
    decided_s = decision_s(load_policy(policy), requests, runs=1)
    return _used(begin, policy=policy, requests=requests, decision_s=decided_s)


def study(points: int, workers: int) -> Mapping[str, Any]:
    """A study of small runs: the time until the first is done, until all are, and until they are read again."""
    seeds = {"from": 1, "to": points // len(STUDIED)}
    grid = {"run": {"trace": "synthetic:qwen:40"}, "axes": {"policy": list(STUDIED), "seed": seeds}}
    begin, times_s = time.monotonic(), list[float]()

    def since() -> float:
        return time.monotonic() - begin - sum(times_s)

    def progress(done: int, total: int, doing: str = "") -> None:
        if done and not times_s:
            times_s.append(since())

    with tempfile.TemporaryDirectory() as folder:
        runs = flowsim.sweep(grid, folder, workers=workers, progress=progress)
        times_s.append(since())
        again = flowsim.sweep(grid, folder, workers=workers)
        times_s.append(since())
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
    assert len(runs.table) == len(again.table) == len(STUDIED) * (points // len(STUDIED))
    first_s, rest_s, again_s = times_s
    of_it = {"points": len(runs.table), "workers": workers, "start_s": first_s, "rows_per_s": len(runs.table) / rest_s}
    return {**of_it, "again_s": again_s, "file_mib": size / 2**20, **_used(0.0)}


def _used(begin_s: float, **about: Any) -> Mapping[str, Any]:
    """What this process has used since."""
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {**about, "cpu_s": time.process_time() - begin_s, "mib": mib}


def report(sizes: Sizes, kinds: Sequence[str], workers: int, out: Path) -> None:
    """Run the cases of these kinds, each in a process of its own; print them, and put them into the file of figures."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    for kind in kinds:
        with ProcessPoolExecutor(workers, get_context("spawn"), max_tasks_per_child=1) as pool:
            cases = [pool.submit(case, *arguments) for case, *arguments in _cases(kind, sizes, workers)]
            _keep(out, kind, [_told(kind, case.result()) for case in cases])


def _cases(kind: str, sizes: Sizes, workers: int) -> list[tuple[Any, ...]]:
    """Functions and their arguments, the longest first."""
    if kind == "replay":
        return [(replay, policy, n, 1) for n in reversed(sizes.replayed) for policy in ("fcfs", "flowprefill")]
    if kind == "instances":
        return [(replay, "flowprefill", n, instances) for instances in sizes.instances for n in sizes.shared]
    if kind == "waiting":
        return [(waiting, policy, n) for policy in TABLE for n in sizes.waiting]
    return [(study, sizes.points, workers)]


def _keep(out: Path, kind: str, figures: Sequence[Mapping[str, Any]]) -> None:
    kept = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    out.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**kept, "version": flowsim.__version__, kind: figures}, indent=1)
    out.write_text(f"{text}\n", encoding="utf-8")


def _told(kind: str, figures: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same, rounded, and printed."""
    rounded = {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in figures.items()}
    print(kind, *(f"{name}={value}" for name, value in rounded.items()), flush=True)
    return rounded
