"""Which runs of a study repeat one another, and which only seem to."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from flowsim.errors import InputError, unknown
from flowsim.results.result import RunResult
from flowsim.runs.options import is_option

if TYPE_CHECKING:
    import pandas as pd

REPLICATION = ("seed", "workload.window")
"""The options of a study that make replications: runs that differ only in them repeat one another."""
FINEST = 1e-6
"""Arrivals that differ by a smaller share of the trace's span are the same: scaling the rate rounds them."""


def independent(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs without those whose seed drew nothing new, each with the seed of its replication.

    Runs on equal requests are repetitions, unless their predictor draws its noise: the one with the lowest seed is
    kept, the same one under every policy. Runs whose seeds only drew other labels (classes and their SLOs) or another
    noise for the same arrivals and lengths stay, and get the lowest seed among them: they are one replication.
    """
    if "served_sha256" not in runs:
        return runs
    drawn = runs["served_sha256"].isna() | runs["predictor"].astype(str).str.startswith("noisy")
    lowest = runs.groupby("served_sha256")["seed"].transform("min")
    kept = runs.assign(seed=runs["seed"].where(drawn, lowest)).drop_duplicates(_options(runs))
    first = kept.groupby("arrivals_sha256")["seed"].transform("min")
    first = first.fillna(first.groupby([kept["workload.window"].fillna(""), kept["seed"]]).transform("min"))
    return kept.assign(seed=first.fillna(kept["seed"]).astype(kept["seed"].dtype))


def by_replication(runs: pd.DataFrame, value: str, by: Sequence[str] = ()) -> pd.Series:
    """The mean of `value` in each replication, for each combination of the columns `by`; of `independent` runs."""
    keys = [*by, *(name for name in REPLICATION if name in runs and name not in by)]
    filled = runs.assign(**{"workload.window": runs["workload.window"].fillna("")})
    means: pd.Series = filled.groupby(keys, sort=False, dropna=False)[value].mean()
    return means


def redrawn(runs: pd.DataFrame) -> bool:
    """Whether some of these `independent` runs only draw other labels, or another noise, for the same requests."""
    return bool(runs.duplicated(_options(runs)).any())


def varied(runs: pd.DataFrame) -> list[str]:
    """The options in which the runs of a study differ, other than those of REPLICATION."""
    names = [name for name in _options(runs) if name not in REPLICATION]
    return [name for name in names if runs[name].nunique(dropna=False) > 1]


def classes_of(table: pd.DataFrame) -> list[str]:
    """The request classes of these runs."""
    names = [name.removeprefix("requests_") for name in table.columns if name.startswith("requests_")]
    return [name for name in names if f"attainment_{name}" in table and table[f"attainment_{name}"].notna().any()]


def check_replications(runs: pd.DataFrame, value: str, by: Sequence[str]) -> None:
    """Raise InputError if a column is missing, or if runs that are equal in `by` differ in more than REPLICATION."""
    for name in (value, *by):
        if name not in runs:
            raise unknown("column", name, runs.columns)
    policy_options = [name for name in runs.columns if name.startswith("policy.")]  # the policy's name holds them
    aside = {*by, *(policy_options if "policy" in by else ())}
    more = [name for name in varied(runs) if name not in aside and _differs(runs, name, by)]
    if more:
        shared = f"runs with the same {', '.join(by)}" if by else "runs"
        raise InputError(shared, f"differ in {', '.join(more)}", expected="runs that differ in seed or window alone")


def served_sha256(result: RunResult) -> str:
    """Of the requests as they were served: runs whose seeds drew nothing have equal ones."""
    trace, slo = result.trace, result.slo
    blocks = trace.blocks if result.inputs["prefix_cache"] != "none" else None
    shared = (np.zeros_like(trace.input_length),) if blocks is None else (blocks.ids, blocks.offsets)
    sent = (trace.priority, trace.client_code) if trace.has("priority") or trace.has("client_code") else ()
    columns = (_arrival_s(result), trace.input_length, slo.ttft_slo_s, slo.class_code, *sent, *shared)
    return hashlib.sha256(b"".join(column.tobytes() for column in columns)).hexdigest()


def arrivals_sha256(result: RunResult) -> str:
    """Of the arrivals and lengths alone, at whatever rate: runs whose seeds drew only labels have equal ones."""
    since_s = _arrival_s(result) - result.trace.arrival_s[0]
    shares = np.round(since_s / (result.trace.span_s or 1.0) / FINEST).astype(np.int64)
    return hashlib.sha256(shares.tobytes() + result.trace.input_length.tobytes()).hexdigest()


def _arrival_s(result: RunResult) -> np.ndarray:
    """When the requests arrived, seconds; in a closed loop, where that depends on the policy, all at once."""
    arrival_s = result.trace.arrival_s
    return np.zeros_like(arrival_s) if result.metrics.is_closed_loop else arrival_s


def _options(runs: pd.DataFrame) -> list[str]:
    return [name for name in runs.columns if is_option(name)]


def _differs(runs: pd.DataFrame, name: str, by: Sequence[str]) -> bool:
    if not by:
        return bool(runs[name].nunique(dropna=False) > 1)
    return bool((runs.groupby(list(by), dropna=False)[name].nunique(dropna=False) > 1).any())
