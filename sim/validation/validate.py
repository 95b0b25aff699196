"""`flowsim validate`: execute a replay on the GPU at hand, simulate the same, and keep both as evidence."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec.structs import replace

import flowsim
from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.gpu.machine import check_device, machine
from flowsim.core.events import Event
from flowsim.engine.kv import taken_tokens
from flowsim.errors import InputError
from flowsim.io.folders import check_writable
from flowsim.io.locks import locked
from flowsim.io.progress import Progress
from flowsim.policies.registry import check_shipped
from flowsim.runs.costs import over_context
from flowsim.runs.prepare import Workload
from flowsim.traces.trace import Trace
from flowsim.validation.case import Case
from flowsim.validation.evidence import (
    ABOUT,
    About,
    Evidence,
    Machine,
    Recorded,
    TableFacts,
    TraceFacts,
    read_about,
    write_about,
)
from flowsim.validation.gpu_runs import distances_of, run_missing
from flowsim.validation.plan import Plan, cases_of, requests_of, served_by, shortfalls
from flowsim.validation.validation_table import OTHER_FOLDER, TABLE, TableChoice, saved, table_costs, table_of


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
        raise InputError(str(out), "is an operator table", expected=OTHER_FOLDER)
    whole = requests_of(plan)
    check_device(device)
    with locked(out):
        table = table_of(Path(out), plan, TableChoice(gpu, cost, coarse, device, progress))
        return _recorded(plan, whole, Path(out), table, device, say)


def accept(folder: str | Path, *, trust_policies: bool = False) -> Evidence:
    """Keep, with each case, by how much today's simulation differs from its runs: later ones are held to that.

    Arguments and errors are those of `Evidence.load`.
    """
    with locked(folder):
        evidence = Evidence.load(folder, trust_policies=trust_policies)
        for recorded in evidence.recorded:
            if recorded.runs:
                replace(recorded, distances=distances_of(recorded, evidence.cost)).save(Path(folder))
        return Evidence.load(folder, trust_policies=trust_policies)


def _recorded(
    plan: Plan, whole: Workload, root: Path, table: OperatorTable, device: str, say: Callable[[str], None]
) -> Evidence:
    """The evidence in a folder, once all that the plan asks for has been executed."""
    costs = table_costs(plan, table)
    about = _about(plan, whole.loaded, table, device)
    older = read_about(root) if (root / ABOUT).exists() else None
    for key in ("machine", "trace", "table", "options"):
        if older and (differing := _differing(getattr(older, key), getattr(about, key))):
            raise InputError(str(root), f"holds evidence with other {key} ({differing})", expected=OTHER_FOLDER)
    _check_servable(plan, whole.trace, costs)
    say("finding the rates")
    known = [Recorded.load(path).case for path in sorted((root / "runs").glob("*.json"))]
    check_shipped([case.policy for case in known if case.policy not in plan.policies], str(root))
    with saved(table, root) as place:
        cases = [case for policy in plan.policies for case in cases_of(plan, whole, policy, place, costs, known)]
    for case in cases:
        _check_servable(plan, case.trace, costs)
    for short in shortfalls(plan, whole, cases, costs):
        say(short)
    recorded = {case.slug: _so_far(root, case) for case in cases}
    slugs = list(dict.fromkeys([*(older.cases if older else ()), *recorded]))

    def save(one: Recorded, events: Sequence[Event]) -> None:
        """Keep a run; with the first, where it comes from."""
        if not (root / TABLE).is_dir():
            table.save(root / TABLE)
        write_about(root, replace(about, cases=slugs))
        one.save(root, events)

    if any(len(one.runs) < plan.repeats for one in recorded.values()):
        run_missing(plan, recorded, table, costs, device, save, say)
    else:
        write_about(root, replace(older or about, cases=slugs))
    return Evidence.load(root, trust_policies=True)


def _check_servable(plan: Plan, trace: Trace, costs: CostModel) -> None:
    """InputError: an instance rejects every request, for no prompt fits the model's context and the KV cache."""
    within = trace.input_length[~over_context(costs, trace)]
    if not within.size:
        problem = f"has only prompts longer than the model's context, the shortest of {trace.input_length.min()} tokens"
        raise InputError(plan.run.trace, problem, expected=f"one of <= {costs.max_context} tokens")
    server = served_by(plan, trace, costs)
    shortest = int(within.min())
    needed = taken_tokens(shortest, server.block_tokens)
    if needed > (server.kv_tokens or 0):
        problem = f"is {plan.run.server.kv_tokens or server.kv_tokens}, too small for the shortest prompt"
        raise InputError("kv_tokens", problem, expected=f">= {needed}")


def _so_far(root: Path, case: Case) -> Recorded:
    """What the folder holds of a case. InputError: its file is of another case."""
    path = root / "runs" / f"{case.slug}.json"
    if not path.exists():
        return Recorded(case)
    recorded = Recorded.load(path)
    if recorded.case != case:
        raise InputError(str(path), "is of another validation (other requests or settings)", expected=OTHER_FOLDER)
    return recorded


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
