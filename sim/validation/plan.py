"""What `flowsim validate` replays: policies, rates and windows; and the cases that follow from them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.predictor import parse_predictor
from flowsim.calibration.gpu.machine import check_seed
from flowsim.core.server import ServerOptions
from flowsim.core.slo import Assignment
from flowsim.engine.simulate import kv_capacity_tokens
from flowsim.errors import InputError
from flowsim.policies.registry import DEFAULT_POLICIES, load_policy
from flowsim.runs.costs import extrapolated
from flowsim.runs.prepare import slo_file
from flowsim.runs.workload import WorkloadOptions, promised
from flowsim.studies.point import Point, part_of
from flowsim.studies.search import FEWEST_REQUESTS, Search, highest_rate
from flowsim.traces.trace import Trace
from flowsim.validation.case import Case

POLICIES = ("fcfs", "chunked:2048", "edf:cut=layer", "flowprefill:cut=block", "flowprefill")
LOADS, WINDOW_S = (0.5, 0.75, 0.9), 60.0
QUICK: Mapping[str, Any] = {"policies": DEFAULT_POLICIES, "loads": (0.75,), "window_s": 20.0}
"""The fields of a plan that is over soon."""
KV_TOKENS = 1 << 18
"""Default tokens of the KV cache: prompts that have begun and not finished need no more, and allocating it is quick."""
SEARCHED = 1500
"""Requests on which the capacity of a policy is searched."""
FEWEST, MOST_REPEATS = 2, 100
LONGER = 10
"""Times its window that a case lasts at most, where the fewest requests take longer to arrive."""
RATE_SCALES, SHARES = (1e-3, 1e3), (0.01, 10.0)


@dataclass(frozen=True)
class Plan:
    """What to replay, and how.

    Attributes:
        trace: a file, a built-in trace, or "synthetic:PRESET:N".
        policies: specifications.
        loads: rates, as shares of the capacity that the simulation finds for each policy.
        rate_scale: in place of `loads`, a factor of the trace's own rate.
        window_s: how long requests arrive in each run, seconds; `start_s`: where in the trace.
        repeats: how often each case is run on the GPU.
        model, slo, slo_scale, format, predictor, server, seed: as `flowsim.run` takes them.
    """

    trace: str
    policies: Sequence[str] = POLICIES
    loads: Sequence[float] = LOADS
    rate_scale: float | None = None
    window_s: float = WINDOW_S
    start_s: float = 0.0
    repeats: int = 2
    model: str = "llama3-8b"
    slo: str | None = None
    slo_scale: float = 1.0
    format: str | None = None
    predictor: str = "cubic"
    server: ServerOptions = field(default_factory=ServerOptions)
    seed: int = 0

    def __post_init__(self) -> None:
        for policy in self.policies:
            load_policy(policy)
        check_seed(self.seed)
        parse_predictor(self.predictor)
        if not 1 <= self.repeats <= MOST_REPEATS:
            raise InputError("repeats", found=self.repeats, expected=f"from 1 to {MOST_REPEATS}")
        if not 0 < self.window_s < math.inf:
            raise InputError("window", found=self.window_s, expected="> 0 and finite")
        if not 0 <= self.start_s < math.inf:
            raise InputError("start", found=self.start_s, expected=">= 0 and finite")
        least, most = RATE_SCALES
        if self.rate_scale is not None and not least <= self.rate_scale <= most:
            raise InputError("rate_scale", found=self.rate_scale, expected=f"from {least:g} to {most:g}")
        least, most = SHARES
        if self.rate_scale is None and not (self.loads and all(least <= load <= most for load in self.loads)):
            allowed = f"one or more shares of the capacity, from {least:g} to {most:g}"
            raise InputError("loads", found=list(self.loads), expected=allowed)
        if self.server.instances != 1:
            raise InputError("instances", found=self.server.instances, expected="1, as there is one GPU")

    def point(self, policy: str, cost: str) -> Point:
        """The part of the trace on which the policy's capacity is searched."""
        workload = {"window": f"{self.start_s}:", "limit": SEARCHED, "format": self.format}
        values = {"trace": self.trace, "policy": policy, "cost": cost, "model": self.model, "seed": self.seed}
        sections = {"workload": workload, "slo": {"mix": self.slo, "scale": self.slo_scale}, "server": self.server}
        return Point.of({**values, **sections, "predictor": self.predictor})


def whole_trace(plan: Plan, window: str | None = None) -> Trace:
    """The trace of a plan, or the part of it in a window ("FROM:TO", seconds), at its own rate."""
    workload = WorkloadOptions(format=plan.format, window=window)
    return part_of(plan.trace, str(Path.cwd()), workload, seed=plan.seed)


def check(plan: Plan) -> None:
    """Raise `InputError` for a trace or SLOs that cannot be used, before anything is measured."""
    whole = whole_trace(plan, f"{plan.start_s}:")
    _promised(plan, whole)
    if plan.rate_scale is None:
        part, fewest, what = whole.head(SEARCHED), FEWEST_REQUESTS, "to search the highest rate (or --rate-scale)"
    else:
        part, fewest, what = _scaled(whole, plan.rate_scale, plan.window_s), FEWEST, "in the window"
    if len(part) < fewest or not part.span_s:
        start = f" from {plan.start_s:g} s on" if plan.start_s else ""
        found = f"{len(part)} request{'s' * (len(part) > 1)}{' at once' if len(part) >= fewest else ''}"
        raise InputError(f"{plan.trace}{start}", f"has {found}", expected=f">= {fewest}, over some time, {what}")


