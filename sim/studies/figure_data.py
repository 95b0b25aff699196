"""The numbers that the figures of studies show, computed before anything is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flowsim.errors import InputError, unknown
from flowsim.rendering.result_figures import Distribution
from flowsim.results.saved_files import is_share
from flowsim.studies.goodput_rules import Rule
from flowsim.studies.intervals import intervals, ratios
from flowsim.studies.kept_requests import check_requests, read_requests
from flowsim.studies.replications import REPLICATION, classes_of, varied
from flowsim.studies.search import max_rate
from flowsim.studies.sweep import Runs

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
OF_POLICY = "policy."
"""How the columns begin that hold an option of a policy."""


@dataclass(frozen=True, eq=False)
class Line:
    """One line of a chart: means with their 95 % intervals.

    Attributes:
        name: of the policy, or of the class.
        x: values of the option, ascending as in the study, shape [k]; of words, their places on the axis.
        mean, low, high: shape [k], in the unit of the chart; `low` and `high` are NaN where no interval is known.
    """

    name: str
    x: Floats
    mean: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, eq=False)
class LineChart:
    """A metric against an option of the runs.

    Attributes:
        x, value: the columns; shares are in per cent.
        lines: one per policy, or one per class.
        ticks: the values of the option: numbers, ascending, or words, in the order of their places on the axis.
        words: whether they are words.
    """

    x: str
    value: str
    lines: Sequence[Line]
    ticks: Sequence[Any]
    words: bool


@dataclass(frozen=True, eq=False)
class RateBars:
    """The max goodput of each policy by one rule, requests per second.

    Attributes:
        rule: by which it was found.
        policies: in the order of the study; the others are compared with the first.
        mean, low, high: shape [policies]; `mean` is NaN where nothing limits the rate in any run, `low` and `high`
            where no interval is known.
        ratio: to the first policy's, paired by replication, shape [policies]; NaN where it is not known.
    """

    rule: Rule
    policies: Sequence[str]
    mean: Floats
    low: Floats
    high: Floats
    ratio: Floats


@dataclass(frozen=True, eq=False)
class HeatMap:
    """Means of a metric over two options.

    Attributes:
        x, y, value: the columns; shares are in per cent.
        policies: whose runs these are.
        across, down: the values of x from left to right, and of y from top to bottom.
        cells: shape [down, across]; NaN where there is no run.
        ends: the values at which the colours begin and end.
    """

    x: str
    y: str
    value: str
    policies: Sequence[str]
    across: Sequence[float]
    down: Sequence[float]
    cells: Floats
    ends: tuple[float, float]


def line_chart(runs: Runs, x: str, value: str) -> LineChart:
    """A metric against an option, one line per policy, with 95 % intervals.

    They are Student's t over the replications; with one replication, attainment has Wilson's at its effective
    number of requests.

    Raises:
        InputError: no such column, or runs that differ in a further option: select one value of it.
    """
    done, name = runs.succeeded, "policy"
    if x.startswith(OF_POLICY):
        done, name = done.assign(family=family(done["policy"])), "family"
    if x not in done:
        raise unknown("option", x, [*varied(done), *REPLICATION])
    by = list(dict.fromkeys((name, x)))
    stats = intervals(done, value, by)
    if value == "attainment" and (stats["n"] <= 1).all():
        bounds = done.groupby(by, sort=False)[["ci_attainment_low", "ci_attainment_high"]].first().reset_index()
        stats[["low", "high"]] = bounds[["ci_attainment_low", "ci_attainment_high"]]
    words = not is_number(stats[x])
    ticks = list(dict.fromkeys(stats[x])) if words else list(np.unique(stats[x]))
    places = stats[x].map(ticks.index) if words else factor(x) * stats[x]
    lines = [_line(str(policy), places[group.index], group, value) for policy, group in stats.groupby(name, sort=False)]
    return LineChart(x, value, lines, ticks if words else [factor(x) * tick for tick in ticks], words)


def class_chart(runs: Runs, x: str, policy: str) -> LineChart:
    """Attainment against an option under one policy, one line per class.

    Raises:
        InputError: no such policy in the study; or as `line_chart`.
    """
    done = runs.succeeded
    if policy not in set(done["policy"]):
        raise unknown("policy", policy, set(done["policy"]), "of the study")
    done = done[done["policy"] == policy]
    stats = {name: intervals(done, f"attainment_{name}", [x]) for name in classes_of(done)}
    lines = [_line(name, group[x], group, "attainment") for name, group in stats.items()]
    return LineChart(x, "attainment", lines, list(np.unique(done[x])), words=False)


def rate_bars(runs: Runs, rule: Rule) -> RateBars:
    """The highest rate of each policy by a rule, with intervals, and its paired ratio to the first policy's.

    Raises:
        InputError: the study did not search for highest rates; or as `line_chart`.
    """
    done, value = runs.succeeded, max_rate(rule)
    if value not in done:
        raise InputError("study", "has no highest rates", expected="one with capacity, or flowsim capacity --out")
    stats = intervals(done, value, ["policy"])
    ratio = ratios(done, value, done["policy"].iloc[0]).set_index("policy")["mean"]
    mean, low, high = (stats[name].to_numpy() for name in ("mean", "low", "high"))
    return RateBars(rule, list(stats["policy"]), mean, low, high, ratio.reindex(stats["policy"]).to_numpy())


def heat_map_of(runs: Runs, x: str, y: str, value: str, ends: tuple[float, float] | None = None) -> HeatMap:
    """The mean over replications of a metric, for each pair of values of two options, of one policy or family.

    Raises:
        InputError: no such column, or runs of several policies or of a further option: select one.
    """
    stats = intervals(runs.succeeded, value, [y, x])
    table = stats.pivot(index=y, columns=x, values="mean").sort_index(ascending=False)
    cells = factor(value) * table.to_numpy()
    bottom, top = (factor(value) * end for end in ends) if ends else (np.nanmin(cells), np.nanmax(cells))
    names = runs.succeeded["policy"]
    policies = list(dict.fromkeys(family(names) if any(one.startswith(OF_POLICY) for one in (x, y)) else names))
    across, down = ([float(at) for at in index] for index in (table.columns, table.index))
    return HeatMap(x, y, value, policies, across, down, cells, (bottom, top))


def ttft_distributions(runs: Runs) -> dict[str, Distribution]:
    """The distribution of TTFT, seconds, among the counted requests of all runs of each policy.

    Raises:
        InputError: the study kept no requests ("requests: true"), or not which of them count, or some are not there.
    """
    import pandas as pd  # slow to import, and only tables need it

    folder, found = check_requests(runs), {}
    for policy, group in runs.succeeded.groupby("policy", sort=False):
        rows = pd.concat([read_requests(folder, run, ("ttft_s", "counted")) for run in group.to_dict("records")])
        found[str(policy)] = Distribution.of(rows["ttft_s"][rows["counted"]].to_numpy())
    return found


def with_short_traces(runs: Runs) -> Runs:
    """The runs with the last parts of the paths of their traces, as few as tell them apart."""
    if "trace" not in runs.table:
        return runs
    parts = {trace: str(trace).split("/") for trace in runs.table["trace"]}
    for last in range(1, max(map(len, parts.values()), default=0) + 1):
        names = {trace: "/".join(path[-last:]) for trace, path in parts.items()}
        if len(set(names.values())) == len(names):
            return replace(runs, table=runs.table.assign(trace=runs.table["trace"].map(names)))
    return runs


def family(policies: pd.Series) -> pd.Series:
    """The names of policies without their options."""
    return policies.astype(str).str.partition(":")[0]


def is_number(column: pd.Series) -> bool:
    """Whether the values of an option are numbers."""
    return column.dtype.kind in "iuf"


def factor(value: str) -> int:
    """What a column is multiplied by to be shown: shares are shown in per cent."""
    return 100 if is_share(value) else 1


def _line(name: str, x: pd.Series, stats: pd.DataFrame, value: str) -> Line:
    mean, low, high = (factor(value) * stats[column].to_numpy() for column in ("mean", "low", "high"))
    return Line(name, x.to_numpy(), mean, low, high)
