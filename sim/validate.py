"""`flowsim.validate`: really execute a replay on the GPU at hand, simulate the same, and keep both as evidence."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flowsim.calibration.cost import CostModel
from flowsim.calibration.fit import fit
from flowsim.calibration.measure import calibrate, check_device, machine
from flowsim.calibration.models import ModelSpec, load_model, spec_of
from flowsim.calibration.monitor import gpu_state
from flowsim.calibration.predictor import make_predictor
from flowsim.calibration.runner import Runner
from flowsim.calibration.serving import UNSERVABLE, out_of_memory, serving_decoder, warm_up
from flowsim.calibration.steady import RUNNER, core_of, steady
from flowsim.calibration.table import OperatorTable, load_table
from flowsim.distance import distances
from flowsim.engine import Server, whole_blocks
from flowsim.errors import InputError
from flowsim.evidence import Case, Evidence, RealRun, Recorded, read, seconds, with_run, write_about
from flowsim.files import check_writable
from flowsim.point import Point, replayed
from flowsim.policy import load_policy
from flowsim.progress import Progress
from flowsim.search import Search, highest_rate
from flowsim.slo import SLOMix
from flowsim.traces.trace import Trace

if TYPE_CHECKING:
    from flowsim.calibration.executor import Replay

POLICIES = ("fcfs", "chunked:2048", "edf:cut=layer", "flowprefill:cut=block", "flowprefill")
LOADS, WINDOW_S = (0.5, 0.75, 0.9), 60.0
QUICK_POLICIES, QUICK_LOADS, QUICK_WINDOW_S = ("fcfs", "chunked:2048", "flowprefill"), (0.75,), 20.0
KV_TOKENS = 1 << 18
"""Tokens of the KV cache, unless told: those that are begun and not finished need no more, and it is quick to make."""
SEARCHED = 1500
"""Requests on which the capacity of a policy is searched."""
FEWEST = 2


@dataclass(frozen=True)
class Plan:
    """What to replay, and how.

    Attributes:
        trace: a file, a built-in trace, or "synthetic:PRESET:N".
        policies: specifications.
        loads: rates, as shares of the capacity that the simulation finds for each policy.
        rate_scale: in place of `loads`, a factor of the trace's own rate.
        window_s: how long requests arrive in each run, seconds; `start_s`: where in the trace.
        repeats: how often each case is really executed.
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
    server: Server = field(default_factory=Server)
    seed: int = 0

    def __post_init__(self) -> None:
        for policy in self.policies:
            load_policy(policy)
        if self.repeats < 1 or self.window_s <= 0 or self.start_s < 0 or self.seed < 0:
            raise InputError(
                f"repeats is {self.repeats}, window {self.window_s:g} s, start {self.start_s:g} s, seed {self.seed}; "
                "allowed: repeats from 1, a window above 0, start and seed from 0"
            )
        if self.rate_scale is None and not (self.loads and all(0 < load <= 10 for load in self.loads)):
            raise InputError(f"loads are {list(self.loads)}, allowed is one or more shares of the capacity, above 0")
        if self.server.instances != 1:
            raise InputError(f"instances is {self.server.instances}, allowed is 1: a real run has one GPU")

    def point(self, policy: str, cost: str) -> Point:
        """The part of the trace on which the policy's capacity is searched."""
        names = ("slots", "max_batched_tokens", "kv_tokens", "block_tokens")
        return Point(
            self.trace,
            policy,
            cost=cost,
            model=self.model,
            slo=self.slo,
            slo_scale=self.slo_scale,
            window=f"{self.start_s}:",
            limit=SEARCHED,
            format=self.format,
            predictor=self.predictor,
            seed=self.seed,
            **{name: getattr(self.server, name) for name in names},
        )


