"""A run of three requests whose times can be worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flowsim
from flowsim.core.slo_mix import SLOMix
from flowsim.runs.run import run
from flowsim.traces import Trace
from support.costs import pencil

FILES = ("config.yaml", "requests.parquet", "summary.json")


def three() -> Trace:
    return Trace.of([0, 1, 2], [3, 1, 2], classes=["long", "short", "short"], name="three")


def replayed(policy: Any = "fcfs", **options: Any) -> flowsim.RunResult:
    return run(three(), policy, **{"cost": pencil(), "slo": SLOMix.uniform(4), "predictor": "exact", **options})


def same_files(one: Path, other: Path) -> None:
    for name in FILES:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def preempted(policy: Any = "edf", **options: Any) -> flowsim.RunResult:
    """Ten patient tokens, and an urgent one after 3 s; cuts lie 2 s apart, and every step takes time."""
    trace = Trace.of([0, 3], [10, 1], classes=["patient", "urgent"], slo_s=[12, 2], name="preempted")
    cost = pencil(decision=lambda seen: 0.5, acknowledge_s=0.25, resume_s=0.125)
    return run(trace, policy, **{"cost": cost, "predictor": "exact", "events": True, **options})
