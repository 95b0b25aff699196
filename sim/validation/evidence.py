"""Evidence: what happened when requests were replayed on a GPU, and all that it takes to simulate the same.

A folder of evidence holds `evidence.json` (the machine, the versions, the trace, the options), the operator table that
the simulation uses, and one file per case under `runs/`, with the events of each of its runs beside it. A case is one
policy at one rate: its requests, its settings and its real runs, together with the distances that its simulation had
when it was recorded or last accepted (`flowsim validate DIR --accept`), to which later simulations are held.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.fit import fit
from flowsim.calibration.costs.table import OperatorTable
from flowsim.core.events import Event
from flowsim.errors import InputError
from flowsim.io.counts import number_of
from flowsim.io.documents import mapping
from flowsim.io.folders import writing
from flowsim.io.notebook import facts_html
from flowsim.io.schema import Amount, Count, build
from flowsim.policies.registry import check_shipped
from flowsim.results.result import RunResult
from flowsim.validation.case import Case, GpuRun
from flowsim.validation.run_events import events_file, read_events, write_events

SCHEMA_VERSION = 1
ABOUT = "evidence.json"
QUANTILES = ("p50", "p99", "max")

Kind = TypeVar("Kind", bound=Struct)


class Machine(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The machine of the real runs: its GPU, and the versions of what ran there."""

    gpu: str = ""
    gpu_name: str
    memory_bytes: Count | None = None
    multiprocessors: Count | None = None
    torch: str
    cuda: str | None = None
    driver: str | None = None
    python: str = ""
    cpu: str
    usable_cores: Count | None = None


class TraceFacts(Struct, frozen=True, forbid_unknown_fields=True):
    """The trace whose requests were replayed."""

    name: str
    sha256: str
    notices: Sequence[str] = ()


class TableFacts(Struct, frozen=True, forbid_unknown_fields=True):
    """The operator table of the simulation."""

    gpu: str
    model: str
    tp: Count
    sha256: str


class About(Struct, frozen=True, forbid_unknown_fields=True):
    """What `evidence.json` says: where the evidence comes from.

    Attributes:
        flowsim: the version that recorded it.
        date: of the first run, YYYY-MM-DD.
        options: the options of the plan that all cases share.
        cases: slugs of the cases, in the order in which they were asked for.
    """

    flowsim: str
    date: str
    machine: Machine
    trace: TraceFacts
    table: TableFacts
    options: Mapping[str, Any]
    cases: Sequence[str] = ()


class Accepted(Struct, frozen=True, forbid_unknown_fields=True):
    """A distance to which later simulations are held; see `flowsim.validation.distance.Distance`."""

    off: Amount | None
    floor: Amount | None


class Recorded(Struct, frozen=True, forbid_unknown_fields=True):
    """A case, its real runs, and by measure the distances that its simulation had to them when they were accepted."""

    case: Case
    runs: Sequence[GpuRun] = ()
    distances: Mapping[str, Accepted] = {}

    def save(self, folder: Path, events: Iterable[Event] | None = None) -> None:
        """Write it into `folder`/runs, whole or not at all; `events`: of its last run, if that is new."""
        with writing(folder / "runs") as stage:
            if events is not None:
                write_events(stage / events_file(self.case.slug, len(self.runs)), events)
            _write(stage / f"{self.case.slug}.json", self, separators=(",", ":"))

    @classmethod
    def load(cls, path: Path) -> Recorded:
        """Read it back. InputError: not such a file, or of another version."""
        recorded = _read(cls, path)
        try:
            _check(recorded, path.stem)
        except InputError as error:
            raise error.within(str(path)) from None
        return recorded


