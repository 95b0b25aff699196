"""Evidence: what really happened when requests were replayed on a GPU, and all that it takes to simulate the same.

A folder of it holds `evidence.json` (the machine, the versions, the trace, the options), the operator table of the
simulation, and one file a case under `runs/`. A case is one policy at one rate: its requests, its settings, and the
runs really executed; with the distances that its simulation had when it was recorded or last accepted (`flowsim
validate DIR --accept`), to which later simulations are held.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.fit import fit
from flowsim.calibration.costs.table import OperatorTable
from flowsim.core.server import ServerOptions
from flowsim.errors import InputError
from flowsim.io.documents import unique_pairs
from flowsim.io.folders import writing
from flowsim.io.schema import build, fits, made
from flowsim.validation.case import Case, RealRun

SCHEMA_VERSION = 1
STATED = (("date",), ("machine", "gpu_name", "torch", "cpu"), ("trace", "name", "sha256"), ("table", "sha256"))
"""What `evidence.json` must say, beside the cases: a name and, where it is a mapping, the names in it."""


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
        if not isinstance(runs := values.get("runs"), list):
            raise InputError(f"{path}, runs: found {runs!r}; allowed: a list")
        known: Any = values.get("distances")
        if not fits(known, Mapping[str, Mapping[str, float | None]]):
            raise InputError(f"{path}, distances: found {known!r}; allowed: what flowsim validate wrote")
        case = made(Case, values.get("case"), f"{path}, case")
        build(ServerOptions, case.server, f"{path}: case.server")
        recorded = cls(case, [made(RealRun, run, f"{path}, runs[{i}]") for i, run in enumerate(runs)], known)
        _check_columns(recorded, path)
        return recorded


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
        """The cost model. InputError: the table makes none."""
        try:
            return fit(self.table)
        except InputError as error:
            raise InputError(f"{Path(self.folder) / 'table'}: {error}") from None

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
        values = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique_pairs)
    except InputError as error:
        raise InputError(f"{path}, {error}") from None
    except (OSError, ValueError, RecursionError) as error:
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
    if not isinstance(cases, list) or not all(isinstance(slug, str) and slug == Path(slug).name for slug in cases):
        raise InputError(f"{path}, cases: found {cases!r}; allowed: what flowsim validate wrote")


def _check_columns(recorded: Recorded, path: Path) -> None:
    """InputError unless the file is of the case it is named after, and each column has a row a request."""
    case, n = recorded.case, len(recorded.case.arrival_s)
    if case.slug != path.stem:
        raise InputError(f"{path}: found the case {case.slug}; allowed: {path.stem}, after which it is named")
    columns = {f"case, {name}": getattr(case, name) for name in ("arrival_s", "input_length", "class_code")}
    for i, run in enumerate(recorded.runs):
        names = ("started_s", "finished_s", "service_s", "preemptions")
        columns |= {f"runs[{i}], {name}": getattr(run, name) for name in names}
        columns |= {f"runs[{i}], first_tokens": run.first_tokens} if run.first_tokens else {}
        known = {"lateness_s": run.lateness_s} | ({"hand_overs_s": run.hand_overs_s} if run.hand_overs_s else {})
        for name, found in known.items():
            if not {"p50", "p99", "max"} <= found.keys():
                raise InputError(f"{path}, runs[{i}], {name}: found {dict(found)}; allowed: p50, p99 and max")
    for what, rows in columns.items():
        if len(rows) != n:
            raise InputError(f"{path}, {what}: found {len(rows)} rows; allowed: {n}")
    classes = len(case.class_names)
    if max(case.class_code, default=0) >= classes or min((*case.input_length, *case.class_code), default=0) < 0:
        raise InputError(f"{path}, case: found a class or a length that is none; allowed: what flowsim validate wrote")
    if len(case.ttft_slo_s) != classes:
        raise InputError(
            f"{path}, case, ttft_slo_s: found {len(case.ttft_slo_s)} rows; allowed: {classes}, one a class"
        )
    if any(b < a for a, b in pairwise(case.arrival_s)):
        raise InputError(f"{path}, case, arrival_s: found one before another; allowed: in order of time")


def write_about(folder: Path, about: Mapping[str, Any]) -> None:
    """Write `evidence.json`, whole or not at all."""
    with writing(folder) as stage:
        text = json.dumps({"schema_version": SCHEMA_VERSION, **about}, indent=1, allow_nan=False, default=str)
        (stage / "evidence.json").write_text(text + "\n", encoding="utf-8")


def with_run(recorded: Recorded, run: RealRun) -> Recorded:
    """One more real run."""
    return replace(recorded, runs=[*recorded.runs, run])
