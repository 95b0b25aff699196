"""The requests that a study kept: policies compared request by request, where there is one trace and no replication."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from flowsim.core.summary import Summary
from flowsim.errors import InputError
from flowsim.io import documents
from flowsim.io.folders import exists
from flowsim.policies.registry import spelling
from flowsim.results.differences import SERVED, ServedTrace, difference_rows
from flowsim.results.recount import COLUMNS, recount
from flowsim.results.saved_files import check_agreement, stored_requests
from flowsim.results.summary import as_columns
from flowsim.studies.store import REQUESTS, SEALED, STUDY, place_of_requests
from flowsim.studies.sweep import Runs

if TYPE_CHECKING:
    import pandas as pd


def keeps_requests(runs: Runs, *columns: str) -> bool:
    """Whether the study keeps the requests of its runs, with these columns, be they still there or not."""
    if runs.folder is None:
        return False
    about = documents.mapping(runs.folder / STUDY, "the study of these runs") if exists(runs.folder / STUDY) else {}
    kept = about.get("requests")
    if isinstance(kept, list) and not set(columns) <= set(kept):
        return False
    return (runs.folder / REQUESTS).is_dir() or (bool(kept) and not about.get("capacity"))


def check_requests(runs: Runs) -> Path:
    """The folder that holds the requests of all runs that succeeded.

    Raises:
        InputError: the study keeps none, or those of a run are not there.
    """
    if runs.folder is None or not keeps_requests(runs):
        raise InputError("study", "kept no requests", expected="requests: true, and a folder")
    for key in runs.succeeded["key"]:
        if not exists(place := place_of_requests(runs.folder, key)):
            problem = f"misses {place.relative_to(runs.folder).as_posix()}"
            raise InputError(str(runs.folder), problem, expected="the requests of every run; a sweep makes them again")
    return runs.folder


def check_kept(runs: Runs, columns: bool | Sequence[str]) -> None:
    """Check the requests that a study keeps: all columns, or those named, where a run has them.

    Raises:
        InputError: those of a run are not there, cannot be read, or are not those of the run.
    """
    import pandas as pd  # slow to import, and only tables need it

    folder = check_requests(runs)
    for run in runs.succeeded.to_dict("records"):
        table = read_requests(folder, run, COLUMNS if columns is True else ())
        if columns is True:
            stated = {str(name): None if pd.isna(value) else value for name, value in run.items()}
            span_s = stated["span_s"] if stated["workload.concurrency"] else None
            found = as_columns(cast(Summary, recount(table, (), span_s)))
            check_agreement(place_of_requests(folder, run["key"]), found, stated, SEALED)


def read_requests(folder: Path, run: Mapping[Any, Any], columns: Sequence[str]) -> pd.DataFrame:
    """These columns of the requests that the study in a folder kept of a run, one row per request.

    Args:
        folder: of the study's results.
        run: the run's row.
        columns: their names.

    Raises:
        InputError: it did not keep them, or they are not as many as the row says, or not as many of them counted.
    """
    path = place_of_requests(folder, run["key"])
    table = stored_requests(path, columns)
    found = {"requests": len(table)} if columns else {}
    found |= {"counted": int(table["counted"].sum())} if "counted" in columns else {}
    check_agreement(path, found, run, SEALED)
    return table


def request_differences(runs: Runs, part: pd.DataFrame, against: str, by: Sequence[str] = ()) -> pd.DataFrame:
    """Differences of each policy to one of them, paired by request, see `flowsim.results.differences.Difference`.

    Args:
        runs: the runs of a study that kept its requests.
        part: those to compare: one per policy and combination of the columns `by`.
        against: the policy that the others are compared with, in any spelling.
        by: columns whose values are compared separately.

    Returns:
        The columns of `by`, and those of `flowsim.Comparison.differences`.

    Raises:
        InputError: no such policy, no requests or too few of their columns, or several runs of a policy in one
            combination.
    """
    import pandas as pd  # slow to import, and only tables need it

    folder = check_requests(runs)
    base = spelling(against, set(part["policy"]))
    rows: list[dict[str, Any]] = []
    for place, runs_there in part.groupby(list(by), sort=False, dropna=False) if by else [((), part)]:
        if runs_there["policy"].duplicated().any():
            raise InputError("study", "has several runs of a policy", expected="one replication")
        served = {run["policy"]: _served(folder, run) for run in runs_there.to_dict("records")}
        here = dict(zip(by, place, strict=True))
        rows += [{**here, **row} for row in difference_rows(served, base)] if base in served else []
    return pd.DataFrame(rows)


def _served(folder: Path, run: Mapping[Any, Any]) -> ServedTrace:
    import pandas as pd  # slow to import, and only tables need it

    offered = run["offered_rps"]
    return ServedTrace.of_table(read_requests(folder, run, SERVED), None if pd.isna(offered) else offered)