def cases_of(plan: Plan, policy: str, table: Path, costs: CostModel, known: Sequence[Case] = ()) -> list[Case]:
    """The cases of one policy, one per load; those that are `known` keep their rate, whatever is simulated by now."""
    whole = whole_trace(plan, f"{plan.start_s}:")
    if plan.rate_scale is not None:
        return [_case(plan, policy, None, _scaled(whole, plan.rate_scale, plan.window_s), costs)]
    kept = {case.load: case for case in known if case.policy == policy and _is_of(case, whole, plan.window_s)}
    missing = [load for load in plan.loads if load not in kept]
    if missing:
        found = highest_rate(plan.point(policy, str(table.resolve())), str(Path.cwd()), Search())
        if not found.low:
            raise InputError(
                f"policy {policy}", "sustains no rate on this trace", expected="--rate-scale in place of --load"
            )
        for load in missing:
            kept[load] = _case(plan, policy, load, _at_rate(whole, load * found.low, plan.window_s), costs)
    return [kept[load] for load in plan.loads]


def shortfalls(plan: Plan, cases: Sequence[Case], costs: CostModel) -> Iterator[str]:
    """What to say of cases in which something is not as it was asked for, or the costs do not reach.

    Their window is longer than what is left of the trace at their rate; prompts are rejected, longer than the model
    is made for, or beyond what was measured.
    """
    if lasting := _lasting(plan, cases):
        yield lasting
    longest = max(cases, key=lambda case: len(case.arrival_s))
    if rejected := sum(longest.rejected()):
        yield f"rejected, for they need more KV cache than there is: {rejected} of {len(longest.arrival_s)} prompts"
    assert costs.provenance is not None
    context = costs.provenance.table.rank().spec.max_context
    if deep := sum(tokens > context for tokens in longest.input_length):
        yield f"longer than the model's context of {context:,} tokens: {deep} of {len(longest.arrival_s)} prompts"
    none = np.zeros_like(longest.trace.input_length)  # is cached
    if beyond := extrapolated(costs, longest.trace, plan.server.max_batched_tokens, none):
        yield f"extrapolated, for they reach beyond the measured sizes: {beyond} of {len(longest.arrival_s)} prompts"


def _lasting(plan: Plan, cases: Sequence[Case]) -> str:
    """What to say if a window is longer than what is left of the trace."""
    n = len(whole_trace(plan, f"{plan.start_s}:"))
    spans_s = [of.arrival_s[-1] for of in cases if len(of.arrival_s) == n and of.rate_rps * plan.window_s > n]
    if not spans_s:
        return ""
    lasting = " to ".join(dict.fromkeys(f"{span_s:.1f}" for span_s in (min(spans_s), max(spans_s))))
    return f"{plan.trace} has {n} requests for a window of {plan.window_s:g} s: they last {lasting} s"


def _case(plan: Plan, policy: str, load: float | None, trace: Trace, costs: CostModel) -> Case:
    server, slo = _server(plan.server, trace, costs), _promised(plan, trace)
    settings = {"server": server, "predictor": plan.predictor, "seed": plan.seed}
    return Case.of(policy, load, trace, slo, **settings)


def _is_of(case: Case, whole: Trace, window_s: float) -> bool:
    """Whether a case is of this window of this trace, at whatever rate."""
    part = _at_rate(whole, case.rate_rps, window_s)
    same = len(part) == len(case.arrival_s) and case.input_length == part.input_length.tolist()
    return same and np.allclose(part.arrival_s, case.arrival_s, atol=1e-3)


def _scaled(trace: Trace, factor: float, window_s: float) -> Trace:
    """The requests that arrive within this time at a factor of the trace's own rate."""
    return trace.window(0.0, window_s * factor).scaled(factor)


def _at_rate(trace: Trace, rate_rps: float, window_s: float) -> Trace:
    """The first requests of a trace, at this rate for this time."""
    if rate_rps * window_s * LONGER < FEWEST:
        rate = f"{rate_rps:.3g} req/s, the rate at this load, {FEWEST} requests take {FEWEST / rate_rps:.3g} s"
        raise InputError(
            "window", f"is {window_s:g} s, but at {rate}", expected="--window from a tenth of that, or more load"
        )
    part = trace.head(max(FEWEST, round(rate_rps * window_s)))
    if not part.span_s:
        raise InputError(
            trace.where, f"its first {len(part)} requests arrive at one instant", expected="a longer window"
        )
    return part.scaled(rate_rps / part.rate_rps)


def _server(server: ServerOptions, trace: Trace, costs: CostModel) -> ServerOptions:
    """The server with a KV cache no larger than what all the requests take together."""
    blocks = -(-trace.input_length // server.block_tokens)
    most = kv_capacity_tokens(server, costs) if server.kv_tokens else min(kv_capacity_tokens(server, costs), KV_TOKENS)
    return msgspec.structs.replace(server, kv_tokens=min(most, int(blocks.sum()) * server.block_tokens))


def cache_rows(case: Case) -> int:
    """Rows of the cache: half as many again as tokens may be in it, for each prompt's are in one stretch.

    In a cache of 2^18 tokens that is always full, 2 of 20000 prompts of QwenTrace's lengths then find no stretch (a
    quarter as many again: 149; twice as many: none). They wait.
    """
    return min(sum(request.kv_tokens for request in case.requests()), (case.server.kv_tokens or 0) * 3 // 2)


def _promised(plan: Plan, trace: Trace) -> Assignment:
    """The class and the SLO of each request."""
    slos = slo_file(plan.slo, plan.model)
    workload = WorkloadOptions(shares=slos.shares or None, rates=slos.rates or None)
    return promised(trace, workload, slos.mix.scaled(plan.slo_scale), plan.seed)
