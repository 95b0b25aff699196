"""What `flowsim validate` replays: policies, rates and how long; and the cases that follow from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.predictor import parse_predictor
from flowsim.core.server import ServerOptions
from flowsim.engine.kv import taken_tokens
from flowsim.engine.simulate import kv_capacity_tokens
from flowsim.errors import InputError
from flowsim.io.counts import number_of
from flowsim.io.notebook import facts_html
from flowsim.io.schema import Amount, Checked, Name, Positive, option
from flowsim.policies.registry import DEFAULT_POLICIES, PolicySpec, load_policy
from flowsim.runs.costs import extrapolated, over_context, rejections
from flowsim.runs.options import RunOptions, columns, from_values, options, value_of
from flowsim.runs.prepare import Workload, prepare_workload
from flowsim.runs.workload import blamed
from flowsim.studies.point import Point
from flowsim.studies.search import FEWEST_REQUESTS, Search, highest_rates
from flowsim.traces.trace import Trace
from flowsim.validation.case import Case

QUICK: Mapping[str, Any] = {"policies": DEFAULT_POLICIES, "loads": (0.75,), "duration_s": 20.0}
"""The fields of a plan that is over soon."""
KV_TOKENS = 1 << 18
"""Default tokens of the KV cache: prompts that have begun and not finished need no more, and allocating it is quick."""
SEARCHED = 1500
"""Requests on which the capacity of a policy is searched."""
FEWEST = 2
LONGER = 10
"""Times its duration that a case lasts at most, where the fewest requests take longer to arrive."""
READING = ("workload.format", "workload.spread", "workload.drop_failed")
USED = ("trace", "model", "slo.mix", "slo.scale", *READING, "predictor", "seed")
"""Options of a run that a validation has, besides those of the server."""
Repeats = Annotated[int, Meta(ge=1, le=100)]
Factor = Annotated[float, Meta(ge=1e-3, le=1e3)]
Load = Annotated[float, Meta(ge=0.01, le=10)]


class Plan(Checked, frozen=True, kw_only=False):
    """What to replay, and how.

    Attributes:
        run: the trace, the SLOs, the model, the server, the predictor and the seed. A mapping of these options, or
            the name of a trace alone, will do. The others keep their defaults.
    """

    run: RunOptions
    policies: Annotated[Sequence[Name], option("Once for each policy.", "SPEC", flag="--policy")] = (
        "fcfs",
        "chunked:2048",
        "edf:cut=layer",
        "flowprefill:cut=block",
        "flowprefill",
    )
    loads: Annotated[
        Sequence[Load],
        option("Rate as a share of each policy's simulated capacity; once for each.", "SHARE", flag="--load"),
    ] = (0.5, 0.75, 0.9)
    rate_scale: Annotated[Factor | None, option("Instead: multiply the trace's own rate.", "FACTOR")] = None
    duration_s: Annotated[
        Positive, option("Seconds of arrivals in each run.", "S", flag="--duration", keyword="duration_s")
    ] = 60.0
    start_s: Annotated[Amount, option("Where in the trace, seconds.", "S", flag="--start")] = 0.0
    repeats: Annotated[Repeats, option("Runs of each case on the GPU.")] = 2

    def __post_init__(self) -> None:
        given: Any = self.run
        if not isinstance(given, RunOptions):
            values = {"trace": given} if isinstance(given, str) else given
            if not isinstance(values, Mapping):
                raise InputError("run", found=given, expected="RunOptions, or the name of a trace")
            msgspec.structs.force_setattr(self, "run", from_values(values))
        super().__post_init__()
        for name in ("policies", "loads"):
            if not getattr(self, name):
                raise InputError(name, found=[], expected="one or more")
        for policy in self.policies:
            with blamed("policies"):
                load_policy(policy)
        with blamed("predictor"):
            parse_predictor(self.run.predictor)
        if self.run.server.instances != 1:
            raise InputError("instances", found=self.run.server.instances, expected="1, as there is one GPU")
        if self.run.server.stack is not None or self.run.server.has_stack:
            raise InputError("stack", "is not an option of a validation: its runs have none", expected="no stack")
        for path in options():
            if not (path in USED or path.startswith("server.")) and value_of(self.run, path) != options()[path].default:
                raise InputError(path, "is not an option of a validation", expected=", ".join([*USED, "server"]))

    def _repr_html_(self) -> str:
        at = f"{self.rate_scale:g} x its rate" if self.rate_scale else f"loads {', '.join(map(str, self.loads))}"
        rows = [("policies", ", ".join(self.policies)), ("rates", at)]
        rows.append(("runs", f"{self.repeats} of each case, of {self.duration_s:g} s of arrivals"))
        return facts_html(f"Validation on {self.run.trace}", rows)

    @property
    def window(self) -> str:
        """The part of the trace from where it is replayed."""
        return f"{self.start_s}:"

    @property
    def shared(self) -> dict[str, Any]:
        """The options that all cases share, by keyword, and the server."""
        known = columns(self.run)
        values = {options()[path].keyword: known[path] for path in USED if path != "trace"}
        seed = values.pop("seed")
        return {**values, "server": msgspec.structs.asdict(self.run.server), "seed": seed}

    def point(self, policy: str, cost: str) -> Point:
        """The part of the trace on which the policy's capacity is searched."""
        workload = msgspec.structs.replace(self.run.workload, window=self.window, limit=SEARCHED)
        changed = {"policy": PolicySpec.parse(policy), "cost": cost, "workload": workload}
        return Point(msgspec.structs.replace(self.run, **changed))


