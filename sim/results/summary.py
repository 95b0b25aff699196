"""The summary of a run, as `summary.json` holds it: its metrics in one mapping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from flowsim.results.metrics import FINISHED, REJECTED, UNFINISHED, Metrics, finite, quantiles


def summarise(metrics: Metrics, policy: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The summary, in the order in which it is written."""
    everyone = np.ones(len(metrics.trace), bool)
    return {
        "policy": policy,
        "attainment": metrics.attainment(everyone),
        "goodput_rps": metrics.goodput_rps(everyone),
        "offered_rps": finite(metrics.trace.rate_rps),
        "requests": len(metrics.trace),
        "without_slo": int(np.isnan(metrics.slo.ttft_slo_s).sum()),
        "counted": int(metrics.counted.sum()),
        "finished": int((metrics.state == FINISHED).sum()),
        "unfinished": int((metrics.state == UNFINISHED).sum()),
        "rejected": int((metrics.state == REJECTED).sum()),
        "ttft_s": quantiles(metrics.ttft_s[metrics.after_warmup], (50, 90, 99)),
        "blocking_s": quantiles(metrics.blocking_s, (50, 99)),
        **metrics.device(),
        "queueing_s": quantiles(metrics.queueing_s, (50, 90, 99)),
        "service_s": quantiles(metrics.service_s, (50, 90, 99)),
        "paused_s": quantiles(metrics.paused_s, (50, 90, 99)),
        "longest_wait_s": finite(float(np.nanmax(metrics.queueing_s, initial=0.0))),
        "span_s": metrics.span_s,
        "classes": {name: _of_class(metrics, code) for code, name in enumerate(metrics.slo.class_names)},
        "inputs": dict(inputs),
    }


def _of_class(metrics: Metrics, code: int) -> dict[str, Any]:
    """The metrics of the requests of one class that arrived after the warm-up."""
    members = (metrics.slo.class_code == code) & metrics.after_warmup
    slo_s = metrics.slo.ttft_slo_s[members]
    return {
        "requests": int(members.sum()),
        "ttft_slo_s": finite(float(slo_s[0])) if slo_s.size else None,
        "attainment": metrics.attainment(members),
        "goodput_rps": metrics.goodput_rps(members),
        "ttft_s": quantiles(metrics.ttft_s[members], (50, 90, 99)),
    }
