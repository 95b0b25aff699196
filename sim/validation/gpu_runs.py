"""The runs of a validation on the GPU: what is missing of them is executed, each case as often as the plan asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from msgspec.structs import replace

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.gpu.graphs import graph_sizes
from flowsim.calibration.gpu.memory import enough_memory
from flowsim.calibration.gpu.monitor import gpu_state
from flowsim.calibration.gpu.quiet_host import RUNNER, core_of
from flowsim.calibration.gpu_engine.replay import Replay, replay_on_device
from flowsim.calibration.gpu_engine.runner import Runner
from flowsim.calibration.gpu_engine.warm_up import LESS, serving_decoder, warm_up
from flowsim.core.events import Event
from flowsim.core.pass_timeline import graph_size
from flowsim.io.counts import number_of
from flowsim.policies.registry import load_policy
from flowsim.validation.case import Case, GpuRun, stored_seconds
from flowsim.validation.distance import distances
from flowsim.validation.evidence import Accepted, Recorded, with_run
from flowsim.validation.plan import Plan, cache_rows
from flowsim.validation.run_events import stored_pauses

Save = Callable[[Recorded, Sequence[Event]], None]
Say = Callable[[str], None]


def run_missing(
    plan: Plan,
    recorded: Mapping[str, Recorded],
    table: OperatorTable,
    costs: CostModel,
    device: str,
    save: Save,
    say: Say,
) -> None:
    """Run what is missing on the GPU, with one decoder and one warm runner.

    Args:
        plan: what to run, and how often.
        recorded: the cases with the runs that they have, by slug.
        table: the operator table of the GPU, which says how its operators were launched.
        costs: its cost model.
        device: "cuda" or "cpu".
        save: called with a case, its runs and the events of the last as soon as that ends.
        say: told before each run what it is.
    """
    spec = table.provenance.rank().spec
    cases = [one.case for one in recorded.values()]
    say(f"building {spec.name} and warming up")
    max_batched_tokens, graph_tokens = plan.run.server.max_batched_tokens, plan.run.server.graph_tokens
    rows = max(graph_size(graph_tokens), *(cache_rows(case) for case in cases))
    longest = max(
        n for case in cases for n, out in zip(case.input_length, case.rejected(costs), strict=True) if not out
    )
    recordings = len({load_policy(case.policy).cut for case in cases}) * sum(graph_sizes(graph_tokens))
    sizes = {"rows": rows, "max_batched_tokens": max_batched_tokens, "recorded_tokens": recordings}
    decoder = serving_decoder(spec, table, device, seed=plan.run.seed, **sizes)
    with Runner(decoder, core_of(device, RUNNER)) as runner, enough_memory(spec.name, LESS):
        runner.call(lambda decoder: warm_up(decoder, min(max_batched_tokens, longest), longest))
        _run_all(plan, dict(recorded), costs, runner, save, say)


def distances_of(recorded: Recorded, costs: CostModel) -> dict[str, Accepted]:
    """By how much today's simulation of a case differs from its runs on the GPU, by measure."""
    real = [recorded.case.result_of(run, costs) for run in recorded.runs]
    return {d.measure: Accepted(d.off, d.floor) for d in distances(recorded.case.simulate(costs), real)}


def _run_all(plan: Plan, recorded: dict[str, Recorded], costs: CostModel, runner: Runner, save: Save, say: Say) -> None:
    """Run what is missing on the GPU: all cases once, then all again, so that a drift shows in the second runs."""
    for number in range(plan.repeats):
        for slug, one in recorded.items():
            if len(one.runs) > number:
                continue
            replayed = f"{number_of(len(one.case.arrival_s), 'request')} in {one.case.arrival_s[-1]:.1f} s"
            say(f"run {number + 1} of {plan.repeats}: {one.case.name}: {replayed}")
            run, events = _run(one.case, costs, runner)
            one = with_run(one, run)
            if len(one.runs) == plan.repeats:
                one = replace(one, distances=distances_of(one, costs))
            save(one, events)
            recorded[slug] = one


def _run(case: Case, costs: CostModel, runner: Runner) -> tuple[GpuRun, Sequence[Event]]:
    """One real execution of a case, and what happened."""
    ready = case.prepared(costs)
    with gpu_state(runner.decoder.device.type == "cuda") as state:
        replay = replay_on_device(ready.requests(), ready.policy, ready.costs, ready.predictor, runner)
    return as_run(replay, state), replay.events


def as_run(replay: Replay, state: dict[str, Any]) -> GpuRun:
    """A replay as evidence has it; `state`: clocks, power and throttling meanwhile."""
    ledger, (log,) = replay.outcome.ledger, replay.outcome.logs
    return GpuRun(
        stored_seconds(ledger.started_s),
        stored_seconds(ledger.finished_s),
        [round(value, 6) for value in ledger.service_s],
        ledger.preemptions,
        [round(value, 6) for value in log.blocking_s],
        round(log.busy_s, 6),
        round(log.control_s, 6),
        log.decisions,
        round(replay.outcome.stopped_s, 6),
        stored_pauses(replay.events),
        _quantiles(replay.lateness_s),
        _quantiles(replay.hand_overs_s),
        state,
        replay.scattered,
        replay.crowded,
        replay.first_tokens,
        stored_seconds(ledger.rejected_s),
    )


def _quantiles(values: Sequence[float]) -> dict[str, float]:
    names = {"p50": 50, "p99": 99, "max": 100}
    return {name: round(float(np.percentile(values, q)), 6) for name, q in names.items()} if values else {}
