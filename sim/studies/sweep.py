"""`flowsim.studies.sweep`: all points of a study, on the cores of this machine or on a Dask cluster."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from flowsim.errors import FailedRuns, InputError
from flowsim.io.counts import number_of
from flowsim.io.folders import leads_somewhere
from flowsim.io.parquet import is_whole
from flowsim.io.schema import Name, PositiveCount, fitted
from flowsim.policies.registry import PolicySpec
from flowsim.rendering.costs_text import Costs, cost_footing, mixed_kinds
from flowsim.rendering.html import render
from flowsim.runs.digests import policy_digest, policy_source
from flowsim.runs.options import files
from flowsim.studies.goodput_rules import RULES
from flowsim.studies.intervals import differences, intervals, ratios
from flowsim.studies.point import Point
from flowsim.studies.replications import REPLICATION, classes_of, varied
from flowsim.studies.search import max_rate
from flowsim.studies.store import Store, read_runs, sealed_keys, title_of
from flowsim.studies.study import Study
from flowsim.studies.workers import Done, Task, run_tasks

if TYPE_CHECKING:
    import pandas as pd

MOST_RUNS_A_TASK = 8
"""Few enough that a killed study loses little, many enough that handing them out costs little."""


FIGURES = (
    "attainment",
    "goodput_rps",
    "offered_rps",
    "ttft_p50_s",
    "ttft_p90_s",
    "ttft_p99_s",
    "late",
    "starved",
    "preemptions",
    "utilization",
)
"""The figures of a run that are shown, after the options that vary and the highest rates."""


@dataclass(frozen=True, eq=False)
class Runs:
    """The runs of a study. Made by `flowsim.studies.sweep`, `flowsim.studies.capacity` and `flowsim.load_runs`.

    Attributes:
        table: one row per run: its options, key (SHA-256 of its inputs), error (None unless it failed), then figures
            as in a summary, ttft_s p50 as ttft_p50_s, those of class text as attainment_text. `ci_attainment_low` and
            `ci_attainment_high` are Wilson's interval at the effective number of requests. Of a search, the highest
            rates by both rules, and the figures of the run at the highest sustained one.
        title: of the study.
        folder: where they are, if anywhere.
        notices: what to say of the study as a whole, such as of windows that were too short.
        new: runs done by this call; the others had been done before.
        cpu_s: seconds of CPU that those took, in whatever process.
        failed: the rows with an error.
        succeeded: the others.
    """

    table: pd.DataFrame
    title: str = ""
    folder: Path | None = None
    new: int = 0
    cpu_s: float = 0.0
    notices: tuple[str, ...] = ()
    failed: pd.DataFrame = field(init=False)
    succeeded: pd.DataFrame = field(init=False)

    def __post_init__(self) -> None:
        fine = self.table["error"].isna()
        object.__setattr__(self, "failed", self.table[~fine])
        object.__setattr__(self, "succeeded", self.table[fine])

    @property
    def columns(self) -> list[str]:
        """The columns that are shown of `table`: the options that vary, the highest rates, figures, and any errors."""
        table = self.table
        options = ["policy", *(name for name in varied(table) if name != "policy")]
        options += [name for name in REPLICATION if name in table and table[name].nunique(dropna=False) > 1]
        rates, classes = map(max_rate, RULES), (f"attainment_{name}" for name in classes_of(table))
        names = [*options, *rates, FIGURES[0], *classes, *FIGURES[1:], *(["error"] if len(self.failed) else [])]
        return [name for name in names if name in table]

    def intervals(self, value: str, by: Sequence[str] = ("policy",)) -> pd.DataFrame:
        """See `flowsim.studies.intervals.intervals`."""
        return intervals(self.table, value, by)

    def differences(self, value: str, against: str, by: Sequence[str] = ()) -> pd.DataFrame:
        """See `flowsim.studies.intervals.differences`."""
        return differences(self.table, value, against, by)

    def ratios(self, value: str, against: str, by: Sequence[str] = ()) -> pd.DataFrame:
        """See `flowsim.studies.intervals.ratios`."""
        return ratios(self.table, value, against, by)

    @property
    def costs(self) -> list[Costs]:
        """The different costs of the runs that succeeded, each with the kind of its table and its stated error."""
        import pandas as pd  # slow to import, and only tables need it

        known = self.succeeded.reindex(columns=["cost_model", "cost_model_kind", "cost_model_stated_error"])
        rows = known.drop_duplicates().dropna(how="all").itertuples(index=False)
        return [Costs(name, *(None if pd.isna(value) else value for value in about)) for name, *about in rows]

    @property
    def warnings(self) -> list[str]:
        """What a reader of the figures must know: that tables of several kinds are mixed, if they are."""
        mixed = mixed_kinds(self.costs)
        return [f"warning: {mixed}"] if mixed else []

    def _repr_html_(self) -> str:
        first = self.table[self.columns].head().to_html(na_rep="-", float_format=lambda value: f"{value:.4g}")
        counts = {"runs": len(self.table), "failed": len(self.failed)}
        about = [*self.warnings, cost_footing(self.costs)] if self.costs else []
        return render("runs.html", title=self.title or "study", **counts, first=first, about=about)


def sweep(
    study: Study | Mapping[str, Any] | str | Path,
    out: str | Path | None = None,
    *,
    workers: int | None = None,
    dask: str | None = None,
    progress: Callable[..., None] | None = None,
) -> Runs:
    """Run all points of a study that have not been run yet.

    Args:
        study: a YAML file, or the same as a mapping: "run" (options that all runs share), "axes" (lists of values by
            option, crossed), "points" (listed), "capacity" (see `Search`), "requests", "title". A policy may be an
            object; its class may be defined in a notebook's cell, whose source is then part of the key of its runs.
        out: folder of the results; a study that was interrupted goes on there, one that has grown runs what is new, and
            one of which a file has changed (a trace, a policy, a module that the policy imports) runs again what it was
            read for.
            Default: nothing is kept on disk.
        workers: processes on this machine; default: one per core. The results do not depend on it.
        dask: address of a Dask scheduler, whose workers then do the runs; they must see the files that the study names.
        progress: called as `flowsim.io.progress.Progress` says.

    Raises:
        InputError: something in the study is wrong (found before the first run), or `out` holds another study's runs.

    Warns:
        ChangedInputs: section "run" pins a trace, a table, a policy or a version other than those found.
        FailedRuns: some runs failed; `Runs.failed` has them.
    """
    workers, dask = fitted(workers, PositiveCount | None, "workers"), fitted(dask, Name | None, "dask")
    study = _study(study)
    study.check()
    study.compare_pins()
    if workers is not None and dask is not None:
        raise InputError("workers", "is given together with dask", expected="one of them")
    if out is None:
        with tempfile.TemporaryDirectory(prefix="flowsim-") as folder:
            done = sweep(study, folder, workers=workers, dask=dask, progress=progress)
        return Runs(done.table, done.title, None, done.new, done.cpu_s)
    policy_digest.cache_clear()
    places = keys_of(study)
    plain = plain_form(study)
    if sealed_keys(out, plain) == list(places) and not study.requests:
        return Runs(read_runs(out), study.title, Path(out))
    with Store(out, places, plain, study.source) as store:
        pending = _pending(study, store, places)
        workers = min(workers or _cores(), max(len(pending), 1))
        apart = workers > 1 or dask is not None
        tasks = run_tasks(_tasks(study, pending, workers, apart), workers, dask)
        new, cpu_s = _collect(study, store, tasks, len(pending), progress)
        store.seal(lambda key: _varied_first(study, Point.of(study.point(places[key])).columns))
    return _told(Runs(read_runs(out), study.title, Path(out), new, cpu_s))


def load_runs(folder: str | Path) -> Runs:
    """The runs in a folder that `sweep` or `capacity` wrote; while the study is still going, those done so far.

    Raises:
        InputError: the folder holds no runs.

    Warns:
        FailedRuns: some runs failed; `Runs.failed` has them.
    """
    if not isinstance(folder, str | Path):
        raise InputError("folder", found=folder, expected="the folder of a study")
    return _told(Runs(read_runs(folder), title_of(folder), Path(folder)))


def _told(runs: Runs) -> Runs:
    """The same runs, after a warning if some failed."""
    if len(runs.failed):
        problem = f"{len(runs.failed):,} of {number_of(len(runs.table), 'run')} failed, and have no figures (NaN)"
        warnings.warn(f"{problem}; the first: {runs.failed['error'].iloc[0]}", FailedRuns, stacklevel=3)
    return runs


def _study(study: Study | Mapping[str, Any] | str | Path) -> Study:
    if isinstance(study, Study):
        return study
    return Study.read(study) if isinstance(study, str | Path) else Study.of(study)


def _varied_first(study: Study, row: Mapping[str, Any]) -> dict[str, Any]:
    """The same columns, first those that the study varies, in the order in which it has them."""
    varied = [*(study.listed[0] if study.listed else ()), *study.axes]
    return {name: row[name] for name in varied if name in row} | dict(row)


def keys_of(study: Study) -> dict[str, int]:
    """The place of each different point in the study, by its key."""
    places: dict[str, int] = {}
    kind = "" if study.search is None else f"{msgspec.structs.asdict(study.search)}"
    for place in range(len(study)):
        places.setdefault(Point.of(study.point(place)).key(study.root, kind), place)
    return places


def _pending(study: Study, store: Store, places: Mapping[str, int]) -> list[tuple[str, int]]:
    def there(key: str) -> bool:
        return key in store and (not study.requests or is_whole(store.requests(key)))

    return [(key, place) for key, place in places.items() if not there(key)]


def _tasks(study: Study, pending: Sequence[tuple[str, int]], workers: int, apart: bool) -> Iterator[Task]:
    """Tasks of some runs each; those of one trace follow one another, so that a worker loads it once.

    If other processes run them (`apart`), the sources of the user's own policies go with them.
    """
    size = max(1, min(MOST_RUNS_A_TASK, len(pending) // (8 * workers)))
    ordered = sorted(pending, key=lambda item: (_trace_of(study, item[1]), item[1]))
    for start in range(0, len(ordered), size):
        items = tuple((key, study.point(place)) for key, place in ordered[start : start + size])
        yield Task(items, study.root, study.search, study.requests, _sources(items) if apart else {})


def _sources(items: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, str | type]:
    names = {Point.of(values).options.policy.name for _, values in items}
    return {name: policy_source(name) for name in names if not PolicySpec(name).shipped}


def _trace_of(study: Study, place: int) -> str:
    values = study.point(place)
    return f"{values['trace']} {values.get('seed', 0):09d}"


def _collect(
    study: Study, store: Store, done: Iterator[list[Done]], total: int, progress: Callable[..., None] | None
) -> tuple[int, float]:
    """Keep every row as it comes; the number of runs and their seconds of CPU."""
    count, cpu_s, begin = 0, 0.0, time.monotonic()
    if progress is not None and total:
        progress(0, total, "starting")
    for batch in done:
        for row, requests, seconds in batch:
            store.append(_varied_first(study, row), requests)
            count, cpu_s = count + 1, cpu_s + seconds
        if progress is not None:
            progress(count, total, f"{count / max(time.monotonic() - begin, 1e-9):.1f} runs/s")
    return count, cpu_s


def _cores() -> int:
    from joblib import cpu_count  # slow to import, and only studies on several cores need it

    return int(cpu_count())


def plain_form(study: Study) -> dict[str, Any]:
    """The study in its YAML form, ranges written out and files named so that they are found from any folder."""

    def plain(name: str, value: Any) -> Any:
        named = name in files() and isinstance(value, str) and leads_somewhere(place := Path(study.root, value))
        return str(place.resolve()) if named else value

    sections = {
        "title": study.title,
        "run": {name: plain(name, value) for name, value in study.base.items()},
        "axes": {name: [plain(name, value) for value in values] for name, values in study.axes.items()},
        "points": [{name: plain(name, value) for name, value in point.items()} for point in study.listed],
        "capacity": study.search and msgspec.structs.asdict(study.search),
        "requests": study.requests if isinstance(study.requests, bool) else list(study.requests),
    }
    return {name: value for name, value in sections.items() if value}
