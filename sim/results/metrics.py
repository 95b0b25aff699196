"""How the metrics of a run are computed; `flowsim.results.definitions` says what each means.

A column has one row per request, shape [n], in the order of the trace; all times are in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flowsim.core.slo_mix import Assignment
from flowsim.core.summary import DeviceTime, Ttft, TtftParts
from flowsim.engine.simulate import Outcome
from flowsim.results.quantiles import Floats, exceeded, finite, quantile, quantiles, ratio
from flowsim.traces.trace import Trace

Flags = NDArray[np.bool_]
STATES = ("finished", "rejected", "unfinished")
FINISHED, REJECTED, UNFINISHED = range(3)
TTFT_PERCENTS = (50, 90, 99)
STARVED_SLOS = 10
"""A request is starved if its TTFT exceeds this multiple of its SLO, or if it gets no first token."""


def after_warmup(requests: int, warmup: float) -> Flags:
    """Whether each request of a trace arrives after the warm-up, a share of them, shape [n]."""
    return np.arange(requests) >= int(warmup * requests)


@dataclass(frozen=True, eq=False)
class Metrics:
    """The metrics of one run.

    Attributes:
        trace: the requests, as replayed.
        slo: the class and the TTFT SLO of each.
        outcome: what the engine recorded.
        warmup: the share of the requests, the first ones, that are served but not counted.
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
        """When the client had the first token; NaN for never."""
        return np.array(self.outcome.ledger.finished_s) + self.outcome.return_s

    @cached_property
    def ttft_s(self) -> Floats:
        """Time to first token: from arrival to the end of the prefill; NaN if it never came."""
        return self.finished_s - self.trace.arrival_s

    @cached_property
    def ttft_bound_s(self) -> Floats:
        """What is known of the TTFT: itself, or the time that it exceeds; infinite if it will never come.

        A request that a stop left without a first token had waited for it since its arrival. One that was rejected, or
        that the policy had left behind when the replay ended by itself, will never get one.
        """
        waited_s = np.maximum(self.outcome.stopped_s - self.trace.arrival_s, 0.0)
        pending = (self.state == UNFINISHED) & self.outcome.cut_off
        return np.where(self.state == FINISHED, self.ttft_s, np.where(pending, waited_s, np.inf))

    @cached_property
    def attained(self) -> Flags:
        """Whether the request met its TTFT SLO; False also for those without an SLO."""
        met: Flags = self.ttft_s <= self.slo.ttft_slo_s
        return met

    @cached_property
    def starved(self) -> Flags:
        """Whether the request counts and is known to have waited more than 10 SLOs for its first token."""
        starved: Flags = self.counted & (self.ttft_bound_s > STARVED_SLOS * self.slo.ttft_slo_s)
        return starved

    @cached_property
    def after_warmup(self) -> Flags:
        """Whether the request arrived after the warm-up."""
        return after_warmup(len(self.trace), self.warmup)

    @cached_property
    def has_slo(self) -> Flags:
        """Whether the request has a TTFT SLO."""
        return ~np.isnan(self.slo.ttft_slo_s)

    @cached_property
    def decided(self) -> Flags:
        """Whether it is known if the request met its SLO: finished, never to finish, or past its deadline."""
        open_yet: Flags = (self.state != FINISHED) & (self.ttft_bound_s <= self.slo.ttft_slo_s)
        return ~open_yet

    @cached_property
    def counted(self) -> Flags:
        """Whether the request counts, in every metric: it has an SLO, arrived after the warm-up, and is decided."""
        return self.has_slo & self.after_warmup & self.decided

    @cached_property
    def undecided(self) -> Flags:
        """Whether the request would count if the replay had not been stopped before its deadline."""
        return self.has_slo & self.after_warmup & ~self.decided

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
        launched_s = self.started_s - self.trace.arrival_s + self.outcome.return_s
        return np.maximum(self.ttft_s - launched_s - self.service_s, 0.0)

    # Of the whole run.

    @cached_property
    def blocking_s(self) -> Floats:
        """Blocking time of each preemption on any instance: from its signal to its acknowledgement."""
        return np.concatenate([np.array(log.blocking_s, float) for log in self.outcome.logs])

    @property
    def completed_s(self) -> float:
        """The time of the last completion; that of the first arrival if nothing completed."""
        return float(np.nanmax(self.finished_s, initial=self.trace.arrival_s[0]))

    @property
    def end_s(self) -> float:
        """The end of what was observed: the last completion or rejection; of the replay, if a request is unfinished."""
        if (self.state == UNFINISHED).any():
            return self.outcome.stopped_s
        return float(np.fmax.reduce(self.outcome.ledger.rejected_s, initial=self.completed_s))

    @property
    def span_s(self) -> float:
        """What was observed: from the first arrival to `end_s`."""
        return self.end_s - float(self.trace.arrival_s[0])

    @property
    def is_closed_loop(self) -> bool:
        """Whether requests were sent as others left, so that no rate was offered."""
        return self.outcome.sent_s is not None

    # Of the counted requests among some.

    def attainment(self, members: Flags) -> float | None:
        """The share of these that met their SLO; None if none counts."""
        return ratio(self._attained(members), int((self.counted & members).sum()))

    def offered_rps(self, members: Flags) -> float | None:
        """The request rate of these, a part of the trace's; None if all arrive at once, or in a closed loop."""
        return None if self.is_closed_loop else self._rate_rps(members)

    def goodput_rps(self, members: Flags) -> float | None:
        """The share of all counted requests that are of these and met their SLO x the rate of all that have an SLO.

        Of all requests, attainment x rate; the goodputs of classes add up to it, also where a warm-up or a stop leaves
        more of one class undecided than of another. None if none of these counts, or there is no rate.
        """
        rate_rps = self._rate_rps(self.has_slo)
        if rate_rps is None or not (self.counted & members).any():
            return None
        return self._attained(members) / int(self.counted.sum()) * rate_rps

    def attained_rps(self, members: Flags, end_s: float) -> float | None:
        """Those that met their SLO, per second from the first arrival after the warm-up to `end_s`."""
        begin_s = float(self.trace.arrival_s[self.after_warmup][0])
        return ratio(self._attained(members), max(end_s - begin_s, 0.0))

    def ttft(self, members: Flags) -> Ttft:
        """Quantiles of the TTFT and, where they fall among those without a first token, times that they exceed."""
        counted = self.counted & members
        values, bounds = self._ttft_or_never_s[counted], self.ttft_bound_s[counted]
        return {
            "ttft_s": quantiles(values, TTFT_PERCENTS),
            "ttft_exceeds_s": exceeded(values, bounds, TTFT_PERCENTS),
        }

    def ttft_quantile(self, share: float) -> float:
        """The quantile of the TTFT at `share`, of all; infinite among those without a first token, NaN of none."""
        return quantile(self._ttft_or_never_s[self.counted], share)

    def parts_of_ttft(self) -> TtftParts:
        """The shares of queueing, service and pauses in the TTFTs of those that finished; they add up to 1."""
        counted = self.counted & (self.state == FINISHED)
        whole_s = float(self.ttft_s[counted].sum())
        queueing, service = (
            ratio(float(part_s[counted].sum()), whole_s) for part_s in (self.queueing_s, self.service_s)
        )
        paused = None if queueing is None or service is None else max(1 - queueing - service, 0.0)
        return {"queueing_share": queueing, "service_share": service, "paused_share": paused}

    def device(self) -> DeviceTime:
        """How the devices of all instances spent the observed time, as shares of it.

        The devices executed passes (utilization, of which check_share is due to checks), or stood still: while word or
        an order was on its way (hand-overs), while the scheduler decided, or with nothing to do (idle). These four add
        up to 1. `control_share` counts all decisions, also those made while a pass was executed.
        """
        logs = self.outcome.logs
        whole_s = self.span_s * len(logs)
        busy_s, check_s = sum(log.busy_s for log in logs), sum(log.check_s for log in logs)
        control_s = sum(log.control_s for log in logs)
        deciding, hand_over, idle = self._stands(busy_s, whole_s)
        return {
            "preemptions": sum(log.preemptions for log in logs),
            "utilization": ratio(busy_s, whole_s),
            "check_share": ratio(max(check_s, 0.0), whole_s),  # a difference of times, so it can be -1e-18
            "control_share": ratio(control_s, whole_s),
            "deciding_share": deciding,
            "hand_over_share": hand_over,
            "idle_share": idle,
            "decisions": sum(log.decisions for log in logs),
        }

    def _stands(self, busy_s: float, whole_s: float) -> tuple[float | None, float | None, float | None]:
        """Shares in which the devices stood still: deciding, hand-overs, idle; None where that is not known."""
        logs = self.outcome.logs
        if not all(log.knows_stands for log in logs):
            return None, None, None
        deciding_s = sum(log.deciding_s for log in logs)
        hand_over_s = max(sum(log.hand_over_s - max(log.heard_s - self.end_s, 0.0) for log in logs), 0.0)
        idle_s = max(whole_s - busy_s - deciding_s - hand_over_s, 0.0)
        return ratio(deciding_s, whole_s), ratio(hand_over_s, whole_s), ratio(idle_s, whole_s)

    @cached_property
    def _ttft_or_never_s(self) -> Floats:
        return np.where(np.isnan(self.ttft_s), np.inf, self.ttft_s)

    def _rate_rps(self, members: Flags) -> float | None:
        """The rate at which these arrive; in a closed loop, at which they complete or are rejected; None if none."""
        share, n = int(members.sum()) / len(self.trace), len(self.trace)
        rate_rps = ratio(n, self.span_s) if self.is_closed_loop else finite(self.trace.rate_rps)
        return None if rate_rps is None else share * rate_rps

    def _attained(self, members: Flags) -> int:
        return int((self.attained & self.counted & members).sum())
