"""`flowsim.run`: from a trace and a policy to a result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

import flowsim
from flowsim.clairvoyant.bound import Bounding
from flowsim.clairvoyant.hindsight import Hindsight
from flowsim.core.policy import Policy
from flowsim.core.summary import Inputs
from flowsim.engine.simulate import Outcome, simulate
from flowsim.errors import InputError
from flowsim.policies.registry import PolicySpec
from flowsim.results.result import RunResult
from flowsim.runs.bound import bound_to_state, workload_of
from flowsim.runs.costs import anywhere, beyond_fit, costs_place, described, extrapolated, file_name, sources_of
from flowsim.runs.keywords import documented, from_keywords
from flowsim.runs.options import RunOptions, options, to_values, value_of
from flowsim.runs.pins import compare_pins, pins_of
from flowsim.runs.prepare import Given, Prepared, prepare
from flowsim.runs.serving_stack import stack_stated
from flowsim.traces.trace import Trace

DEFAULT_POLICY = "flowprefill"
NOTHING_PINNED: Mapping[str, str] = {}
TOLD = ("trace", "policy", "cost", "model", "gpu", "tp", "correct", "slo.mix", "bound")
"""The options that other entries of a summary tell of."""


@documented
def run(
    trace: Trace | str | Path | RunOptions,
    policy: Policy | PolicySpec | str = DEFAULT_POLICY,
    *,
    events: bool = False,
    progress: Callable[[int, int], None] | None = None,
    **keywords: Any,
) -> RunResult:
    """Replay a trace under a policy.

    Args:
        trace: a `Trace`, or the name of one: a file, "example", or "synthetic:PRESET:N"; or the `RunOptions` of the
            whole run, beside which no policy and no option is given.
        policy: a policy, or its specification: "fcfs", "chunked:2048", "flowprefill:cut=layer", "module:Class".
        events: whether to keep what happened on each instance in `outcome.events`; `flowsim.explain` needs it.
        progress: called now and then with (requests arrived, requests in all), also while a bound is worked out.
        {options}

    Raises:
        InputError: something that was given is wrong; one line says what.

    Warns:
        ChangedInputs: the options pin a trace, a table, a policy or a version other than those found.
    """
    if isinstance(trace, RunOptions):
        if keywords or policy != DEFAULT_POLICY:
            raise InputError(
                ", ".join(keywords) or "policy", "is given together with RunOptions", expected="one of them"
            )
        wanted, given = trace, Given()
    else:
        wanted, given = from_keywords(trace, policy, keywords)
    ready = prepare(wanted, given)
    pinned = pins_of(ready)
    compare_pins(ready, pinned)
    bounding = bound_to_state(ready, progress)
    return execute(ready, events=events, progress=progress, pinned=pinned, bounding=bounding)


def execute(
    ready: Prepared,
    *,
    events: bool = False,
    progress: Callable[[int, int], None] | None = None,
    pinned: Mapping[str, str] = NOTHING_PINNED,
    bounding: Bounding | str | None = None,
) -> RunResult:
    """Simulate what was prepared; `pinned` is what its config.yaml pins, `bounding` as `RunResult` has it."""
    n, requests, replay = len(ready.trace), ready.requests, _replaying(ready)
    arrivals = None if progress is None else (lambda arrived: progress(arrived, n))
    outcome = replay(requests(), ready.policy, predictor=ready.predictor, events=events, progress=arrivals)
    if outcome.sent_s is not None:
        ready = replace(ready, trace=replace(ready.trace, arrival_s=np.array(outcome.sent_s)))
    return RunResult(
        ready.trace,
        ready.slo,
        outcome,
        str(ready.options.policy),
        {
            **to_values(ready.options),
            "trace": anywhere(ready.options.trace),
            **costs_place(ready.costs.model),
            "pinned": dict(pinned),
        },
        _inputs(ready, np.array(outcome.ledger.cached_tokens)),
        ready.options.warmup,
        Hindsight(workload_of(ready), ready.policy, ready.predictor, requests, replay) if events else None,
        bounding,
    )


def _replaying(ready: Prepared) -> Callable[..., Outcome]:
    """Simulates what was prepared: of requests, a policy and keywords, as `Hindsight` asks it."""
    concurrency, trace = ready.options.workload.concurrency, ready.trace
    decode_s = [] if concurrency is None else np.nan_to_num(trace.latency_s - trace.ttft_s).tolist()
    return partial(
        simulate,
        costs=ready.costs,
        prefixes=ready.prefixes,
        until_s=ready.options.until_s,
        concurrency=concurrency,
        decode_s=decode_s,
    )


def _inputs(ready: Prepared, cached: NDArray[np.int64]) -> Inputs:
    """What a summary says of where the run comes from; `cached`: tokens of each request that were, shape [n]."""
    costs = ready.costs.model
    inputs: dict[str, Any] = {
        "trace": file_name(ready.options.trace),
        "trace_sha256": ready.loaded.sha256,
        "trace_notices": [
            *ready.trace.notices,
            *beyond_fit(ready.options.predictor, costs, ready.trace),
            *ready.rejections,
        ],
        **described(costs),
        "cost_model_sources": [
            *sources_of(costs, ready.options.server.graph_tokens),
            *stack_stated(ready.options.server),
        ],
        "extrapolated": extrapolated(costs, ready.trace, ready.options.server.max_batched_tokens, cached),
        "slo": ready.slo.rule,
        **_settings(ready.options),
        "cached_share": float(cached.sum() / ready.trace.input_length.sum()),
        "version": flowsim.__version__,
    }
    return cast(Inputs, inputs)  # the options of a run are not written out in the type


def _settings(run: RunOptions) -> dict[str, Any]:
    """The options that a summary repeats, by keyword; those of the server together."""
    own = {path: one for path, one in options().items() if not (path in TOLD or path.startswith("server."))}
    return {one.keyword: value_of(run, path) for path, one in own.items()} | {
        "server": msgspec.structs.asdict(run.server)
    }
