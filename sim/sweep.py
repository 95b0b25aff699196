"""`flowsim.sweep`: all points of a study, on the cores of this machine or on a Dask cluster."""

from __future__ import annotations

import io
import os
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowsim.errors import InputError, said
from flowsim.point import Point, run_point
from flowsim.result import RunResult
from flowsim.search import Search, highest_rate, late, starved
from flowsim.statistics import block_bootstrap, differences, intervals, ratios
from flowsim.store import Store, read_runs, sealed_keys, title_of
from flowsim.study import Study

if TYPE_CHECKING:
    import pandas as pd

MOST_RUNS_A_TASK = 8
"""So few that a killed study loses little, so many that handing them out costs little."""
Row = dict[str, Any]
Kept = bytes | None
Done = tuple[Row, Kept, float]
"""The row of a run, its requests as Parquet if they are kept, and the seconds of CPU that it took."""


@dataclass(frozen=True, eq=False)
class Runs:
    """The runs of a study. Made by `flowsim.sweep`, `flowsim.capacity` and `flowsim.load_runs`.

    Attributes:
        table: a row a run: its options, key (SHA-256 of its inputs), error (None unless it failed), then its figures as
            in a summary, ttft_s p50 as ttft_p50_s, those of class text as attainment_text. `attainment_low` and
            `attainment_high` come from a moving-block bootstrap of the one run. Of a search, the figures of
            `highest_rate`.
        title: of the study.
        folder: where they are, if anywhere.
        new: runs done by this call; the others were there already.
        cpu_s: seconds of CPU that those took, in whatever process.
    """

    table: pd.DataFrame
    title: str = ""
    folder: Path | None = None
    new: int = 0
    cpu_s: float = 0.0
    failed: pd.DataFrame = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "failed", self.table[self.table["error"].notna()])

    def intervals(self, value: str, by: Sequence[str] = ("policy",)) -> pd.DataFrame:
        """See `flowsim.statistics.intervals`."""
        return intervals(self.table, value, by)

    def differences(self, value: str, against: str, by: Sequence[str] = ()) -> pd.DataFrame:
        """See `flowsim.statistics.differences`."""
        return differences(self.table, value, against, by)

    def ratios(self, value: str, against: str, by: Sequence[str] = ()) -> pd.DataFrame:
        """See `flowsim.statistics.ratios`."""
        return ratios(self.table, value, against, by)

    def _repr_html_(self) -> str:
        head = f"{len(self.table):,} runs, {len(self.failed):,} failed"
        return f"<div><b>{self.title or 'study'}</b>: {head}{self.table.head()._repr_html_()}</div>"  # type: ignore[operator]


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
            option, crossed), "points" (listed), "capacity" (see `Search`), "requests", "title".
        out: folder of the results; a study that was interrupted goes on there, one that has grown runs what is new.
            Default: nothing is kept on disk.
        workers: processes on this machine; default: one a core. The results do not depend on it.
        dask: address of a Dask scheduler, whose workers then do the runs; they must see the files that the study names.
        progress: called as `flowsim.progress.Progress` says.

    Raises:
        InputError: something in the study is wrong (found before the first run), or `out` holds another study's runs.
    """
    study = _study(study)
    study.check()
    if workers is not None and workers < 1:
        raise InputError(f"workers is {workers}, allowed is 1 or more")
    if out is None:
        with tempfile.TemporaryDirectory(prefix="flowsim-") as folder:
            done = sweep(study, folder, workers=workers, dask=dask, progress=progress)
        return Runs(done.table, done.title, None, done.new, done.cpu_s)
    places = _keys(study)
    if sealed_keys(out) == list(places) and not study.requests:
        return Runs(read_runs(out), study.title, Path(out))
    with Store(out, places) as store:
        pending = _pending(study, store, places)
        workers = min(workers or _cores(), max(len(pending), 1))
        new, cpu_s = _collect(store, _execute(_tasks(study, pending, workers), workers, dask), len(pending), progress)
        store.seal(_plain(study))
    return Runs(read_runs(out), study.title, Path(out), new, cpu_s)


def load_runs(folder: str | Path) -> Runs:
    """The runs in a folder that `sweep` or `capacity` wrote; while the study is still going, those done so far.

    Raises:
        InputError: the folder holds no runs.
    """
    return Runs(read_runs(folder), title_of(folder), Path(folder))


def measure(point: Point, key: str, root: str, search: Search | None, requests: bool) -> tuple[Row, Kept]:
    """Run one point, or search its highest rate. An error becomes part of the row."""
    row, kept = {**point.columns, "key": key, "error": None}, None
    try:
        if search is not None:
            found = highest_rate(point, root, search)
            row |= found.row | (figures(found.result) if found.result is not None else {})
        else:
            result = run_point(point, root)
            row |= figures(result)
            kept = _parquet(result, key) if requests else None
    except InputError as error:
        row["error"] = str(error)
    except Exception as error:  # whatever a user's policy does
        row["error"] = said(error)
    return row, kept


def figures(result: RunResult) -> dict[str, Any]:
    """The summary of a run as plain columns, with the bootstrap interval of its attainment."""
    summary = result.summary
    inputs = summary["inputs"]
    interval = block_bootstrap(result.attained[result.counted], seed=result.config["seed"])
    row = {name: inputs[name] for name in ("trace_sha256", "cost_model", "cost_model_sha256", "version")}
    row |= {"slo_rule": inputs["slo"], "rate_rps_replayed": result.trace.rate_rps}
    row |= _flat({name: value for name, value in summary.items() if name not in ("policy", "inputs", "classes")})
    row |= {"attainment_low": interval.low, "attainment_high": interval.high}
    row |= {"late": int(late(result).sum()), "starved": int(starved(result).sum())}
    for name, of in summary["classes"].items():
        row |= {f"{column}_{name}": value for column, value in _flat(of).items()}
    return row


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= {f"{name.removesuffix('_s')}_{part}_s": number for part, number in value.items()}
        else:
            flat[name] = value
    return flat


def _parquet(result: RunResult, key: str) -> bytes:
    frame = result.requests
    frame.insert(0, "key", key)
    with io.BytesIO() as file:
        frame.to_parquet(file, index=False, compression="zstd")
        return file.getvalue()


def _study(study: Study | Mapping[str, Any] | str | Path) -> Study:
    if isinstance(study, Study):
        return study
    return Study.read(study) if isinstance(study, str | Path) else Study.of(study)


def _keys(study: Study) -> dict[str, int]:
    """The place of each different point in the study, by its key."""
    places: dict[str, int] = {}
    kind = "" if study.search is None else f"{asdict(study.search)}"
    for place in range(len(study)):
        places.setdefault(Point.of(study.point(place)).key(study.root, kind), place)
    return places


def _pending(study: Study, store: Store, places: Mapping[str, int]) -> list[tuple[str, int]]:
    def there(key: str) -> bool:
        return key in store and (not study.requests or store.requests(key).exists())

    return [(key, place) for key, place in places.items() if not there(key)]


def _tasks(study: Study, pending: Sequence[tuple[str, int]], workers: int) -> Iterator[Task]:
    """Tasks of some runs each; those of one trace behind each other, so that a worker loads it once."""
    size = max(1, min(MOST_RUNS_A_TASK, len(pending) // (8 * workers)))
    ordered = sorted(pending, key=lambda item: (_trace_of(study, item[1]), item[1]))
    for start in range(0, len(ordered), size):
        items = tuple((key, study.point(place)) for key, place in ordered[start : start + size])
        yield Task(items, study.root, study.search, study.requests)


def _trace_of(study: Study, place: int) -> str:
    values = study.point(place)
    return f"{values['trace']} {values.get('seed', 0):09d}"


@dataclass(frozen=True)
class Task:
    """Some runs of a study: the key and the options of each, and what `measure` wants to know besides."""

    items: tuple[tuple[str, Mapping[str, Any]], ...]
    root: str
    search: Search | None
    requests: bool

    def __call__(self) -> list[Done]:
        """Do them."""
        done = []
        for key, values in self.items:
            begin = time.process_time()
            row, kept = measure(Point.of(values), key, self.root, self.search, self.requests)
            done.append((row, kept, time.process_time() - begin))
        return done


def _execute(tasks: Iterator[Task], workers: int, dask: str | None) -> Iterator[list[Done]]:
    """What each task did, as they complete."""
    if dask is not None:
        yield from _on_dask(tasks, dask)
    elif workers == 1:
        yield from (task() for task in tasks)
    else:
        from joblib import Parallel, delayed

        options: dict[str, Any] = {"pre_dispatch": "2*n_jobs", "batch_size": 1}
        options |= {"initializer": _end_with, "initargs": (os.getpid(),)}
        pool = Parallel(workers, return_as="generator_unordered", **options)
        with warnings.catch_warnings():  # a worker whose caches have grown is replaced, which is nobody's concern
            warnings.filterwarnings("ignore", "A worker stopped while some jobs were given")
            yield from pool(delayed(task)() for task in tasks)


def _end_with(parent: int) -> None:
    """End this worker when its parent is gone: killed, it cannot tell, and the worker would wait for it for ever."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _on_dask(tasks: Iterator[Task], address: str) -> Iterator[list[Done]]:
    try:
        from distributed import Client, as_completed
    except ImportError:
        raise InputError("--dask needs Dask: pip install 'flowsim[dask]'") from None
    try:
        client = Client(address, timeout=5)
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(f"dask {address!r}: no scheduler answers ({' '.join(str(error).split())})") from None
    with client:
        futures = [client.submit(task, pure=False) for task in tasks]
        for future in as_completed(futures):
            yield future.result()
            future.release()


def _collect(
    store: Store, done: Iterator[list[Done]], total: int, progress: Callable[..., None] | None
) -> tuple[int, float]:
    """Keep every row as it comes; the number of runs and their seconds of CPU."""
    count, cpu_s, begin = 0, 0.0, time.monotonic()
    for batch in done:
        for row, requests, seconds in batch:
            store.append(row, requests)
            count, cpu_s = count + 1, cpu_s + seconds
        if progress is not None:
            progress(count, total, f"{count / max(time.monotonic() - begin, 1e-9):.1f} runs/s")
    return count, cpu_s


def _cores() -> int:
    from joblib import cpu_count

    return int(cpu_count())


def _plain(study: Study) -> dict[str, Any]:
    """The study in its YAML form, ranges written out."""
    sections = {
        "title": study.title,
        "run": dict(study.base),
        "axes": {name: list(values) for name, values in study.axes.items()},
        "points": [dict(point) for point in study.listed],
        "capacity": study.search and asdict(study.search),
        "requests": study.requests,
    }
    return {name: value for name, value in sections.items() if value}
