"""The runs of a study, done on the cores of this machine or on a Dask cluster, each to a plain row."""

from __future__ import annotations

import atexit
import gc
import io
import os
import platform
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any

from flowsim.errors import InputError, InputWarning, raised
from flowsim.io.signals import ignore_interrupts, is_of_signal, no_interrupts
from flowsim.results.bootstrap import share_interval
from flowsim.results.differences import decisions_sha256
from flowsim.results.result import RunResult
from flowsim.results.summary import as_columns, bound_columns
from flowsim.runs.digests import package_digest, use_source
from flowsim.runs.run import execute as simulated
from flowsim.studies.bound_rate import bound_rate_rps
from flowsim.studies.goodput_rules import late
from flowsim.studies.point import Point, bounding_of, notices, prepared
from flowsim.studies.replications import arrivals_sha256, served_sha256
from flowsim.studies.search import Search, highest_rates

if TYPE_CHECKING:
    from distributed import Client, Future

INPUT_COLUMNS = (
    "trace_sha256", "cost_model", "cost_model_sha256", "cost_model_kind", "cost_model_stated_error", "version",
)  # fmt: skip
"""The entries of a summary's inputs that a row has."""
IGNORED = "ignore:resource_tracker:UserWarning"
Row = dict[str, Any]
Kept = bytes | None
Done = tuple[Row, Kept, float]
"""The row of a run, its requests as Parquet if they are kept, and the seconds of CPU that it took."""


@dataclass(frozen=True)
class Task:
    """Some runs of a study: the key and the options of each, and what else `measure` needs.

    Attributes:
        sources: of each policy of the user's own, by name, what other processes need to run it (`policy_source`).
    """

    items: tuple[tuple[str, Mapping[str, Any]], ...]
    root: str
    search: Search | None
    requests: bool | tuple[str, ...]
    sources: Mapping[str, str | type] = field(default_factory=dict)

    def __call__(self) -> list[Done]:
        """Do them."""
        done = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InputWarning)  # said when the study was checked
            for key, values in self.items:
                begin = time.process_time()
                row, kept = measure(Point.of(values), key, self.root, self.search, self.requests, self.sources)
                done.append((row, kept, time.process_time() - begin))
        return done


def run_tasks(tasks: Iterator[Task], workers: int, dask: str | None) -> Iterator[list[Done]]:
    """What each task did, as they complete."""
    if dask is not None:
        yield from _on_dask(tasks, dask)
    elif workers == 1:
        yield from (task() for task in tasks)
    else:
        with warnings.catch_warnings():  # a worker whose caches have grown is replaced; an error has its own line
            warnings.filterwarnings("ignore", "A worker stopped while some jobs were given")
            warnings.filterwarnings("ignore", r"\d+ tasks which were still being processed")
            yield from _on_cores(tasks, workers)


@contextmanager
def _starting() -> Iterator[None]:
    """Set what workers inherit that start meanwhile, and what loky's tracker of resources does.

    Else workers would find modules in the working folder first, Ctrl-C, which a terminal sends to all, would end each
    in a traceback, and the tracker would warn of semaphores that a signal left on its list.
    """
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    given = os.environ.get("PYTHONWARNINGS", "").removesuffix(IGNORED).rstrip(",")
    os.environ["PYTHONWARNINGS"] = f"{given},{IGNORED}".lstrip(",")
    if os.name == "posix":
        resource_tracker.ensure_running()  # as it starts, it unblocks the signals that are blocked
    with no_interrupts():
        yield


class _Handed:
    """Tasks as they are handed to workers, from any thread, until it is closed.

    Attributes:
        under_way: those that were handed out and are not done, by the key of their first run.
    """

    def __init__(self, tasks: Iterator[Task]) -> None:
        self._tasks, self._lock, self._closed = tasks, threading.Lock(), False
        self.under_way: dict[str, Task] = {}

    def __iter__(self) -> Iterator[Task]:
        return iter(self._next, None)

    def _next(self) -> Task | None:
        with self._lock:
            task = None if self._closed else next(self._tasks, None)
            if task is not None:
                self.under_way[task.items[0][0]] = task
            return task

    def close(self) -> list[Task]:
        """Hand out no more; those that are under way."""
        with self._lock:
            self._closed = True
            return list(self.under_way.values())


def _on_cores(tasks: Iterator[Task], workers: int) -> Iterator[list[Done]]:
    """What each task did; if a worker died, those under way are done again, one run after another by one worker."""
    from joblib import Parallel, delayed  # slow to import, and only studies on several cores need it
    from joblib.externals.loky.process_executor import BrokenProcessPool

    options: dict[str, Any] = {"pre_dispatch": "2*n_jobs", "batch_size": 1}
    options |= {"initializer": _end_with, "initargs": (os.getpid(),)}
    lost = True
    while lost:
        handed, lost = _Handed(tasks), False
        try:
            with ExitStack() as ended:
                with _starting():
                    each = Parallel(workers, return_as="generator_unordered", **options)(
                        delayed(one)() for one in handed
                    )
                    ended.enter_context(closing(each))
                for done in each:
                    handed.under_way.pop(done[0][0]["key"])
                    yield done
        except BrokenProcessPool:
            lost = True
        for task in handed.close():
            for item in task.items:
                yield _alone(replace(task, items=(item,)))


