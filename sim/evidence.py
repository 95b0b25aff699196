"""Evidence: what really happened when requests were replayed on a GPU, and all that it takes to simulate the same.

A folder of it holds `evidence.json` (the machine, the versions, the trace, the options), the operator table of the
simulation, and one file a case under `runs/`. A case is one policy at one rate: its requests, its settings, and the
runs really executed; with the distances that its simulation had when it was recorded or last accepted (`flowsim
validate DIR --accept`), to which later simulations are held.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from flowsim.calibration.cost import CostModel
from flowsim.calibration.fit import fit
from flowsim.calibration.predictor import make_predictor
from flowsim.calibration.table import OperatorTable
from flowsim.engine import Outcome, Server, simulate
from flowsim.errors import InputError
from flowsim.files import writing
from flowsim.ledger import Ledger, Log
from flowsim.policy import load_policy
from flowsim.replay import make_requests
from flowsim.request import Request
from flowsim.result import RunResult
from flowsim.slo import Assignment
from flowsim.traces.trace import Trace

SCHEMA_VERSION = 1
STATED = (("date",), ("machine", "gpu_name", "torch", "cpu"), ("trace", "name", "sha256"), ("table", "sha256"))
"""What `evidence.json` must say, beside the cases: a name and, where it is a mapping, the names in it."""
DIGITS = 6
"""Of seconds, in files: microseconds."""


@dataclass(frozen=True)
class RealRun:
    """One real execution of a case; columns have a row a request, seconds from the start of the replay.

    Attributes:
        started_s, finished_s, service_s, preemptions: as `flowsim.ledger.Ledger` has them; None for never.
        blocking_s, busy_s, control_s, decisions: as `flowsim.ledger.Log` has them.
        pauses: (head, signal, stop, acknowledgement, resumption) of each preemption, seconds; None for never.
        lateness_s: p50, p99 and max of how late arrivals were taken in.
        hand_overs_s: the same of the time between two stretches of execution, where the second was ready.
        machine: clocks, power and throttling meanwhile; empty where they cannot be read.
        scattered, crowded, first_tokens: as `flowsim.calibration.executor.Replay` has it.
    """

    started_s: Sequence[float | None]
    finished_s: Sequence[float | None]
    service_s: Sequence[float]
    preemptions: Sequence[int]
    blocking_s: Sequence[float]
    busy_s: float
    control_s: float
    decisions: int
    stopped_s: float
    pauses: Sequence[Sequence[float | None]]
    lateness_s: Mapping[str, float]
    hand_overs_s: Mapping[str, float]
    machine: Mapping[str, Any] = field(default_factory=dict)
    scattered: int = 0
    crowded: int = 0
    first_tokens: Sequence[int] = ()

    def outcome(self, rejected: Sequence[bool]) -> Outcome:
        """As the engine would have written it down."""
        ledger = Ledger(len(self.started_s))
        ledger.instance = [0] * len(self.started_s)
        ledger.started_s, ledger.finished_s = _nan(self.started_s), _nan(self.finished_s)
        ledger.service_s, ledger.preemptions = list(self.service_s), list(self.preemptions)
        ledger.rejected = list(rejected)
        log = Log(self.busy_s, 0.0, self.control_s, self.decisions, len(self.pauses), list(self.blocking_s))
        return Outcome(ledger, [log], self.stopped_s)


@dataclass(frozen=True)
class Case:
    """One policy on one stretch of a trace at one rate: all that determines its simulation but for the cost model.

    Attributes:
        policy: its specification.
        load: the rate as a share of the policy's simulated capacity; None if the rate was given.
        rate_rps: requests a second, on average.
        arrival_s, input_length, class_code: a row a request.
        class_names, ttft_slo_s: a row a class; None for a class without an SLO.
        server, predictor, seed: as `flowsim.run` takes them.
    """

    policy: str
    load: float | None
    rate_rps: float
    arrival_s: Sequence[float]
    input_length: Sequence[int]
    class_code: Sequence[int]
    class_names: Sequence[str]
    ttft_slo_s: Sequence[float | None]
    rule: str
    server: Mapping[str, Any]
    predictor: str
    seed: int

    @classmethod
    def of(cls, policy: str, load: float | None, trace: Trace, slo: Assignment, **settings: Any) -> Case:
        """The case of these requests; their times are rounded to microseconds."""
        slos = [slo.ttft_slo_s[slo.class_code == code] for code in range(len(slo.class_names))]
        return cls(
            policy,
            load,
            _rounded(trace.rate_rps),
            [_rounded(t) for t in trace.arrival_s.tolist()],
            trace.input_length.tolist(),
            slo.class_code.tolist(),
            list(slo.class_names),
            [float(of[0]) if of.size and math.isfinite(of[0]) else None for of in slos],
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
        return Assignment(np.array(_nan(self.ttft_slo_s))[codes], codes, tuple(self.class_names), self.rule)

    def requests(self) -> list[Request]:
        """Fresh requests, for one run."""
        return make_requests(self.trace, self.slo, Server(**self.server))

    def rejected(self) -> list[bool]:
        """Of each request, whether it is turned away when it arrives, since the KV cache can never hold it."""
        tokens = Server(**self.server).kv_tokens
        return [tokens is not None and request.kv_tokens > tokens for request in self.requests()]

    def simulate(self, cost: CostModel) -> RunResult:
        """What the simulation says of it."""
        policy, server = load_policy(self.policy), Server(**self.server)
        cost = cost.with_graphs(server.graph_tokens)
        predictor = make_predictor(self.predictor, cost, policy.cut, server.max_batched_tokens, self.seed)
        return self.result(simulate(self.requests(), policy, cost, predictor, server), cost)

    def result(self, outcome: Outcome, cost: CostModel) -> RunResult:
        """An outcome as a result."""
        inputs = {"cost_model": cost.name}
        return RunResult(self.trace, self.slo, outcome, self.policy, {}, inputs, np.zeros(len(self.trace), np.int64))

    def really(self, run: RealRun, cost: CostModel) -> RunResult:
        """A real run as a result."""
        return self.result(run.outcome(self.rejected()), cost)


@dataclass(frozen=True)
class Recorded:
    """A case, the real runs of it, and the distances that its simulation had to them when they were accepted."""

    case: Case
    runs: Sequence[RealRun] = ()
    distances: Mapping[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write it into `folder`/runs, whole or not at all."""
        text = json.dumps({"schema_version": SCHEMA_VERSION, **asdict(self)}, separators=(",", ":"), allow_nan=False)
        with writing(folder / "runs") as stage:
            (stage / f"{self.case.slug}.json").write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Recorded:
        """Read it back. InputError: it is no such file, or of another version."""
        values = read(path)
        try:
            runs = [RealRun(**run) for run in values["runs"]]
            recorded = cls(Case(**values["case"]), runs, values["distances"])
            _check_columns(recorded, path)
            return recorded
        except (KeyError, TypeError) as error:
            raise InputError(
                f"{path}: not the evidence of a case ({error}); allowed: what flowsim validate wrote"
            ) from error


