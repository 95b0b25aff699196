"""A case of a validation, one policy on one stretch of a trace at one rate, and what a real run of it is."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from msgspec import UNSET, Meta, Struct, UnsetType

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.core.events import Event
from flowsim.core.ledger import Ledger, Log
from flowsim.core.request import Request
from flowsim.core.server import ServerOptions
from flowsim.core.slo_mix import Assignment
from flowsim.engine.simulate import Outcome
from flowsim.errors import InputError
from flowsim.io.schema import Amount, Count
from flowsim.policies.registry import PolicySpec, load_policy
from flowsim.results.result import RunResult
from flowsim.runs.costs import described
from flowsim.runs.options import RunOptions
from flowsim.runs.prepare import Prepared, Workload, assembled, make_requests
from flowsim.runs.run import execute
from flowsim.traces.trace import Trace

DIGITS = 6
"""Of seconds, in files: microseconds."""
Token = Annotated[int, Meta(ge=-1)]
"""The id of a token; -1 for none."""


class GpuRun(Struct, frozen=True, forbid_unknown_fields=True):
    """One real run of a case; columns have one row per request, seconds from the start of the replay.

    Attributes:
        started_s, finished_s, service_s, preemptions: as `flowsim.core.ledger.Ledger` has them; None for never.
        blocking_s, busy_s, control_s, decisions: as `flowsim.core.ledger.Log` has them.
        pauses: (head, signal, stop, acknowledgement, resumption) of each preemption, seconds; None for never.
        lateness_s: p50, p99 and max of how late arrivals were taken in.
        hand_overs_s: the same of the time between two stretches of execution, where the second was ready.
        machine: clocks, power and throttling meanwhile; empty where they cannot be read.
        rejected_s: when each request was turned away, None for never; absent in older evidence, whose policies rejected
            none: those that the limits turn away have then left on arrival.
        scattered, crowded, first_tokens: as `flowsim.calibration.gpu_engine.replay.Replay` has it.
    """

    started_s: Sequence[Amount | None]
    finished_s: Sequence[Amount | None]
    service_s: Sequence[Amount]
    preemptions: Sequence[Count]
    blocking_s: Sequence[Amount]
    busy_s: Amount
    control_s: Amount
    decisions: Count
    stopped_s: Amount
    pauses: Sequence[Sequence[Amount | None]]
    lateness_s: Mapping[str, Amount]
    hand_overs_s: Mapping[str, Amount]
    machine: Mapping[str, Any] = {}
    scattered: Count = 0
    crowded: Count = 0
    first_tokens: Sequence[Token] = ()
    rejected_s: Sequence[Amount | None] | UnsetType = UNSET

    def outcome(
        self, arrived_s: Sequence[float], turned_away_s: Sequence[float], events: Sequence[Event] | None = None
    ) -> Outcome:
        """As the engine would have written it down.

        Args:
            arrived_s: when each request came to the server.
            turned_away_s: when the limits rejected each request, NaN for never.
            events: what happened, if it was kept.
        """
        ledger = Ledger(len(self.started_s))
        ledger.instance = [0] * len(self.started_s)
        ledger.arrived_s = list(arrived_s)
        ledger.started_s, ledger.finished_s = times(self.started_s), times(self.finished_s)
        ledger.service_s, ledger.preemptions = list(self.service_s), list(self.preemptions)
        ledger.rejected_s = list(turned_away_s) if self.rejected_s is UNSET else times(self.rejected_s)
        log = Log(
            busy_s=self.busy_s,
            control_s=self.control_s,
            knows_stands=False,
            decisions=self.decisions,
            preemptions=len(self.pauses),
            blocking_s=list(self.blocking_s),
        )
        return Outcome(ledger, [log], self.stopped_s, None if events is None else [events])


class Case(Struct, frozen=True, forbid_unknown_fields=True, dict=True):  # dict: for the cached properties
    """One policy on one stretch of a trace at one rate: all that determines its simulation but for the cost model.

    Attributes:
        policy: its specification.
        load: the rate as a share of the policy's simulated capacity; None if the rate was given.
        rate_rps: requests per second, on average.
        arrival_s, input_length, class_code: one row per request.
        class_names, ttft_slo_s: one row per class; None for a class without an SLO.
        server, predictor, seed: as `flowsim.run` takes them.
    """

    policy: str
    load: Amount | None
    rate_rps: Amount
    arrival_s: Sequence[Amount]
    input_length: Sequence[Count]
    class_code: Sequence[Count]
    class_names: Sequence[str]
    ttft_slo_s: Sequence[Amount | None]
    rule: str
    server: ServerOptions
    predictor: str
    seed: Count

    @classmethod
    def of(cls, policy: str, load: float | None, trace: Trace, slo: Assignment, **settings: Any) -> Case:
        """The case of these requests; their times are rounded to microseconds."""
        slos = [slo.ttft_slo_s[slo.class_code == code] for code in range(len(slo.class_names))]
        for name, slo_s in zip(slo.class_names, slos, strict=True):
            if np.unique(slo_s).size > 1:
                raise InputError(
                    "slo", f"differs within the class {name!r}", expected="one SLO per class, for a validation"
                )
        return cls(
            policy,
            load,
            _rounded(trace.rate_rps),
            [_rounded(t) for t in trace.arrival_s.tolist()],
            trace.input_length.tolist(),
            slo.class_code.tolist(),
            list(slo.class_names),
            [float(slo_s[0]) if slo_s.size and math.isfinite(slo_s[0]) else None for slo_s in slos],
            slo.rule,
            **settings,
        )

    @property
    def name(self) -> str:
        """The policy and its load, as people read it."""
        return f"{self.policy}, {self.at}"

    @property
    def at(self) -> str:
        """The load, or the rate."""
        return f"{self.rate_rps:.2f} req/s" if self.load is None else f"{100 * self.load:g} %"

    @property
    def slug(self) -> str:
        """Its name as a file's."""
        return re.sub(r"[^\w.=,-]+", "-", f"{self.policy}-{self.at}").strip("-")

    @cached_property
    def trace(self) -> Trace:
        """The requests."""
        n = len(self.arrival_s)
        columns = (np.array(self.arrival_s), np.array(self.input_length), np.zeros(n, np.int64))
        names = tuple(self.class_names)
        return Trace.from_columns(*columns, np.array(self.class_code), names, name=self.name, source="evidence")

    @cached_property
    def slo(self) -> Assignment:
        """Their classes and TTFT SLOs."""
        codes = np.array(self.class_code)
        return Assignment(np.array(times(self.ttft_slo_s))[codes], codes, tuple(self.class_names), self.rule)

    def requests(self) -> list[Request]:
        """Fresh requests, for one run."""
        return make_requests(self.trace, self.slo, self.server, seed=self.seed)

    def rejected(self, cost: CostModel) -> list[bool]:
        """Of each request, whether it is turned away when it arrives: the KV cache or the context can never hold it."""
        tokens = self.server.kv_tokens
        return [
            (tokens is not None and request.kv_tokens > tokens) or request.input_length > cost.max_context
            for request in self.requests()
        ]

    def simulate(self, cost: CostModel, *, events: bool = False) -> RunResult:
        """What the simulation says of it; `events`: whether to keep what happened."""
        return self._result(execute(self.prepared(cost), events=events).outcome, cost)

    def prepared(self, cost: CostModel) -> Prepared:
        """What its simulation and its run on the GPU need alike."""
        options = RunOptions(
            trace=self.trace.source,
            policy=PolicySpec.parse(self.policy),
            predictor=self.predictor,
            server=self.server,
            seed=self.seed,
        )
        return assembled(Workload(options, self.trace, self.trace, self.slo), load_policy(options.policy), cost)

    def result_of(self, run: GpuRun, cost: CostModel, events: Sequence[Event] | None = None) -> RunResult:
        """A real run as a result, with its events if they were kept."""
        arrived_s = [request.arrival_s for request in self.requests()]
        turned_away = zip(arrived_s, self.rejected(cost), strict=True)
        turned_away_s = [at_s if out else math.nan for at_s, out in turned_away]
        return self._result(run.outcome(arrived_s, turned_away_s, events), cost)

    def _result(self, outcome: Outcome, cost: CostModel) -> RunResult:
        return RunResult(self.trace, self.slo, outcome, self.policy, {}, described(cost))


def stored_seconds(values: Sequence[float]) -> list[float | None]:
    """Seconds as files hold them: microseconds, None in place of NaN."""
    return [None if math.isnan(value) else _rounded(value) for value in values]


def times(values: Sequence[float | None]) -> list[float]:
    """The seconds in a file, NaN in place of None."""
    return [math.nan if value is None else value for value in values]


def _rounded(value: float) -> float:
    return round(float(value), DIGITS)
