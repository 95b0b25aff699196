"""The summary of a run, as `summary.json` holds it: its metrics in one mapping."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowsim.clairvoyant.bound import Bound
from flowsim.core.summary import BoundSummary, FullSummary, GroupSummary, Inputs, Summary
from flowsim.results.definitions.definition import column_of
from flowsim.results.definitions.summary_json import APART
from flowsim.results.metrics import FINISHED, REJECTED, UNFINISHED, Metrics
from flowsim.results.quantiles import finite, quantiles, ratio

MOST_CLIENTS = 20
"""Clients whose metrics a summary has: those with the most requests."""


def summarise(metrics: Metrics, policy: str, inputs: Inputs) -> Summary:
    """The summary, in the order in which it is written; `results.definitions.summary_json` defines each entry."""
    everyone, counted = np.ones(len(metrics.trace), bool), metrics.counted
    return {
        "policy": policy,
        "attainment": metrics.attainment(everyone),
        "goodput_rps": metrics.goodput_rps(everyone),
        "attained_observed_rps": metrics.attained_rps(everyone, metrics.end_s),
        "attained_with_drain_rps": metrics.attained_rps(everyone, metrics.completed_s),
        "offered_rps": metrics.offered_rps(everyone),
        "requests": len(metrics.trace),
        "in_warmup": int((~metrics.after_warmup).sum()),
        "without_slo": int((metrics.after_warmup & ~metrics.has_slo).sum()),
        "undecided": int(metrics.undecided.sum()),
        "counted": int(counted.sum()),
        "finished": int((metrics.state == FINISHED).sum()),
        "unfinished": int((metrics.state == UNFINISHED).sum()),
        "rejected": int((metrics.state == REJECTED).sum()),
        **metrics.ttft(everyone),
        "blocking_s": quantiles(metrics.blocking_s, (50, 99)),
        **metrics.device(),
        "queueing_s": quantiles(metrics.queueing_s[counted], (50, 90, 99)),
        "service_s": quantiles(metrics.service_s[counted], (50, 90, 99)),
        "paused_s": quantiles(metrics.paused_s[counted], (50, 90, 99)),
        **metrics.parts_of_ttft(),
        "longest_wait_s": finite(float(np.nanmax(metrics.queueing_s[counted], initial=0.0))),
        "span_s": metrics.span_s,
        "classes": _of_each(metrics, metrics.slo.class_names, metrics.slo.class_code),
        "clients": _of_each(metrics, metrics.trace.client_names, metrics.trace.client_code, MOST_CLIENTS),
        "inputs": inputs,
    }


def with_bound(summary: Summary, bound: Bound | str | None) -> FullSummary:
    """The summary with the clairvoyant bound, or why none is stated; None if none was asked for."""
    return {
        **summary,
        "bound": _bound(bound, summary["attainment"]) if isinstance(bound, Bound) else None,
        "no_bound": bound if isinstance(bound, str) else None,
    }


def as_columns(metrics: Summary | GroupSummary) -> dict[str, Any]:
    """The metrics of a run or of a class as the plain columns of a table, which can hold an infinite TTFT."""
    row: dict[str, Any] = {}
    for name, value in metrics.items():
        if isinstance(value, Mapping) and name not in APART:
            row |= {column_of(name, part): number for part, number in value.items()}
        elif name not in APART:
            row[name] = value
    if metrics["counted"]:
        row |= {column_of("ttft_s", part): math.inf for part, time_s in metrics["ttft_s"].items() if time_s is None}
    return row


def bound_columns(summary: FullSummary) -> dict[str, float | None]:
    """The bound of a run as the columns `results.definitions.summary_json.BOUND_COLUMNS`; None if there is none."""
    bound = summary["bound"]
    return {
        "bound_attainment": None if bound is None else bound["upper"],
        "share_of_bound": None if bound is None else bound["share"],
    }


def _bound(bound: Bound, attainment: float | None) -> BoundSummary:
    return {
        "upper": bound.upper,
        "lower": bound.lower,
        "hopeless": bound.hopeless,
        "share": None if attainment is None else ratio(attainment, bound.upper),
    }


def _of_each(
    metrics: Metrics, names: Sequence[str], codes: NDArray[np.int64], most: int | None = None
) -> dict[str, GroupSummary]:
    """The metrics of the requests of each class or client, by name; of the `most` most frequent names at most."""
    counts = np.bincount(codes[codes >= 0], minlength=len(names))
    kept = range(len(names)) if most is None else np.argsort(-counts, kind="stable")[:most].tolist()
    return {names[code]: _of_some(metrics, codes == code) for code in kept if most is None or counts[code]}


def _of_some(metrics: Metrics, members: NDArray[np.bool_]) -> GroupSummary:
    """The metrics of the requests of one class or client."""
    slo_s = metrics.slo.ttft_slo_s[members & metrics.has_slo]
    return {
        "requests": int(members.sum()),
        "undecided": int((metrics.undecided & members).sum()),
        "counted": int((metrics.counted & members).sum()),
        "ttft_slo_s": float(slo_s.min()) if slo_s.size else None,
        "ttft_slo_max_s": float(slo_s.max()) if slo_s.size else None,
        "attainment": metrics.attainment(members),
        "goodput_rps": metrics.goodput_rps(members),
        "offered_rps": metrics.offered_rps(members),
        **metrics.ttft(members),
    }