def _alone(task: Task) -> list[Done]:
    """What a task of one run did in a worker of its own; if that dies, the run has failed."""
    from joblib.externals.loky.process_executor import BrokenProcessPool, ProcessPoolExecutor

    with ProcessPoolExecutor(1, initializer=_end_with, initargs=(os.getpid(),)) as pool:
        try:
            with _starting():
                future = pool.submit(task)
            done: list[Done] = future.result()
        except BrokenProcessPool:
            done = _died(task)
    return done


def _end_with(parent: int) -> None:
    """End this worker when its parent has been killed, since it would otherwise wait for it for ever, not at Ctrl-C.

    And end it fast: at exit Python would spend seconds looking for cycles before it frees the memory.
    """
    ignore_interrupts()
    atexit.register(gc.freeze)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _on_dask(tasks: Iterator[Task], address: str) -> Iterator[list[Done]]:
    try:
        from distributed import Client  # an extra: only --dask needs it
    except ImportError:
        raise InputError("--dask", "needs Dask: pip install 'flowsim[dask]'") from None
    try:
        client = Client(address)
    except (OSError, ValueError, TypeError, AssertionError) as error:  # Dask's own for tls://, ucx:// and a slow start
        raise InputError(f"dask {address!r}", f"no scheduler answers ({' '.join(str(error).split())})") from None
    with client:
        try:
            yield from _by(client, tasks)
        except InputError as error:
            raise error.within(f"dask {address!r}") from None
        except (CancelledError, OSError) as error:
            raise InputError(f"dask {address!r}", "the scheduler was lost; run it again to go on") from error
        except Exception as error:  # flowsim is not there, or is not what was sent
            said = f"a worker cannot do the runs ({type(error).__name__}: {error})"
            raise InputError(f"dask {address!r}", said) from error


def _by(client: Client, tasks: Iterator[Task]) -> Iterator[list[Done]]:
    """What each task did on the cluster; one that its workers did not survive is done again, one run after another."""
    from distributed import KilledWorker, as_completed

    def submitted(task: Task) -> Future:
        return client.submit(_same, task, package_digest(), pure=False)

    handed = {submitted(task): task for task in tasks}
    for future in as_completed(handed):
        task = handed.pop(future)
        if not isinstance(future.exception(), KilledWorker):
            yield future.result()
            continue
        for item in task.items:
            single = replace(task, items=(item,))
            alone = submitted(single)
            yield _died(single) if isinstance(alone.exception(), KilledWorker) else alone.result()


def _same(task: Task, digest: str) -> list[Done]:
    """What a task did, here on another machine. InputError: flowsim is not the same here."""
    if package_digest() != digest:
        found = f"a worker on {platform.node()} runs another flowsim (found {package_digest()[:12]})"
        raise InputError("", found, expected=f"{digest[:12]}, as here")
    return task()


def _died(task: Task) -> list[Done]:
    """What is known of a run that its worker did not survive."""
    ((key, values),) = task.items
    return [({**Point.of(values).columns, "key": key, "error": "its worker died"}, None, 0.0)]


def measure(
    point: Point,
    key: str,
    root: str,
    search: Search | None,
    requests: bool | tuple[str, ...],
    sources: Mapping[str, str | type],
) -> tuple[Row, Kept]:
    """Run one point, or search its highest rate. An error becomes part of the row."""
    row, kept = {**point.columns, "key": key, "error": None}, None
    try:
        if source := sources.get(point.options.policy.name):
            use_source(point.options.policy.name, source)
        if search is not None:
            found = highest_rates(point, root, search)
            row |= _bound_rate(point, root, search)
            row |= found.row | (figures(found.result) if found.result is not None else {})
        else:
            ready = prepared(point, root)
            result = simulated(ready, bounding=bounding_of(point, root))
            row |= figures(result) | {"trace_notices": notices(ready)}
            kept = _parquet(result, key, requests) if requests else None
    except BaseException as error:  # whatever a user's policy does
        if is_of_signal(error):
            raise
        row["error"] = raised(error)
    return row, kept


def _bound_rate(point: Point, root: str, search: Search) -> dict[str, float]:
    """The rate from which on no scheduler meets the target, if it is asked for."""
    asked = point.options.bound and point.options.until_s is None
    return {"bound_rate_rps": bound_rate_rps(point, root, search)} if asked else {}


def figures(result: RunResult) -> dict[str, Any]:
    """The summary of a run as plain columns, with the bootstrap interval of its attainment."""
    summary = result.full_summary
    inputs = summary["inputs"]
    interval = share_interval(result.attained[result.counted])
    row: dict[str, Any] = {name: value for name, value in inputs.items() if name in INPUT_COLUMNS}
    row |= {"served_sha256": served_sha256(result), "arrivals_sha256": arrivals_sha256(result)}
    row |= {"decisions_sha256": decisions_sha256(result), "slo_rule": inputs["slo"]}
    row |= {"rate_rps_replayed": result.trace.rate_rps}
    row |= as_columns(summary) | (bound_columns(summary) if summary["bound"] else {})
    row |= {"ci_attainment_low": interval.low, "ci_attainment_high": interval.high}
    row |= {"late": int(late(result).sum()), "starved": int(result.metrics.starved.sum())}
    for name, group in summary["classes"].items():
        row |= {f"{column}_{name}": value for column, value in as_columns(group).items()}
    return row


def _parquet(result: RunResult, key: str, columns: bool | tuple[str, ...]) -> bytes:
    frame = result.requests
    frame.insert(0, "key", key)
    frame = frame if isinstance(columns, bool) else frame.filter(columns)
    with io.BytesIO() as file:
        frame.to_parquet(file, index=False, compression="zstd")
        return file.getvalue()