def shortened(plan: Plan) -> Plan:
    """The same plan with few policies, one load and short windows."""
    return replace(plan, policies=QUICK_POLICIES, loads=QUICK_LOADS, window_s=QUICK_WINDOW_S)


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
        InputError: no torch, no such device, a model that does not fit; or anything that was given is wrong.
    """
    check_writable(out)
    check_device(device)
    root = Path(out)
    table = _table(root, plan, gpu, cost, coarse, device, progress)
    costs, spec = fit(table), spec_of(table.provenance["model_spec"], str(root / "table"))
    if costs.tp != 1:
        raise InputError(f"tp is {costs.tp}, allowed is 1: a real run has one GPU")
    say("finding the rates")
    cases = [case for policy in plan.policies for case in _cases(plan, policy, root / "table", costs)]
    recorded = {case.slug: _recorded(root, case) for case in cases}
    about = _about(plan, table, device)
    older = read(root / "evidence.json") if (root / "evidence.json").exists() else {}
    if older and older["machine"] != about["machine"]:
        raise InputError(f"{root}: holds evidence of another machine or torch; allowed: a new folder")
    write_about(root, {**about, "cases": list(dict.fromkeys([*older.get("cases", ()), *recorded]))})
    if any(len(of.runs) < plan.repeats for of in recorded.values()):
        _execute(plan, root, recorded, table, spec, costs, device, say)
    return Evidence.load(root)


def _table(
    root: Path,
    plan: Plan,
    gpu: str | None,
    cost: str | Path | None,
    coarse: bool,
    device: str,
    progress: Progress | None,
) -> OperatorTable:
    """The operator table, which becomes part of the evidence."""
    place = root / "table"
    known = OperatorTable.load(place) if place.is_dir() else None
    if cost is not None or gpu is not None:
        table = OperatorTable.load(cost) if cost is not None else load_table(gpu or "", plan.model)
        if known is not None and known.digest() != table.digest():
            raise InputError(f"{root}: holds evidence with another operator table; allowed: a new folder")
    elif known is not None:
        return known
    else:
        journal = Path(f"{root}.journal")
        check_writable(journal.parent)
        spec = load_model(plan.model)
        options: dict[str, Any] = {"seed": plan.seed, "progress": progress, "journal": journal, "without": UNSERVABLE}
        with steady(device, RUNNER):  # timed as it will run
            table = calibrate(spec, quick=coarse, device=device, **options)
        table.save(place)
        journal.unlink(missing_ok=True)
        return table
    table.save(place)
    return table


def _cases(plan: Plan, policy: str, table: Path, costs: CostModel) -> list[Case]:
    """The cases of one policy, one a load."""
    point = plan.point(policy, str(table.resolve()))
    whole = replayed(replace(point, limit=None), str(Path.cwd()))
    slos = (SLOMix.preset(plan.model) if plan.slo is None else SLOMix.parse(plan.slo)).scaled(plan.slo_scale)
    rated: list[tuple[float | None, Trace]]
    if plan.rate_scale is not None:
        rated = [(None, whole.window(0.0, plan.window_s * plan.rate_scale).scaled(plan.rate_scale))]
    else:
        found = highest_rate(point, str(Path.cwd()), Search())
        if not found.low:
            raise InputError(
                f"policy {policy}: sustains no rate on this trace; allowed: --rate-scale in place of --load"
            )
        rated = [(load, _at_rate(whole, load * found.low, plan.window_s)) for load in plan.loads]
    made = []
    for load, trace in rated:
        server = _server(plan.server, trace, costs)
        slo = slos.assign(trace, plan.seed)
        settings = {"server": asdict(server), "predictor": plan.predictor, "seed": plan.seed}
        made.append(Case.of(policy, load, trace, slo, **settings))
    return made


def _at_rate(trace: Trace, rate_rps: float, window_s: float) -> Trace:
    """The first requests of a trace, at this rate for so long."""
    part = trace.head(max(FEWEST, round(rate_rps * window_s)))
    if not part.span_s:
        raise InputError(f"{trace.name}: its first {len(part)} requests arrive at once; allowed: a longer window")
    return part.scaled(rate_rps / part.rate_rps)


def _server(server: Server, trace: Trace, costs: CostModel) -> Server:
    """The server with a KV cache no larger than what all the requests take together."""
    blocks = -(-trace.input_length // server.block_tokens)
    most = whole_blocks(server, costs) if server.kv_tokens else min(whole_blocks(server, costs), KV_TOKENS)
    return replace(server, kv_tokens=min(most, int(blocks.sum()) * server.block_tokens))


def _recorded(root: Path, case: Case) -> Recorded:
    """What the folder holds of a case. InputError: its file is of another case."""
    path = root / "runs" / f"{case.slug}.json"
    if not path.exists():
        return Recorded(case)
    recorded = Recorded.load(path)
    if recorded.case != case:
        raise InputError(f"{path}: is of another validation (other requests or settings); allowed: a new folder")
    return recorded


def _execute(
    plan: Plan,
    root: Path,
    recorded: dict[str, Recorded],
    table: OperatorTable,
    spec: ModelSpec,
    costs: CostModel,
    device: str,
    say: Callable[[str], None],
) -> None:
    """Really run what is missing, one decoder and one warm runner for all; a run is saved as soon as it has ended."""
    cases = [of.case for of in recorded.values()]
    say(f"building {spec.name} and warming up")
    rows, chunk_tokens = max(_rows(case) for case in cases), plan.server.max_batched_tokens
    longest = max(max(case.input_length) for case in cases)
    decoder = serving_decoder(spec, table, device, rows=rows, chunk_tokens=chunk_tokens, seed=plan.seed)
    with Runner(decoder, core_of(device, RUNNER)) as runner, out_of_memory(spec.name):
        runner.call(lambda decoder: warm_up(decoder, min(chunk_tokens, longest), longest))
        _run_all(plan, root, recorded, costs, runner, say)


def _rows(case: Case) -> int:
    """Rows of the cache: half as many again as tokens may be in it, for each prompt's are in one stretch."""
    server = Server(**case.server)
    return min(sum(request.kv_tokens for request in case.requests()), (server.kv_tokens or 0) * 3 // 2)


def _run_all(
    plan: Plan,
    root: Path,
    recorded: dict[str, Recorded],
    costs: CostModel,
    runner: Runner,
    say: Callable[[str], None],
) -> None:
    """Really run what is missing: all cases once, then all again, so that a drift shows in the second runs."""
    for number in range(plan.repeats):
        for slug, of in recorded.items():
            if len(of.runs) > number:
                continue
            requests, span_s = len(of.case.arrival_s), of.case.arrival_s[-1]
            say(f"run {number + 1} of {plan.repeats}: {of.case.name}: {requests} requests in {span_s:.1f} s")
            of = with_run(of, _run(of.case, costs, runner))
            if len(of.runs) == plan.repeats:
                of = replace(of, distances=_distances(of, costs))
            of.save(root)
            recorded[slug] = of


def _run(case: Case, costs: CostModel, runner: Runner) -> RealRun:
    """One real execution of a case."""
    from flowsim.calibration.executor import execute

    policy, server = load_policy(case.policy), Server(**case.server)
    predictor = make_predictor(case.predictor, costs, policy.cut, server.max_batched_tokens, case.seed)
    with gpu_state(runner.decoder.device.type == "cuda") as state:
        replay = execute(case.requests(), policy, costs, predictor, runner, server)
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
        [[pause.head, *seconds(pause[1:])] for pause in replay.preemptions],
        _quantiles(replay.lateness_s),
        _quantiles(replay.hand_overs_s),
        state,
    )


def _quantiles(values: Sequence[float]) -> dict[str, float]:
    names = {"p50": 50, "p99": 99, "max": 100}
    return {name: round(float(np.percentile(values, q)), 6) for name, q in names.items()} if values else {}


def _distances(of: Recorded, costs: CostModel) -> dict[str, Any]:
    real = [of.case.really(run, costs) for run in of.runs]
    return {d.measure: {"off": d.off, "floor": d.floor} for d in distances(of.case.simulate(costs), real)}


def _about(plan: Plan, table: OperatorTable, device: str) -> dict[str, Any]:
    """Where the evidence comes from."""
    trace = replayed(Point(plan.trace, format=plan.format, seed=plan.seed), str(Path.cwd()))
    about = table.provenance
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "flowsim": version("flowsim"),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(device, None) | {"usable_cores": cores},
        "trace": {"name": trace.name, "sha256": trace.sha256, "notices": list(trace.notices)},
        "table": {"gpu": about["gpu"], "model": about["model"], "tp": about["tp"], "sha256": table.digest()},
        "options": {**asdict(plan), "trace": Path(plan.trace).name},
    }