@dataclass(frozen=True)
class Evidence:
    """A folder of evidence, open.

    Attributes:
        about: where the evidence comes from.
        recorded: the cases, in the order in which they were asked for.
        table: the operator table of their simulation.
        folder: where it is, as it was named.
        missing: slugs of cases that `about` names and that have no file.
    """

    about: About
    recorded: Sequence[Recorded]
    table: OperatorTable
    folder: str
    missing: Sequence[str] = ()

    def __repr__(self) -> str:
        """One line."""
        runs = number_of(sum(len(one.runs) for one in self.recorded), "real run")
        return f"Evidence({self.folder}: {number_of(len(self.recorded), 'case')}, {runs})"

    def _repr_html_(self) -> str:
        about, machine = self.about, self.about.machine
        cases = [(one.case.name, number_of(len(one.runs), "real run")) for one in self.recorded]
        rows = [("trace", about.trace.name), ("machine", f"{machine.gpu_name}, torch {machine.torch}"), *cases]
        return facts_html(self.folder, rows)

    @cached_property
    def cost(self) -> CostModel:
        """The cost model. InputError: the table makes none."""
        try:
            return fit(self.table)
        except InputError as error:
            raise error.within(str(Path(self.folder) / "table")) from None

    def real(self, recorded: Recorded) -> list[RunResult]:
        """Each real run of a case as a result, with its events if it has them. InputError: their file is wrong."""
        case, folder = recorded.case, Path(self.folder) / "runs"
        return [
            case.result_of(run, self.cost, read_events(folder / events_file(case.slug, number), run))
            for number, run in enumerate(recorded.runs, 1)
        ]

    @classmethod
    def load(cls, folder: str | Path, *, trust_policies: bool = False) -> Evidence:
        """Open a folder.

        Args:
            folder: where the evidence is.
            trust_policies: whether policies that flowsim does not ship may be imported, and so run.

        Raises:
            InputError: it is not evidence, a file is wrong, the table is not the one it names, or a policy is not
                shipped and not trusted.
        """
        root = Path(folder)
        about = read_about(root)
        table = OperatorTable.load(root / "table")
        if table.digest() != about.table.sha256:
            wanted = f"the table with SHA-256 {about.table.sha256[:12]}"
            raise InputError(str(root / "table"), "is another table", expected=wanted)
        files = {slug: root / "runs" / f"{slug}.json" for slug in about.cases}
        missing = [slug for slug, path in files.items() if not path.exists()]
        recorded = [Recorded.load(path) for slug, path in files.items() if slug not in missing]
        if not trust_policies:
            check_shipped([one.case.policy for one in recorded], str(folder))
        return cls(about, recorded, table, str(folder), missing)


def read_about(folder: Path) -> About:
    """What `evidence.json` in a folder says. InputError: it cannot be read, or is of another version."""
    about = _read(About, folder / ABOUT)
    for i, slug in enumerate(about.cases):
        if slug != Path(slug).name:
            raise InputError(f"{folder / ABOUT}: cases[{i}]", found=slug, expected="the name of a file")
    return about


def write_about(folder: Path, about: About) -> None:
    """Write `evidence.json`, whole or not at all."""
    with writing(folder) as stage:
        _write(stage / ABOUT, about, indent=1)


def with_run(recorded: Recorded, run: GpuRun) -> Recorded:
    """One more real run."""
    return replace(recorded, runs=[*recorded.runs, run])


def _read(kind: type[Kind], path: Path) -> Kind:
    values = mapping(path, "evidence that flowsim validate wrote")
    version = values.pop("schema_version", None)
    if version != SCHEMA_VERSION:
        raise InputError(f"{path}: schema_version", found=version, expected=str(SCHEMA_VERSION))
    return build(kind, values, str(path))


def _write(path: Path, what: Struct, **layout: Any) -> None:
    values = {"schema_version": SCHEMA_VERSION, **msgspec.to_builtins(what)}
    path.write_text(json.dumps(values, allow_nan=False, **layout) + "\n", encoding="utf-8")


def _check(recorded: Recorded, name: str) -> None:
    """InputError unless the file of this name is of its case, and each column has one row per request or class."""
    case = recorded.case
    if case.slug != name:
        raise InputError("case", f"is {case.slug}", expected=f"{name}, after which the file is named")
    for place, rows, expected, each in _columns(recorded):
        if rows != expected:
            raise InputError(place, f"has {number_of(rows, 'row')}", expected=f"{expected}, one per {each}")
    if (code := max(case.class_code, default=0)) >= len(case.class_names):
        raise InputError("case.class_code", found=code, expected=f"< {len(case.class_names)}, the number of classes")
    for i, (earlier, later) in enumerate(pairwise(case.arrival_s), 1):
        if later < earlier:
            raise InputError(f"case.arrival_s[{i}]", found=later, expected=f">= {earlier}, the arrival before it")
    for i, run in enumerate(recorded.runs):
        known = {"lateness_s": run.lateness_s} | ({"hand_overs_s": run.hand_overs_s} if run.hand_overs_s else {})
        for column, found in known.items():
            if not found.keys() >= set(QUANTILES):
                raise InputError(f"runs[{i}].{column}", found=found, expected=f"a mapping of {', '.join(QUANTILES)}")


def _columns(recorded: Recorded) -> Iterator[tuple[str, int, int, str]]:
    """Of each column: its place, its rows, how many there should be, and what each stands for."""
    case, n = recorded.case, len(recorded.case.arrival_s)
    for name in ("input_length", "class_code"):
        yield f"case.{name}", len(getattr(case, name)), n, "request"
    yield "case.ttft_slo_s", len(case.ttft_slo_s), len(case.class_names), "class"
    for i, run in enumerate(recorded.runs):
        names = ("started_s", "finished_s", "service_s", "preemptions")
        for name in names if not run.first_tokens else (*names, "first_tokens"):
            yield f"runs[{i}].{name}", len(getattr(run, name)), n, "request"