@dataclass(frozen=True)
class Evidence:
    """A folder of evidence, open.

    Attributes:
        about: what `evidence.json` says: machine, versions, cost table, trace, options.
        recorded: the cases, in the order in which they were asked for.
        table: the operator table that their simulation is costed with.
        folder: where it is, as it was named.
        missing: slugs of cases that `evidence.json` names and that have no file.
    """

    about: Mapping[str, Any]
    recorded: Sequence[Recorded]
    table: OperatorTable
    folder: str
    missing: Sequence[str] = ()

    @cached_property
    def cost(self) -> CostModel:
        """The cost model."""
        return fit(self.table)

    @classmethod
    def load(cls, folder: str | Path) -> Evidence:
        """Open a folder. InputError: it is none, a file is wrong, or the table is not the one it names."""
        root = Path(folder)
        about = read(root / "evidence.json")
        _check_about(about, root / "evidence.json")
        slugs, sha256 = about["cases"], about["table"]["sha256"]
        table = OperatorTable.load(root / "table")
        if table.digest() != sha256:
            raise InputError(f"{root / 'table'}: found another table than the one with SHA-256 {str(sha256)[:12]}")
        files = {slug: root / "runs" / f"{slug}.json" for slug in slugs}
        missing = [slug for slug, path in files.items() if not path.exists()]
        recorded = [Recorded.load(path) for slug, path in files.items() if slug not in missing]
        return cls(about, recorded, table, str(folder), missing)


