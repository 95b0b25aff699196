"""A chart of any columns of any runs: the numbers that it shows, computed before anything is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from flowsim.errors import InputError, unknown
from flowsim.runs.options import is_option
from flowsim.studies.figure_data import OF_POLICY, Line, factor, family, is_number, with_short_traces
from flowsim.studies.intervals import differences, intervals
from flowsim.studies.replications import REPLICATION, classes_of, varied
from flowsim.studies.sweep import Runs

if TYPE_CHECKING:
    import pandas as pd

POLICY, FAMILY, CLASS = "policy", "family", "class"
"""Columns that a chart knows besides those of the runs: the policy without its options, and the class of requests."""

MOST_NAMED = 8
"""So many points that are not finite are named."""


@dataclass(frozen=True)
class ChartColumns:
    """Which columns a chart shows, and where.

    Attributes:
        x, y: on the axes; default of x: the first option that varies, else the policy.
        hue: one line for each of its values.
        facet: one panel for each of its values.
        against: a policy; what is shown is the difference of y to its own, paired by replication.
    """

    x: str | None = None
    y: str = "attainment"
    hue: str | None = None
    facet: str | None = None
    against: str | None = None


@dataclass(frozen=True, eq=False)
class Panel:
    """The lines of one value of the facet; `title` says which."""

    title: str
    lines: Sequence[Line]


@dataclass(frozen=True, eq=False)
class PanelChart:
    """One or several panels with the same axes.

    Attributes:
        columns: what is shown; x and hue are filled in.
        panels: in the order of the study.
        names: of the lines, in the order of the study; a panel may lack some.
        ticks: the values of x: numbers, ascending, or words, in the order of their places on the axis.
        words: whether they are words.
        joined: whether the points of a line follow one another along x; not so where x is a figure of the runs.
        bars: what the error bars are; "" where there are none.
        left_out: what is said of points that are not finite; "" if all are.
    """

    columns: ChartColumns
    panels: Sequence[Panel]
    names: Sequence[str]
    ticks: Sequence[Any]
    words: bool
    joined: bool
    bars: str
    left_out: str


def chart(runs: Runs, columns: ChartColumns) -> PanelChart:
    """The means of a column over replications, with 95 % intervals, by up to three others.

    With one replication, attainment has Wilson's interval at the effective number of requests, other columns none.

    Raises:
        InputError: no run succeeded, no such column or policy, a y that is not a number or nowhere finite, or runs
            that differ in a further option: select one value of it, or show it.
    """
    done = with_short_traces(runs).succeeded
    if done.empty:
        raise InputError("study", "has no run that succeeded, so there is nothing to draw")
    asked = _filled(done, columns)
    done = done.assign(family=family(done[POLICY])) if FAMILY in (asked.x, asked.hue, asked.facet) else done
    _check(done, asked)
    stats = _stats(done, asked)
    finite = np.isfinite(stats["mean"].to_numpy(dtype=float))
    if is_number(stats["at"]):
        finite &= np.isfinite(stats["at"].to_numpy(dtype=float))
    if not finite.any():
        where, name = ("x", asked.x) if np.isfinite(stats["mean"]).any() else ("y", asked.y)
        raise InputError(where, f"{name} is finite at no point, so there is nothing to draw")
    return _chart(stats.loc[finite], asked, _said_of(stats.loc[~finite]))


def _said_of(left_out: pd.DataFrame) -> str:
    """What is said of the points that are not drawn."""
    if left_out.empty:
        return ""
    names = [str(name) for name in left_out if _is_setting(str(name))]
    points = [", ".join(said(name, row[name]) for name in names) for row in left_out.to_dict("records")]
    more = [f"{len(points) - MOST_NAMED:,} more"] if len(points) > MOST_NAMED else []
    return f"Left out, as not finite: {'; '.join([*points[:MOST_NAMED], *more])}."


def _filled(done: pd.DataFrame, columns: ChartColumns) -> ChartColumns:
    """The columns with those that were not given."""
    free = [name for name in varied(done) if name != POLICY and name not in (columns.hue, columns.facet)]
    free = [name for name in free if not name.startswith(OF_POLICY)] or free
    x = columns.x or (free[0] if free else POLICY)
    hue = columns.hue
    if hue is None and POLICY not in (x, columns.facet):
        hue = FAMILY if x.startswith(OF_POLICY) else POLICY
    return ChartColumns(x, columns.y, hue, columns.facet, columns.against)


def _check(done: pd.DataFrame, asked: ChartColumns) -> None:
    known = [name for name in done.columns if name not in ("key", "error")]
    for where, name in (("x", asked.x), ("y", asked.y), ("hue", asked.hue), ("facet", asked.facet)):
        if name is not None and name not in known and (name != CLASS or where == "y"):
            raise unknown("column", name, [*known, *REPLICATION, CLASS, FAMILY], where=where)
    classes = [f"{asked.y}_{name}" for name in classes_of(done)] if CLASS in (asked.x, asked.hue, asked.facet) else ()
    for name in classes or (asked.y,):
        if name not in done:
            raise InputError("y", found=asked.y, expected="a column of each class, such as attainment or ttft_p99_s")
        if not is_number(done[name]):
            raise InputError("y", found=asked.y, expected="a column of numbers")
    if asked.against is not None and POLICY in (asked.x, asked.facet):
        raise InputError("against", "is given where policies are compared along x or facet", expected="policies as hue")


def _stats(done: pd.DataFrame, asked: ChartColumns) -> pd.DataFrame:
    """Columns of the facet and the hue, then at (on the x axis), mean, low, high."""
    import pandas as pd  # slow to import, and only tables need it

    if CLASS not in (asked.x, asked.hue, asked.facet):
        return _by(done, asked, asked.y)
    parts = [_by(done.assign(**{CLASS: name}), asked, f"{asked.y}_{name}") for name in classes_of(done)]
    return pd.concat(parts, ignore_index=True)


def _by(done: pd.DataFrame, asked: ChartColumns, value: str) -> pd.DataFrame:
    """The statistics of one column."""
    shown = [name for name in (asked.facet, asked.hue) if name is not None]
    x = str(asked.x)
    along = [x] if _is_setting(x) else [name for name in varied(done) if not name.startswith(OF_POLICY)]
    by = list(dict.fromkeys([*shown, *along]))
    if asked.against is not None:
        stats = differences(done, value, asked.against, [name for name in by if name != POLICY])
    else:
        stats = intervals(done, value, by)
    bootstrapped = asked.against is None and value == "attainment" and "ci_attainment_low" in done
    if bootstrapped and (stats["n"] <= 1).all():
        names = {"ci_attainment_low": "low", "ci_attainment_high": "high"}
        bounds = done.groupby(by, sort=False, dropna=False)[list(names)].first().rename(columns=names)
        stats = stats.drop(columns=["low", "high"]).merge(bounds, on=by, how="left")  # same arrivals count once
        stats = stats.assign(bars="Bars: 95 %, Wilson's at the effective number of requests")
    else:
        stats = stats.assign(bars="Bars: 95 %, Student's t over the replications")
    if _is_setting(x):
        return stats.assign(at=stats[x])
    places = intervals(done, x, by)[[*by, "mean"]].rename(columns={"mean": "at"})
    return stats.merge(places.assign(at=factor(x) * places["at"]), on=by, how="left")


def _is_setting(name: str) -> bool:
    """Whether a column says how runs were made, rather than what came out."""
    return is_option(name) or name in (POLICY, FAMILY, CLASS)


def _chart(stats: pd.DataFrame, asked: ChartColumns, left_out: str) -> PanelChart:
    words = not is_number(stats["at"])
    ticks = list(dict.fromkeys(stats["at"])) if words else list(np.unique(stats["at"]))
    names = [""] if asked.hue is None else list(dict.fromkeys(stats[asked.hue]))
    panels = []
    for value in [None] if asked.facet is None else list(dict.fromkeys(stats[asked.facet])):
        panel = stats if asked.facet is None else stats[stats[asked.facet] == value]
        parts = [(name, panel if asked.hue is None else panel[panel[asked.hue] == name]) for name in names]
        lines = [_line(said(asked.hue, name), part, asked, ticks if words else None) for name, part in parts]
        panels.append(Panel(said(asked.facet, value), [line for line in lines if line.x.size]))
    joined = _is_setting(str(asked.x)) and not words
    bars = "".join(stats.loc[np.isfinite(stats["low"].astype(float)), "bars"].head(1))
    return PanelChart(asked, panels, [said(asked.hue, name) for name in names], ticks, words, joined, bars, left_out)


def _line(name: str, part: pd.DataFrame, asked: ChartColumns, words: Sequence[Any] | None) -> Line:
    places = part["at"].map(words.index) if words is not None else part["at"]
    part = part.assign(at=places).sort_values("at", kind="stable")
    mean, low, high = (factor(asked.y) * part[column].to_numpy(dtype=float) for column in ("mean", "low", "high"))
    return Line(name, part["at"].to_numpy(dtype=float), mean, low, high)


def said(column: str | None, value: object) -> str:
    """The value of a column as a legend or a title says it, with its name unless it is plain; "" of no column."""
    if column is None:
        return ""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if column in (POLICY, FAMILY, CLASS, "trace", "model", "gpu") else f"{column} {text}"
