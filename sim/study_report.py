"""Studies and searches as one screen of text."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flowsim.result import percent
from flowsim.statistics import REPLICATION, Interval, differences, intervals, t_interval, varied
from flowsim.sweep import Runs

MOST_LINES = 40
INTERVALS = "Intervals: 95 %, Student's t over {n} replications"


def study_report(runs: Runs) -> RenderableType:
    """Attainment and goodput for each configuration, with intervals; failed runs; paired differences."""
    done = runs.table[runs.table["error"].isna()]
    parts: list[RenderableType] = [Text(_headline(runs)), *(Text(line, "red") for line in _failures(runs))]
    if len(done) and "max_rate_rps" in done:
        parts += [Text(), _rates(done), Text(), *_differences(done, "max_rate_rps"), Text(_footing(done))]
    elif len(done):
        parts += [Text(), _figures(done), Text(), Text(_footing(done))]
    return Group(*parts)


def _headline(runs: Runs) -> str:
    done = f"{runs.new:,} run now, in {runs.cpu_s:,.1f} s of CPU" if runs.new else "all there already"
    return f"{runs.title or 'study'}: {len(runs.table):,} runs ({done}), {len(runs.failed):,} failed"


def _failures(runs: Runs) -> list[str]:
    counts = runs.failed["error"].value_counts(sort=False)
    lines = [f"failed {number} x: {error}" for error, number in counts.items()]
    return lines[:5] + [f"and {len(lines) - 5} other errors"] * (len(lines) > 5)


def _figures(done: pd.DataFrame) -> Table:
    by = _by(done)
    table = _table(*by, "runs", "attainment", "goodput, req/s", "TTFT p50, s", "TTFT p99, s", "late", "starved")
    groups = list(done.groupby(by, sort=False, dropna=False))
    for key, group in groups[:MOST_LINES]:
        attainment, goodput, p50, p99 = (
            t_interval(group[name]) for name in ("attainment", "goodput_rps", "ttft_p50_s", "ttft_p99_s")
        )
        table.add_row(
            *_cells(key),
            str(len(group)),
            _share(attainment),
            goodput.format("{:.2f}"),
            f"{p50.mean:.3g}",
            f"{p99.mean:.3g}",
            *(percent(group[name].sum() / group["counted"].sum()) for name in ("late", "starved")),
        )
    if len(groups) > MOST_LINES:
        table.add_row(f"... {len(groups) - MOST_LINES} more")
    return table


def _rates(done: pd.DataFrame) -> Table:
    by = _by(done)
    table = _table(*by, "runs", "max rate, req/s", "bracket", "gives way", "goodput", "late", "starved", "use")
    for key, group in done.groupby(by, sort=False, dropna=False):
        bracket = f"{group['max_rate_rps'].mean():.2f} - {group['max_rate_high_rps'].mean():.2f}"
        sustained = group[group["max_rate_rps"] > 0]
        counted = sustained["counted"].sum() if len(sustained) else math.nan
        table.add_row(
            *_cells(key),
            str(len(group)),
            t_interval(group["max_rate_rps"]).format("{:.2f}"),
            bracket,
            ", ".join(f"{name} {number}" for name, number in group["gives_way"].value_counts(sort=False).items()),
            f"{sustained['goodput_rps'].mean():.2f}" if len(sustained) else "-",
            *(percent(sustained[name].sum() / counted) if len(sustained) else "-" for name in ("late", "starved")),
            percent(sustained["utilization"].mean()) if len(sustained) else "-",
        )
    return table


def _differences(done: pd.DataFrame, value: str) -> list[RenderableType]:
    """Each policy against the first one, on the same arrivals."""
    policies = list(dict.fromkeys(done["policy"]))
    others = [name for name in _by(done) if name != "policy" and not name.startswith("policy.")]
    if len(policies) < 2:
        return []
    means = intervals(done, value, ["policy", *others]).set_index(["policy", *others])["mean"]
    lines: list[RenderableType] = []
    for row in differences(done, value, policies[0], others).to_dict("records"):
        interval = Interval(row["mean"], row["low"], row["high"], row["n"])
        place = tuple(row[name] for name in others)
        ours, theirs = (means[(name, *place) if others else name] for name in (row["policy"], policies[0]))
        where = "".join(f", {name} {at}" for name, at in zip(others, place, strict=True))
        ratio = f", {ours / theirs:.2f} x" if theirs else ""
        lines.append(Text(f"{row['policy']} - {policies[0]}{where}: {interval.format('{:+.2f}')} req/s{ratio}"))
    return [*lines, Text()]


def _footing(done: pd.DataFrame) -> str:
    replications = done.groupby(_by(done), sort=False, dropna=False).size()
    one = int(replications.max()) == 1
    n = f"{replications.min()}" if replications.nunique() == 1 else f"{replications.min()} to {replications.max()}"
    basis = "One replication each: no intervals over replications" if one else INTERVALS.format(n=n)
    warmup = float(done["warmup"].max())
    return (
        f"{basis}; differences are paired, on the same arrivals. Warm-up left out: {percent(warmup)} of the requests. "
        "The drain is part of the run: every request is followed to its end. Starved: later than 10 SLOs, or never."
    )


def _by(done: pd.DataFrame) -> list[str]:
    """The policy, and what else tells the runs apart (not the policy's own options: its name holds them)."""
    more = [name for name in varied(done) if name != "policy" and not name.startswith("policy.")]
    return ["policy", *(name for name in more if name not in REPLICATION)]


def _share(interval: Interval) -> str:
    low, high = (
        min(max(100 * bound, 0.0), 100.0) if bound == bound else bound for bound in (interval.low, interval.high)
    )
    scaled = Interval(100 * interval.mean, low, high, interval.n)
    return scaled.format("{:.1f}") + " %"


def _cells(key: object) -> Sequence[str]:
    parts = key if isinstance(key, tuple) else (key,)
    return [f"{part:g}" if isinstance(part, float) else str(part) for part in parts]


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for place, column in enumerate(columns):
        table.add_column(column, justify="left" if place == 0 else "right", overflow="fold")
    return table