def read(path: Path) -> dict[str, Any]:
    """A JSON file of evidence. InputError: it cannot be read, or is of another version."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not isinstance(values, dict) or values.get("schema_version") != SCHEMA_VERSION:
        found = values.get("schema_version") if isinstance(values, dict) else type(values).__name__
        raise InputError(f"{path}, schema_version: found {found!r}; allowed: {SCHEMA_VERSION}")
    return values


def _check_about(about: Mapping[str, Any], path: Path) -> None:
    """InputError unless it names what the page shows: each a text, but for the list of the cases' slugs."""
    for name, *parts in STATED:
        values = [about.get(name)]
        if parts:
            values = [values[0].get(part) if isinstance(values[0], dict) else None for part in parts]
        if not all(isinstance(value, str) for value in values):
            raise InputError(f"{path}, {name}: found {about.get(name)!r}; allowed: what flowsim validate wrote")
    cases = about.get("cases")
    if not isinstance(cases, list) or not all(isinstance(slug, str) for slug in cases):
        raise InputError(f"{path}, cases: found {cases!r}; allowed: what flowsim validate wrote")


def _check_columns(recorded: Recorded, path: Path) -> None:
    """InputError unless the file is of the case it is named after, and each column has a number a request."""
    case, n = recorded.case, len(recorded.case.arrival_s)
    if case.slug != path.stem:
        raise InputError(f"{path}: found the case {case.slug}; allowed: {path.stem}, after which it is named")
    columns = {f"case, {name}": (getattr(case, name), False) for name in ("arrival_s", "input_length", "class_code")}
    for i, run in enumerate(recorded.runs):
        for name in ("started_s", "finished_s", "service_s", "preemptions"):
            columns[f"runs[{i}], {name}"] = getattr(run, name), name in ("started_s", "finished_s")
    for what, (values, may_lack) in columns.items():
        rows = values if isinstance(values, list) else []
        numbers = [row for row in rows if (isinstance(row, int | float) and row >= 0) or (row is None and may_lack)]
        if len(numbers) != n or len(rows) != n:
            raise InputError(f"{path}, {what}: found {len(numbers)} numbers in {len(rows)} rows; allowed: {n}")
    if max(case.class_code, default=0) >= len(case.class_names) or min(case.input_length, default=1) < 1:
        raise InputError(f"{path}, case: found a class or a length that is none; allowed: what flowsim validate wrote")


def write_about(folder: Path, about: Mapping[str, Any]) -> None:
    """Write `evidence.json`, whole or not at all."""
    with writing(folder) as stage:
        text = json.dumps({"schema_version": SCHEMA_VERSION, **about}, indent=1, allow_nan=False, default=str)
        (stage / "evidence.json").write_text(text + "\n", encoding="utf-8")


def seconds(values: Sequence[float]) -> list[float | None]:
    """Seconds as files hold them: microseconds, None in place of NaN."""
    return [None if math.isnan(value) else _rounded(value) for value in values]


def with_run(recorded: Recorded, run: RealRun) -> Recorded:
    """One more real run."""
    return replace(recorded, runs=[*recorded.runs, run])


def _rounded(value: float) -> float:
    return round(float(value), DIGITS)


def _nan(values: Sequence[float | None]) -> list[float]:
    return [math.nan if value is None else value for value in values]
