"""`flowsim validate`: execute a replay on the GPU at hand, simulate the same, and keep both as evidence."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace

import flowsim
from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.fit import fit
from flowsim.calibration.costs.models import load_model
from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.costs.table_catalogue import load_table
from flowsim.calibration.gpu.graphs import graph_sizes
from flowsim.calibration.gpu.machine import check_device, machine
from flowsim.calibration.gpu.memory import enough_memory
from flowsim.calibration.gpu.monitor import gpu_state
from flowsim.calibration.gpu.quiet_host import RUNNER, core_of
from flowsim.calibration.measure.calibrate import calibrate
from flowsim.calibration.measure.grid import QUICK, REPLAYED
from flowsim.calibration.serve.replay import Replay, execute
from flowsim.calibration.serve.runner import Runner
from flowsim.calibration.serve.warm_up import LESS, UNSERVABLE, serving_decoder, warm_up
from flowsim.core.timeline import graph_size
from flowsim.errors import InputError
from flowsim.io.folders import check_writable
from flowsim.io.locks import locked
from flowsim.io.progress import Progress
from flowsim.policies.registry import check_shipped, load_policy
from flowsim.runs.prepare import Workload
from flowsim.traces.trace import Trace
from flowsim.validation.case import Case, RealRun, seconds
from flowsim.validation.distance import distances
from flowsim.validation.evidence import (
    ABOUT,
    About,
    Accepted,
    Evidence,
    Machine,
    Recorded,
    TableFacts,
    TraceFacts,
    read_about,
    with_run,
    write_about,
)
from flowsim.validation.plan import Plan, cache_rows, cases_of, requests_of, shortfalls

Save = Callable[[Recorded], None]
NEW = "a new folder (flowsim validate DIR DIR shows several together)"


def validate(
    plan: Plan,
    out: str | Path,
    *,
    gpu: str | None = None,
    cost: str | Path | None = None,
    coarse: bool = False,
    device: str = "cuda",
    say: Callable[[str], None] = lambda line: None,
    progress: Progress | None = None,
) -> Evidence:
    """Execute a plan on the GPU at hand and simulate it, leaving the evidence in the folder `out`.

    What `out` already holds of the same plan is not executed again; more policies and loads may be added to it.

    Args:
        gpu: use the shipped or imported table of this name; `cost`: use the table in this folder. With neither, the
            model is measured here and now.
        coarse: measure fewer sizes.
        device: "cuda", or "cpu" for trying it out.
        say: told before each run what it is.
        progress: of the measuring.

    Raises:
        InputError: no torch, no such device, a model that does not fit; anything that was given is wrong; or another
            process is writing into `out`.
    """
    check_writable(out)
    if (Path(out) / "provenance.yaml").exists():
        raise InputError(str(out), "is an operator table", expected=NEW)
    whole = requests_of(plan)
    check_device(device)
    with locked(out):
        table = _table(Path(out), plan, gpu, cost, coarse, device, progress)
        return _recorded(plan, whole, Path(out), table, device, say)


def _recorded(
    plan: Plan, whole: Workload, root: Path, table: OperatorTable, device: str, say: Callable[[str], None]
) -> Evidence:
    """The evidence in a folder, once all that the plan asks for has been executed."""
    costs = _costs(plan, table)
    about = _about(plan, whole.loaded, table, device)
    older = read_about(root) if (root / ABOUT).exists() else None
    for key in ("machine", "trace", "table", "options"):
        if older and (differing := _differing(getattr(older, key), getattr(about, key))):
            raise InputError(str(root), f"holds evidence with other {key} ({differing})", expected=NEW)
    say("finding the rates")
    known = [Recorded.load(path).case for path in sorted((root / "runs").glob("*.json"))]
    check_shipped([case.policy for case in known if case.policy not in plan.policies], str(root))
    with _saved(table, root / "table") as place:
        cases = [case for policy in plan.policies for case in cases_of(plan, whole, policy, place, costs, known)]
    for case in cases:
        if all(case.rejected(costs)):
            least = min(case.input_length)
            problem = f"is {plan.run.server.kv_tokens}, too small for the shortest prompt"
            raise InputError("kv_tokens", problem, expected=f">= {least}")
    for short in shortfalls(plan, whole, cases, costs):
        say(short)
    recorded = {case.slug: _so_far(root, case) for case in cases}
    slugs = list(dict.fromkeys([*(older.cases if older else ()), *recorded]))

    def save(of: Recorded) -> None:
        """Keep a run; with the first, where it comes from."""
        if not (root / "table").is_dir():
            table.save(root / "table")
        write_about(root, replace(about, cases=slugs))
        of.save(root)

    if any(len(of.runs) < plan.repeats for of in recorded.values()):
        _execute(plan, save, recorded, table, costs, device, say)
    else:
        write_about(root, replace(older or about, cases=slugs))
    return Evidence.load(root, trust_policies=True)


def _costs(plan: Plan, table: OperatorTable) -> CostModel:
    """The cost model of a table. InputError: the plan cannot be run with it."""
    if table.provenance.rank().spec != load_model(plan.run.model):
        raise InputError(
            "model", found=plan.run.model, expected=f"that of the operator table, {table.provenance.model}"
        )
    costs = fit(table)
    if costs.tp != 1:
        raise InputError("tp", found=costs.tp, expected="1, as there is one GPU")
    costs.check_graph_tokens(plan.run.server.graph_tokens)
    return costs


@contextmanager
def _saved(table: OperatorTable, place: Path) -> Iterator[Path]:
    """The folder of a table: this place, or until it is worth keeping one that does not stay."""
    if place.is_dir():
        yield place
        return
    with tempfile.TemporaryDirectory(prefix=".flowsim-") as folder:
        table.save(Path(folder) / "table")
        yield Path(folder) / "table"


def _table(
    root: Path,
    plan: Plan,
    gpu: str | None,
    cost: str | Path | None,
    coarse: bool,
    device: str,
    progress: Progress | None,
) -> OperatorTable:
    """The operator table: the one given, that of the folder, or one measured now, which is kept there."""
    known = OperatorTable.load(root / "table") if (root / "table").is_dir() else None
    if cost is not None or gpu is not None:
        table = OperatorTable.load(cost) if cost is not None else load_table(gpu or "", plan.run.model)
        if known is not None and known.digest() != table.digest():
            raise InputError(str(root), "holds evidence with another operator table", expected=NEW)
        unserved = {row.backend for row in table.operators if row.operator == "attention"}.intersection(UNSERVABLE)
        if unserved:
            problem = f"has attention measured with {', '.join(unserved)}, which stalls a server at every new length"
            expected = "neither --gpu nor --cost, so that the model is measured here"
            raise InputError(f"{table.provenance.gpu}/{plan.run.model}", problem, expected=expected)
        return table
    if known is not None:
        return known
    journal = Path(f"{root}.journal")
    check_writable(journal.parent)
    spec = load_model(plan.run.model)
    options: dict[str, Any] = {"seed": plan.run.seed, "progress": progress, "journal": journal, "without": UNSERVABLE}
    table = calibrate(spec, grid=QUICK if coarse else REPLAYED, device=device, **options)
    table.save(root / "table")
    journal.unlink(missing_ok=True)
    return table


def _so_far(root: Path, case: Case) -> Recorded:
    """What the folder holds of a case. InputError: its file is of another case."""
    path = root / "runs" / f"{case.slug}.json"
    if not path.exists():
        return Recorded(case)
    recorded = Recorded.load(path)
    if recorded.case != case:
        raise InputError(str(path), "is of another validation (other requests or settings)", expected=NEW)
    return recorded


def _execute(
    plan: Plan,
    save: Save,
    recorded: dict[str, Recorded],
    table: OperatorTable,
    costs: CostModel,
    device: str,
    say: Callable[[str], None],
) -> None:
    """Run what is missing on the GPU, with one decoder and one warm runner; a run is saved as soon as it ends."""
    spec = table.provenance.rank().spec
    cases = [of.case for of in recorded.values()]
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
        _run_all(plan, save, recorded, costs, runner, say)


def accept(folder: str | Path, *, trust_policies: bool = False) -> Evidence:
    """Keep, with each case, by how much today's simulation differs from its runs: later ones are held to that.

    Arguments and errors are those of `Evidence.load`.
    """
    with locked(folder):
        evidence = Evidence.load(folder, trust_policies=trust_policies)
        for of in evidence.recorded:
            if of.runs:
                replace(of, distances=_distances(of, evidence.cost)).save(Path(folder))
        return Evidence.load(folder, trust_policies=trust_policies)


def _run_all(
    plan: Plan,
    save: Save,
    recorded: dict[str, Recorded],
    costs: CostModel,
    runner: Runner,
    say: Callable[[str], None],
) -> None:
    """Run what is missing on the GPU: all cases once, then all again, so that a drift shows in the second runs."""
    for number in range(plan.repeats):
        for slug, of in recorded.items():
            if len(of.runs) > number:
                continue
            requests, span_s = len(of.case.arrival_s), of.case.arrival_s[-1]
            say(f"run {number + 1} of {plan.repeats}: {of.case.name}: {requests} requests in {span_s:.1f} s")
            of = with_run(of, _run(of.case, costs, runner))
            if len(of.runs) == plan.repeats:
                of = replace(of, distances=_distances(of, costs))
            save(of)
            recorded[slug] = of


def _run(case: Case, costs: CostModel, runner: Runner) -> RealRun:
    """One real execution of a case."""
    ready = case.prepared(costs)
    with gpu_state(runner.decoder.device.type == "cuda") as state:
        replay = execute(ready.requests(), ready.policy, costs, ready.predictor, runner, case.server)
    return _as_run(replay, state)


def _as_run(replay: Replay, state: dict[str, Any]) -> RealRun:
    ledger, (log,) = replay.outcome.ledger, replay.outcome.logs
    return RealRun(
        seconds(ledger.started_s),
        seconds(ledger.finished_s),
        [round(value, 6) for value in ledger.service_s],
        ledger.preemptions,
        [round(value, 6) for value in log.blocking_s],
        round(log.busy_s, 6),
        round(log.control_s, 6),
        log.decisions,
        round(replay.outcome.stopped_s, 6),
        [[pause.execution, *seconds(pause[1:])] for pause in replay.preemptions],
        _quantiles(replay.lateness_s),
        _quantiles(replay.hand_overs_s),
        state,
        replay.scattered,
        replay.crowded,
        replay.first_tokens,
    )


def _quantiles(values: Sequence[float]) -> dict[str, float]:
    names = {"p50": 50, "p99": 99, "max": 100}
    return {name: round(float(np.percentile(values, q)), 6) for name, q in names.items()} if values else {}


def _distances(of: Recorded, costs: CostModel) -> dict[str, Accepted]:
    real = [of.case.really(run, costs) for run in of.runs]
    return {d.measure: Accepted(d.off, d.floor) for d in distances(of.case.simulate(costs), real)}


def _about(plan: Plan, trace: Trace, table: OperatorTable, device: str) -> About:
    """Where the evidence comes from."""
    rank = table.provenance.rank()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return About(
        flowsim=flowsim.__version__,
        date=datetime.now(UTC).date().isoformat(),
        machine=Machine(**machine(device, None), usable_cores=cores),
        trace=TraceFacts(trace.name, trace.sha256, list(trace.notices)),
        table=TableFacts(rank.gpu, rank.model, rank.tp, table.digest()),
        options=plan.shared,
    )


def _differing(older: object, newer: object) -> str:
    """The names whose values differ."""
    known, found = msgspec.to_builtins(older), msgspec.to_builtins(newer)
    return ", ".join(name for name in found if known.get(name) != found[name])
