"""The requests that a study kept: policies compared request by request, where there is one trace and no replication."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowsim.errors import InputError
from flowsim.policies.registry import spelling
from flowsim.results.differences import SERVED, Served, compared
from flowsim.studies.store import REQUESTS, read_requests
from flowsim.studies.sweep import Runs

if TYPE_CHECKING:
    import pandas as pd


def has_requests(runs: Runs) -> bool:
    """Whether the study kept its requests."""
    return runs.folder is not None and (runs.folder / REQUESTS).is_dir()


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

    if runs.folder is None or not has_requests(runs):
        raise InputError("study", "kept no requests", expected="requests: true, and a folder")
    base = spelling(against, set(part["policy"]))
    rows: list[dict[str, Any]] = []
    for place, runs_there in part.groupby(list(by), sort=False, dropna=False) if by else [((), part)]:
        if runs_there["policy"].duplicated().any():
            raise InputError("study", "has several runs of a policy", expected="one replication")
        served = {run["policy"]: _served(runs.folder, run) for run in runs_there.to_dict("records")}
        here = dict(zip(by, place, strict=True))
        rows += [{**here, **row} for row in compared(served, base)] if base in served else []
    return pd.DataFrame(rows)


def _served(folder: Path, run: Mapping[Any, Any]) -> Served:
    import pandas as pd  # slow to import, and only tables need it

    offered = run["offered_rps"]
    return Served.of_table(read_requests(folder, run["key"], SERVED), None if pd.isna(offered) else offered)
