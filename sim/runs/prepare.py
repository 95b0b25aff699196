"""From the options of a run to all that is simulated, or run on a GPU."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import repeat

import msgspec
import numpy as np
from msgspec import Struct

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.models import load_model
from flowsim.calibration.costs.pass_costs import PassCosts
from flowsim.calibration.costs.predictor import make_predictor
from flowsim.core.policy import Policy
from flowsim.core.predictor import Predictor
from flowsim.core.prefix_cache import Prefixes, Retention
from flowsim.core.request import Request
from flowsim.core.server import ServerOptions
from flowsim.core.slo_mix import Assignment, SLOMix
from flowsim.engine.kv import taken_tokens
from flowsim.errors import InputError
from flowsim.policies.registry import load_policy
from flowsim.runs.costs import cost_of, rejections
from flowsim.runs.options import RunOptions
from flowsim.runs.serving_stack import frontend_s, stack_written_out, with_stack
from flowsim.runs.slos import drawn_shares, promised, shares_of, slo_file
from flowsim.runs.workload import blamed, replayed
from flowsim.traces.catalogue import check_no_format, load_trace
from flowsim.traces.columns import Blocks
from flowsim.traces.prefix import full_blocks
from flowsim.traces.prefix import new_tokens as only_new_tokens
from flowsim.traces.synthetic import synthesize
from flowsim.traces.trace import Trace

SYNTHETIC = "synthetic:"


class Given(Struct, frozen=True):
    """Objects given in Python, in place of what the options name."""

    trace: Trace | None = None
    policy: Policy | None = None
    cost: CostModel | None = None


NOTHING_GIVEN = Given()


@dataclass(frozen=True, eq=False)
class Workload:
    """What is replayed, whatever serves it.

    Attributes:
        options: those asked for, with the SLO mix and what its file says of the workload written out.
        loaded: the whole trace.
        trace: what is replayed of it.
        slo: the class and the SLO of each request.
    """

    options: RunOptions
    loaded: Trace
    trace: Trace
    slo: Assignment

    def of(self, trace: Trace) -> Workload:
        """The same with another trace, a part of this one or at another rate: its requests get SLOs alike."""
        return replace(self, trace=trace, slo=_promised(trace, self.options))


@dataclass(frozen=True, eq=False)
class Prepared(Workload):
    """All that one run needs.

    Attributes:
        policy: the scheduler.
        costs: what passes cost on the server, checked at the policy's cut.
        predictor: what the policy believes that they cost.
        prefixes: the prefix cache of each instance; None if it has none.
    """

    policy: Policy
    costs: PassCosts
    predictor: Predictor
    prefixes: Prefixes | None

    @property
    def blocks(self) -> Blocks | None:
        """The prefix blocks that may be reused; None without a prefix cache."""
        return None if self.prefixes is None else self.trace.blocks

    @property
    def rejections(self) -> list[str]:
        """What to say of prompts that the model cannot serve."""
        return rejections(self.costs.model, self.trace)

    def requests(self) -> list[Request]:
        """Fresh requests, for one run."""
        return make_requests(self.trace, self.slo, self.options.server, self.blocks, self.options.seed)


def prepare(options: RunOptions, given: Given = NOTHING_GIVEN) -> Prepared:
    """All that a run needs but for its requests, which are made when they are asked for.

    Raises:
        InputError: something that the options name cannot be found, or does not go together; its `option` is the path
            of the option that it is about.
    """
    with blamed("policy"):
        policy = load_policy(options.policy) if given.policy is None else given.policy
    with blamed("cost"):
        costs = cost_of(options) if given.cost is None else given.cost
    with blamed("correct"):
        if options.correct and not (costs.provenance and costs.provenance.table.corrected):
            raise InputError("", f"does not change {costs.name}, given in Python", expected="load_cost(correct=True)")
    known = costs.provenance
    model = options.model if known is None else known.table.rank().model
    return assembled(_workload(options, model, given.trace), policy, costs)


def prepare_workload(options: RunOptions) -> Workload:
    """What a run replays, whatever its costs. InputError as `prepare` raises it, or as `load_model` does."""
    with blamed("model"):
        model = load_model(options.model).name
    return _workload(options, model, None)


def _workload(options: RunOptions, model: str, given: Trace | None) -> Workload:
    with blamed("trace"):
        loaded = read_input(options) if given is None else given
    options = _written_out(options, model, loaded)
    mix = _mix(options)
    with blamed("slo.mix"):
        mix.check_classes(loaded)
    with blamed("workload.new_tokens"):
        loaded = only_new_tokens(loaded) if options.workload.new_tokens else loaded
    reweigh = mix.rule(loaded, shares=True) == "class"
    trace = replayed(loaded, options.workload, options.seed, options.until_s, reweigh=reweigh)
    return Workload(options, loaded, trace, _promised(trace, options))


def assembled(workload: Workload, policy: Policy, costs: CostModel) -> Prepared:
    """The run of requests whose classes and SLOs are known: with what the policy believes of their cost.

    Raises:
        InputError: recorded forwards of this size were not measured, or there is no such predictor.
    """
    options, trace = workload.options, workload.trace
    server = options.server
    with blamed("server.graph_tokens"):
        pass_costs = PassCosts(with_stack(costs, server), server, policy.cut)
    with blamed("predictor"):
        predictor = make_predictor(options.predictor, pass_costs, options.seed)
    with blamed("workload.prefix_cache"):
        prefixes = prefix_cache(trace, options)
    return Prepared(options, workload.loaded, trace, workload.slo, policy, pass_costs, predictor, prefixes)


def read_input(options: RunOptions) -> Trace:
    """The whole trace that the options name; one of synthetic:PRESET:N[:ARRIVALS] is drawn anew for each seed."""
    name = options.trace
    if not name.startswith(SYNTHETIC):
        workload = options.workload
        how = {"spread": workload.spread, "drop_failed": workload.drop_failed}
        return load_trace(name, workload.format, seed=options.seed, **how)
    check_no_format(options.workload.format, name)
    preset, _, rest = name.removeprefix(SYNTHETIC).partition(":")
    n, _, arrivals = rest.partition(":")
    if not n.isdecimal():
        raise InputError(name, "lacks its number of requests", expected="synthetic:PRESET:N")
    return synthesize(int(n), 1.0, options.seed, preset, arrivals=arrivals or None)


def make_requests(
    trace: Trace, slo: Assignment, server: ServerOptions, blocks: Blocks | None = None, seed: int = 0
) -> list[Request]:
    """The engine's requests: those of the trace, with their SLOs (infinite where there is none) and prefix blocks.

    They are sent when the trace says, and arrive when the frontend has passed them on; `seed` is that of its jitter.
    """
    slo_s = np.where(np.isnan(slo.ttft_slo_s), math.inf, slo.ttft_slo_s)
    names = [slo.class_names[code] for code in slo.class_code.tolist()]
    lists: Iterable[Sequence[int]] = repeat((), len(trace)) if blocks is None else full_blocks(trace, blocks)
    of_trace = (trace.priority.tolist(), trace.clients, trace.output_length.tolist())
    arrival_s = trace.arrival_s + frontend_s(server, len(trace), seed)
    sent_s = trace.arrival_s.tolist()
    room = taken_tokens(trace.input_length, server.block_tokens).tolist()
    columns = (arrival_s.tolist(), trace.input_length.tolist(), slo_s.tolist(), names, room, lists, *of_trace, sent_s)
    return [
        Request(id, arrival_s, tokens, slo_s, name, 0.0, room, ids, priority, client, output_length, sent_s=sent_s)
        for id, (arrival_s, tokens, slo_s, name, room, ids, priority, client, output_length, sent_s) in enumerate(
            zip(*columns, strict=True)
        )
    ]


def prefix_cache(trace: Trace, options: RunOptions) -> Prefixes | None:
    """The prefix cache of each instance.

    Raises:
        InputError: the trace has no prefix blocks, or they are not whole KV blocks.
    """
    text, size = options.workload.prefix_cache, options.server.block_tokens
    retention = Retention.parse(text)
    if retention is None:
        return None
    if trace.blocks is None:
        raise InputError(trace.where, f"has no prefix blocks (hash_ids), which the prefix cache {text!r} needs")
    if trace.blocks.tokens % size:
        what = f"of which the {trace.blocks.tokens} tokens of the trace's prefix blocks are a multiple"
        expected = f"a number {what}, for the prefix cache {text!r}"
        with blamed("server.block_tokens"):
            raise InputError("", found=size, expected=expected)
    return Prefixes(retention, trace.blocks.tokens)


def _written_out(options: RunOptions, model: str, trace: Trace) -> RunOptions:
    """The options with the mix in full, and the shares and rates of its file where none are asked for."""
    with blamed("slo.mix"):
        slos = slo_file(options.slo.mix, model, options.slo.targets, own=trace.has("slo_s"))
    workload = msgspec.structs.replace(options.workload, rates=options.workload.rates or slos.rates or None)
    shares = drawn_shares(options.slo, slos, workload.rates, trace)
    mix = msgspec.structs.replace(slos.mix, by="shares") if shares else slos.mix
    slo = msgspec.structs.replace(options.slo, mix=mix.to_dict(), shares=shares or None)
    with blamed("server.stack"):
        server = stack_written_out(options.server)
    return msgspec.structs.replace(options, workload=workload, slo=slo, server=server)


def _mix(options: RunOptions) -> SLOMix:
    """The mix of options that are written out, unscaled."""
    return SLOMix.from_dict(options.slo.mix)  # type: ignore[arg-type]


def _promised(trace: Trace, options: RunOptions) -> Assignment:
    """The class and the SLO of each request, by options that are written out."""
    return promised(trace, _mix(options).scaled(options.slo.scale), shares_of(options.slo.shares), options.seed)