def requests_of(plan: Plan) -> Workload:
    """All requests of a plan from its start on, at the rate of the trace or of the SLO file, as a run prepares them.

    Raises:
        InputError: a trace or SLOs that cannot be used, or too few requests.
    """
    workload = msgspec.structs.replace(plan.run.workload, window=plan.window)
    whole = prepare_workload(msgspec.structs.replace(plan.run, workload=workload))
    if plan.rate_scale is None:
        part, fewest = whole.trace.head(SEARCHED), FEWEST_REQUESTS
        what = "to search the highest rate (or --rate-scale)"
    else:
        part, fewest, what = _scaled(whole.trace, plan.rate_scale, plan.duration_s), FEWEST, "in the duration"
    if len(part) < fewest or not part.span_s:
        start = f" from {plan.start_s:g} s on" if plan.start_s else ""
        found = number_of(len(part), "request") + " at once" * (len(part) >= fewest)
        raise InputError(f"{plan.run.trace}{start}", f"has {found}", expected=f">= {fewest}, over some time, {what}")
    return whole


def cases_of(
    plan: Plan, whole: Workload, policy: str, table: Path, costs: CostModel, known: Sequence[Case] = ()
) -> list[Case]:
    """The cases of one policy, one per load; those that are `known` keep their rate, whatever is simulated by now."""
    if plan.rate_scale is not None:
        part = _scaled(whole.trace, plan.rate_scale, plan.duration_s)
        return [_case(plan, whole.of(part), policy, None, costs)]
    kept = {case.load: case for case in known if case.policy == policy and _is_of(case, whole.trace, plan.duration_s)}
    missing = [load for load in plan.loads if load not in kept]
    if missing:
        found = highest_rates(plan.point(policy, str(table.resolve())), str(Path.cwd()), Search())
        sustained_rps = found.highest["sustained"].rate_rps
        if not sustained_rps:
            raise InputError(
                f"policy {policy}", "sustains no rate on this trace", expected="--rate-scale in place of --load"
            )
        for load in missing:
            part = _at_rate(whole.trace, load * sustained_rps, plan.duration_s)
            kept[load] = _case(plan, whole.of(part), policy, load, costs)
    return [kept[load] for load in plan.loads]


