"""Results written by hand, for tests: every time stamp chosen so that the metrics can be computed with a pencil."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from flowsim.core.ledger import Ledger, Log
from flowsim.core.slo_mix import Assignment
from flowsim.engine.simulate import Outcome
from flowsim.results.definitions.definition import Definition
from flowsim.results.result import RunResult
from flowsim.traces import Trace

NEVER = math.nan
INPUTS: dict[str, Any] = {
    "prefix_cache": "none",
    "trace": "by hand",
    "trace_sha256": "00",
    "trace_notices": [],
    "cost_model": "pencil",
    "cost_model_sha256": None,
    "cost_model_kind": None,
    "cost_model_stated_error": None,
    "cost_model_factors": None,
    "cost_model_sources": [],
    "cost_model_error": None,
    "slo": "as written",
    "predictor": "exact",
    "seed": 0,
    "version": "0",
}


def by_hand(
    arrival_s: Sequence[float],
    finished_s: Sequence[float],
    slo_s: Sequence[float],
    classes: Sequence[str] | None = None,
    *,
    started_s: Sequence[float] | None = None,
    service_s: Sequence[float] | None = None,
    preemptions: Sequence[int] = (),
    rejected: Sequence[int] = (),
    logs: Sequence[Log] = (Log(),),
    stopped_s: float = 0.0,
    cut_off: bool = False,
    policy: str = "fcfs",
    inputs: dict[str, Any] = INPUTS,
    bounding: Any = None,
) -> RunResult:
    """A result: one list entry per request; NaN for what never happened; `rejected` holds ids."""
    n = len(arrival_s)
    trace = Trace.of(arrival_s, [100] * n, classes=classes or ["text"] * n, name="by hand")
    ledger = Ledger(n)
    ledger.instance = [0] * n
    ledger.arrived_s = list(arrival_s)
    ledger.finished_s = list(finished_s)
    ledger.started_s = list(finished_s if started_s is None else started_s)
    ledger.service_s = [0.0] * n if service_s is None else list(service_s)
    ledger.preemptions = list(preemptions or [0] * n)
    for id in rejected:
        ledger.rejected_s[id] = arrival_s[id]
    slo = Assignment(np.array(slo_s, float), trace.class_code, trace.class_names, "as written")
    return RunResult(
        trace,
        slo,
        Outcome(ledger, logs, stopped_s, cut_off=cut_off),
        policy,
        {"trace": "by hand"},
        inputs,
        bounding=bounding,
    )


def six() -> RunResult:
    """Met, missed, met on the dot; rejected, unfinished; without SLO. Two instances, stopped after 16 s."""
    logs = [
        Log(
            busy_s=6.0,
            check_s=0.5,
            control_s=0.25,
            deciding_s=0.2,
            hand_over_s=1.5,
            decisions=7,
            preemptions=3,
            blocking_s=[0.25, 0.75],
        ),
        Log(
            busy_s=2.0,
            check_s=0.3,
            control_s=0.07,
            deciding_s=0.12,
            hand_over_s=0.6,
            heard_s=16.5,
            decisions=4,
            preemptions=1,
            blocking_s=[0.5],
        ),
    ]
    return by_hand(
        arrival_s=[0, 1, 2, 3, 4, 5],
        started_s=[0, 2, 2, NEVER, NEVER, 7],
        service_s=[0.5, 1, 3, 0, 0, 2],
        preemptions=[0, 1, 2, 0, 0, 1],
        finished_s=[0.5, 3, 6, NEVER, NEVER, 10],
        slo_s=[1, 1, 4, 4, 1, NEVER],
        classes=["text", "text", "file", "file", "text", "other"],
        rejected=[3],
        logs=logs,
        stopped_s=16.0,
        cut_off=True,
    )


def names(definitions: Iterable[Definition]) -> list[str]:
    """The names of definitions."""
    return [of.name for of in definitions]
