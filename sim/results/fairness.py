"""How evenly waiting is spread over the requests of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from flowsim.results.metrics import FINISHED, REJECTED
from flowsim.results.result import RunResult
from flowsim.results.waits import hindsight


class Fairness(NamedTuple):
    """How evenly waiting is spread over counted requests; None or empty where there is nothing to tell.

    Attributes:
        longest: the request with the longest TTFT, of those not rejected.
        longest_s: that TTFT, as far as the replay went.
        starved: how many waited more than 10 SLOs for their first token, or never got one.
        worst_class: the class with the lowest attainment.
        jain: Jain's index (Jain, Chiu, Hawe 1984) of the slowdown, TTFT over the time alone, of requests that
            finished: (sum x)^2 / (n sum x^2), 1 if all are slowed down alike.
        clients: the mean slowdown of each client, by name.
    """

    longest: int | None
    longest_s: float | None
    starved: int
    worst_class: str | None
    jain: float | None
    clients: Mapping[str, float]


def fairness_of(result: RunResult) -> Fairness:
    """How evenly the counted requests of a run waited."""
    metrics, counted = result.metrics, result.counted
    waited_s = np.where(counted & (metrics.state != REJECTED), metrics.ttft_bound_s, -np.inf)
    longest = int(waited_s.argmax()) if len(waited_s) and waited_s.max() > -np.inf else None
    slowed = counted & (metrics.state == FINISHED)
    slowdown = metrics.ttft_s[slowed] / hindsight(result).alone_s[slowed]
    shares = {name: group["attainment"] for name, group in result.summary["classes"].items()}
    known = {name: share for name, share in shares.items() if share is not None}
    trace, clients = result.trace, {}
    if trace.has("client_code"):
        codes = trace.client_code[slowed]
        clients = {
            trace.client_names[code]: float(slowdown[codes == code].mean())
            for code in sorted(np.unique(codes).tolist(), key=trace.client_names.__getitem__)
        }
    return Fairness(
        longest,
        None if longest is None else float(waited_s[longest]),
        int(metrics.starved.sum()),
        min(known, key=lambda name: known[name], default=None),
        float(slowdown.sum() ** 2 / (len(slowdown) * (slowdown**2).sum())) if len(slowdown) else None,
        clients,
    )