def shortfalls(plan: Plan, whole: Workload, cases: Sequence[Case], costs: CostModel) -> Iterator[str]:
    """What to say of cases in which something is not as it was asked for, or the costs do not reach.

    Their duration is longer than what is left of the trace at their rate; prompts are rejected, longer than the model
    is made for, or beyond what was measured.
    """
    if lasting := _lasting(plan, len(whole.trace), cases):
        yield lasting
    longest = max(cases, key=lambda case: len(case.arrival_s))
    over = over_context(costs, longest.trace)
    if rejected := int((np.array(longest.rejected(costs)) & ~over).sum()):
        yield f"rejected, for they need more KV cache than there is: {rejected} of {len(longest.arrival_s)} prompts"
    yield from rejections(costs, longest.trace)
    none = np.zeros_like(longest.trace.input_length)  # is cached
    if beyond := extrapolated(costs, longest.trace, plan.run.server.max_batched_tokens, none):
        yield f"extrapolated, for they reach beyond the measured sizes: {beyond} of {len(longest.arrival_s)} prompts"


def _lasting(plan: Plan, n: int, cases: Sequence[Case]) -> str:
    """What to say if the duration is longer than what is left of the trace."""
    spans_s = [case.arrival_s[-1] for case in cases if len(case.arrival_s) == n and case.rate_rps * plan.duration_s > n]
    if not spans_s:
        return ""
    lasting = " to ".join(dict.fromkeys(f"{span_s:.1f}" for span_s in (min(spans_s), max(spans_s))))
    return f"{plan.run.trace} has {n} requests for a duration of {plan.duration_s:g} s: they last {lasting} s"


def _case(plan: Plan, part: Workload, policy: str, load: float | None, costs: CostModel) -> Case:
    settings = {"predictor": plan.run.predictor, "seed": plan.run.seed}
    return Case.of(policy, load, part.trace, part.slo, server=served_by(plan, part.trace, costs), **settings)


def _is_of(case: Case, whole: Trace, duration_s: float) -> bool:
    """Whether a case is of this stretch of this trace, at whatever rate."""
    part = _at_rate(whole, case.rate_rps, duration_s)
    same = len(part) == len(case.arrival_s) and case.input_length == part.input_length.tolist()
    return same and np.allclose(part.arrival_s, case.arrival_s, atol=1e-3)


def _scaled(trace: Trace, factor: float, duration_s: float) -> Trace:
    """The requests that arrive within this time at a factor of the trace's own rate."""
    return trace.window(0.0, duration_s * factor).scaled(factor)


def _at_rate(trace: Trace, rate_rps: float, duration_s: float) -> Trace:
    """The first requests of a trace, at this rate for this time."""
    if rate_rps * duration_s * LONGER < FEWEST:
        rate = f"{rate_rps:.3g} req/s, the rate at this load, {FEWEST} requests take {FEWEST / rate_rps:.3g} s"
        expected = "a duration from a tenth of that, or more load"
        raise InputError("duration_s", f"is {duration_s:g} s, but at {rate}", expected=expected)
    part = trace.head(max(FEWEST, round(rate_rps * duration_s)))
    if not part.span_s:
        raise InputError(
            trace.where, f"its first {len(part)} requests arrive at one instant", expected="a longer duration"
        )
    return part.scaled(rate_rps / part.rate_rps)


def served_by(plan: Plan, trace: Trace, costs: CostModel) -> ServerOptions:
    """The plan's server, its KV cache no larger than what all the requests of a trace take together."""
    server = plan.run.server
    everything = int(taken_tokens(trace.input_length, server.block_tokens).sum())
    most = kv_capacity_tokens(server, costs) if server.kv_tokens else min(kv_capacity_tokens(server, costs), KV_TOKENS)
    return msgspec.structs.replace(server, kv_tokens=min(most, everything))


def cache_rows(case: Case) -> int:
    """Rows of the cache: half as many again as tokens may be in it, for each prompt's are in one stretch.

    In a cache of 2^18 tokens that is always full, 2 of 20000 prompts of QwenTrace's lengths then find no stretch (a
    quarter as many again: 149; twice as many: none). They wait.
    """
    return min(sum(request.kv_tokens for request in case.requests()), (case.server.kv_tokens or 0) * 3 // 2)
