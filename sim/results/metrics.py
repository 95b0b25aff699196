"""How each metric of a run is defined.

A column has one row per request, shape [n], in the order of the trace; all times are in seconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowsim.core.slo import Assignment
from flowsim.engine.simulate import Outcome
from flowsim.traces.trace import Trace

Floats = NDArray[np.float64]
STATES = ("finished", "rejected", "unfinished")
FINISHED, REJECTED, UNFINISHED = range(3)


@dataclass(frozen=True, eq=False)
class Metrics:
    """The metrics of one run.

    Attributes:
        trace: the requests, as replayed.
        slo: the class and the TTFT SLO of each.
        outcome: what the engine recorded.
        warmup: the share of the requests, the first ones, that attainment, goodput and TTFT leave out.
    """

    trace: Trace
    slo: Assignment
    outcome: Outcome
    warmup: float = 0.0

    # One row per request.

    @cached_property
    def started_s(self) -> Floats:
        """When the first pass with the request was launched; NaN for never."""
        return np.array(self.outcome.ledger.started_s)

    @cached_property
    def finished_s(self) -> Floats:
        """When the first token was there; NaN for never."""
        return np.array(self.outcome.ledger.finished_s)

    @cached_property
    def ttft_s(self) -> Floats:
        """Time to first token: from arrival to the end of the prefill; NaN if it never came."""
        return self.finished_s - self.trace.arrival_s

    @cached_property
    def attained(self) -> NDArray[np.bool_]:
        """Whether the request met its TTFT SLO; False also for those without an SLO."""
        return self.ttft_s <= self.slo.ttft_slo_s

    @cached_property
    def after_warmup(self) -> NDArray[np.bool_]:
        """Whether the request arrived after the warm-up."""
        return np.arange(len(self.trace)) >= self._first_counted

    @cached_property
    def counted(self) -> NDArray[np.bool_]:
        """Whether the request counts in attainment: it has an SLO and arrived after the warm-up."""
        return ~np.isnan(self.slo.ttft_slo_s) & self.after_warmup

    @cached_property
    def state(self) -> NDArray[np.int64]:
        """FINISHED, REJECTED or UNFINISHED."""
        rejected = np.array(self.outcome.ledger.rejected)
        return np.where(rejected, REJECTED, np.where(np.isnan(self.ttft_s), UNFINISHED, FINISHED))

    @cached_property
    def queueing_s(self) -> Floats:
        """From arrival to the first launch, or to the end of the run if there was none; NaN if rejected."""
        until_s = np.where(np.isnan(self.started_s), self.end_s, self.started_s)
        waited_s = np.maximum(until_s - self.trace.arrival_s, 0.0)
        return np.where(self.state == REJECTED, np.nan, waited_s)

    @cached_property
    def service_s(self) -> Floats:
        """Time in passes, of finished requests; NaN for others."""
        return np.where(self.state == FINISHED, np.array(self.outcome.ledger.service_s), np.nan)

    @cached_property
    def paused_s(self) -> Floats:
        """The rest of the TTFT of finished requests: preempted, or between two passes; NaN for others."""
        launched_s = self.started_s - self.trace.arrival_s
        return np.maximum(self.ttft_s - launched_s - self.service_s, 0.0)

    # Of the whole run.

    @cached_property
    def blocking_s(self) -> Floats:
        """Blocking time of each preemption on any instance: from its signal to its acknowledgement."""
        return np.concatenate([np.array(log.blocking_s, float) for log in self.outcome.logs])

    @property
    def span_s(self) -> float:
        """From the first arrival to the last completion; 0 if nothing completed."""
        return float(np.nanmax(self.finished_s, initial=0.0)) - self._first_arrival_s

    @property
    def counted_span_s(self) -> float:
        """From the first arrival after the warm-up to the last completion."""
        return self.span_s + float(self.trace.arrival_s[0] - self.trace.arrival_s[self._first_counted])

    @property
    def end_s(self) -> float:
        """The time of the last completion or, if a request is unfinished, the time at which the simulation stopped."""
        if (self.state == UNFINISHED).any():
            return self.outcome.stopped_s
        return self.span_s + self._first_arrival_s

    def attainment(self, members: NDArray[np.bool_]) -> float | None:
        """The share of the counted requests among these that met their SLO; None if none counts."""
        return ratio(int((self.attained & self.counted & members).sum()), int((self.counted & members).sum()))

    def goodput_rps(self, members: NDArray[np.bool_]) -> float:
        """The counted requests among these that met their SLO, per second of `counted_span_s`."""
        return ratio(int((self.attained & self.counted & members).sum()), self.counted_span_s) or 0.0

    def device(self) -> dict[str, Any]:
        """How the devices of all instances spent the run, as shares of its time (checks: of the busy time).

        The devices executed passes (utilization), or stood still: while word or an order was on its way (hand-overs),
        while the scheduler decided, or with nothing to do (idle). These four add up to 1. `control_share` counts all
        decisions, also those made while a pass was executed.
        """
        logs = self.outcome.logs
        busy_s, capacity_s = sum(log.busy_s for log in logs), (self.end_s - self._first_arrival_s) * len(logs)
        return {
            "preemptions": sum(log.preemptions for log in logs),
            "utilization": ratio(busy_s, capacity_s),
            "check_share": ratio(sum(log.check_s for log in logs), busy_s),
            "control_share": ratio(sum(log.control_s for log in logs), capacity_s),
            **self._stands(busy_s, capacity_s),
            "decisions": sum(log.decisions for log in logs),
        }

    def _stands(self, busy_s: float, capacity_s: float) -> dict[str, float | None]:
        """Why the devices stood still; None where that is not known."""
        logs, names = self.outcome.logs, ("deciding_share", "hand_over_share", "idle_share")
        if not all(log.knows_stands for log in logs):
            return dict.fromkeys(names)
        deciding_s = sum(log.deciding_s for log in logs)
        hand_over_s = sum(log.hand_over_s - max(log.heard_s - self.end_s, 0.0) for log in logs)
        idle_s = max(capacity_s - busy_s - deciding_s - hand_over_s, 0.0)
        spent_s = (deciding_s, hand_over_s, idle_s)
        return {name: ratio(part_s, capacity_s) for name, part_s in zip(names, spent_s, strict=True)}

    @property
    def _first_arrival_s(self) -> float:
        return float(self.trace.arrival_s[0])

    @property
    def _first_counted(self) -> int:
        return int(self.warmup * len(self.trace))


def quantiles(values: Floats, percents: Sequence[int]) -> dict[str, float | None]:
    """Mean, these percentiles (linear interpolation) and maximum of what is not NaN; None for all if nothing is."""
    known = values[~np.isnan(values)]
    names = ["mean", *(f"p{percent}" for percent in percents), "max"]
    if not known.size:
        return dict.fromkeys(names)
    found = [known.mean(), *np.percentile(known, percents), known.max()]
    return {name: float(value) for name, value in zip(names, found, strict=True)}


def ratio(part: float, whole: float) -> float | None:
    """The quotient; None if there is nothing to divide by."""
    return part / whole if whole else None


def finite(value: float) -> float | None:
    """The value; None if it is infinite or NaN, which JSON cannot hold."""
    return value if math.isfinite(value) else None
