"""The highest request rate that a policy sustains: bracketing, then bisection, over rate-scaled replays."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from flowsim.errors import InputError
from flowsim.io.schema import Checked, option
from flowsim.results.result import RunResult
from flowsim.runs.prepare import Prepared
from flowsim.studies.point import Point, prepared, run_point

FEWEST_REQUESTS = 30
"""Per instance: fewer requests might all find a free instance, however fast they arrive."""
FINEST = 1e-6
STARVED_SLOS = 10
"""A request is starved if its TTFT exceeds this multiple of its SLO, or if it gets no first token."""
LOWEST = 2.0**-12
"""The search gives up below this share of the rate at which the server is estimated to be full."""


class Search(Checked, frozen=True, kw_only=False):
    """What a search asks of a rate, and how close it goes."""

    target: Annotated[float, Meta(gt=0, le=1), option("Share of requests within their SLO.")] = 0.9
    by: Annotated[Literal["all", "class"], option("The share is of all requests, or of every class.", "all|class")] = (
        "all"
    )
    tolerance: Annotated[float, Meta(ge=FINEST, le=1), option("Width of the bracket, a share of it.")] = 0.01


@dataclass(frozen=True)
class Found:
    """The bracket of a highest rate, requests per second: sustained at `low`, not at `high`.

    Attributes:
        low: 0 if no rate was sustained.
        high: the lowest rate tried that was not sustained.
        weak: what gave way at `high`: "attainment", "attainment of CLASS" or "queue" (it only grew).
        probes: runs that the search took.
        result: the run at `low`.
    """

    low: float
    high: float
    weak: str
    probes: int
    result: RunResult | None

    @property
    def row(self) -> dict[str, Any]:
        """As plain columns; the figures of the run at `low` stand beside them."""
        return {
            "max_rate_rps": self.low,
            "max_rate_high_rps": self.high,
            "gives_way": self.weak,
            "probes": self.probes,
        }


def highest_rate(point: Point, root: str, search: Search) -> Found:
    """The highest rate at which the policy of a point reaches the target on its trace and its queue does not only grow.

    Rates are tried on the powers of two of one request per second, from where the server should be full, and then
    halved in the logarithm. So every policy is asked about the same rates on the same requests (common random numbers).

    Raises:
        InputError: fewer than 30 requests per instance, or what a run rejects.
    """
    ready = prepared(point, root)
    check_length(ready)
    full_rps = ready.options.server.instances / ready.costs.solo_s(round(float(ready.trace.input_length.mean())))
    guess = 2.0 ** round(math.log2(full_rps))
    tried = _Tried(point, root, search)
    while not (tried.low and tried.high):  # the bracket: up or down by powers of two
        tried.probe(2 * tried.low if tried.low else tried.high / 2 if tried.high else guess)
        if not tried.low and tried.high / 2 < LOWEST * guess:
            break
    while tried.low and tried.high > tried.low * (1 + search.tolerance):
        tried.probe(math.sqrt(tried.low * tried.high))
    return tried.found


class _Tried:
    """What is known of the rates tried: the highest sustained and the lowest not sustained; 0 = none yet."""

    def __init__(self, point: Point, root: str, search: Search) -> None:
        self._point, self._root, self._search = point, root, search
        self.low = self.high = 0.0
        self._best: RunResult | None = None
        self._weak, self._probes = "", 0

    def probe(self, rate_rps: float) -> None:
        """Replay at this rate, which lies between the two."""
        self._probes += 1
        result = run_point(self._point.at_rate(rate_rps), self._root)
        why = gives_way(result, self._search)
        if why:
            self.high, self._weak = rate_rps, why
        else:
            self.low, self._best = rate_rps, result

    @property
    def found(self) -> Found:
        """The bracket as it is."""
        return Found(self.low, self.high, self._weak, self._probes, self._best)


def check_length(ready: Prepared) -> None:
    """Raise InputError unless the requests of a run are enough to judge a rate by."""
    trace, workload, instances = ready.trace, ready.options.workload, ready.options.server.instances
    fewest = FEWEST_REQUESTS * instances
    if len(trace) < fewest:
        each = f" ({FEWEST_REQUESTS} per instance)" if instances > 1 else ""
        place = f"{trace.name}, window {workload.window_text}" if workload.window else trace.name
        raise InputError(place, f"has {len(trace)} requests", expected=f">= {fewest} requests for a search{each}")
    if not trace.span_s:
        raise InputError(trace.where, "all requests arrive at one instant", expected="a trace that spans some time")


def gives_way(result: RunResult, search: Search) -> str:
    """What a run does not sustain: "" if it meets the target and its queue empties."""
    summary = result.summary
    shares = {"attainment": summary["attainment"]}
    if search.by == "class":
        shares = {f"attainment of {name}": of["attainment"] for name, of in summary["classes"].items()}
    for what, share in shares.items():
        if share is not None and share < search.target:
            return what
    return "" if empties(result) else "queue"


def empties(result: RunResult) -> bool:
    """Whether some request in the last third of all finds an instance with nothing to do.

    A queue that only grows, or that never serves some requests, never gets there, however well the others fare; a
    stable one does again and again, more often the longer the trace.
    """
    arrival_s, finished_s = result.trace.arrival_s, np.array(result.outcome.ledger.finished_s)
    left_s = np.where(result.outcome.ledger.rejected, arrival_s, finished_s)
    gone = np.searchsorted(np.sort(left_s), arrival_s, side="right")  # NaN, never gone, sorts last
    backlog = np.arange(arrival_s.size) - gone
    return bool((backlog[-(-2 * arrival_s.size // 3) :] < len(result.outcome.logs)).any())


def late(result: RunResult) -> NDArray[np.bool_]:
    """Whether each request counts and missed its SLO, shape [n]."""
    return result.counted & ~result.attained


def starved(result: RunResult) -> NDArray[np.bool_]:
    """Whether each request counts and is known to have waited more than 10 SLOs for its first token, shape [n]."""
    return result.counted & (result.metrics.ttft_bound_s > STARVED_SLOS * result.slo.ttft_slo_s)
