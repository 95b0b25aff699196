"""Studies and searches as one screen of text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flowsim.errors import printable
from flowsim.io.counts import number_of, percent
from flowsim.policies.registry import spelling
from flowsim.rendering.costs_text import cost_footing
from flowsim.rendering.differences_text import alike_lines, differences_footing, differences_table, p_text
from flowsim.rendering.screen import table as new_table
from flowsim.results.differences import alike
from flowsim.results.interval import Interval
from flowsim.studies.goodput_rules import RULES
from flowsim.studies.intervals import differences, over_replications, ratios
from flowsim.studies.kept_requests import keeps_requests, request_differences
from flowsim.studies.paired import lowest_p
from flowsim.studies.replications import REPLICATION, by_replication, independent, redrawn, varied
from flowsim.studies.search import max_rate
from flowsim.studies.search_text import bound_line, decimals, is_search, rates_table, search_footing, search_notes
from flowsim.studies.sweep import Runs

if TYPE_CHECKING:
    import pandas as pd

MOST_LINES = 60
"""Settings that a table shows."""
MOST_ERRORS = 5
"""Different errors of failed runs that are shown."""
MOST_NOTICES = 5
"""Different notices about traces that are shown."""
INTERVALS = "Intervals: 95 %, Student's t over {n} replications"
PAIRS = (
    ". Differences and ratios (geometric means) are paired, on the same requests. The sign test (exact, two-sided; p "
    "by Holm's method for {compared}) says who is ahead in most replications. Student's t says how large the mean "
    "difference is; BCa, narrower with few replications, shows whether it is skewed"
)
TOO_FEW_SIGNS = "; {n} replications cannot give a p below {p}: take more"
BOUNDS = (("low", "high"), ("bca_low", "bca_high"))
ONE_EACH = "One replication each: no intervals over replications"
KEEP = '; with "requests: true", policies are compared request by request'
CLOSED_LOOP = "In a closed loop policies get the same requests in the same order, but not at the same times. "
REDRAWN = (
    "Seeds that only draw other labels, or another noise of the predictor, for the same arrivals and lengths are not "
    "replications: their runs are averaged. "
)


def study_report(runs: Runs, against: Sequence[str] = ()) -> RenderableType:
    """Attainment and goodput, or the highest rates, with intervals; failed runs; paired differences.

    Args:
        runs: the runs of a study.
        against: the policies that the others are compared with; default: none, or for highest rates the first policy.

    Raises:
        InputError: no such policy in the study.
    """
    done = independent(runs.succeeded)
    parts: list[RenderableType] = [Text(_headline(runs)), *(Text(line, "red") for line in _failures(runs))]
    parts += [Text(line, "yellow") for line in (*runs.notices, *runs.warnings, *_notices(done))]
    if done.empty:
        return Group(*parts)
    searched = is_search(done)
    against = [spelling(name, set(done["policy"])) for name in against] or [done["policy"].iloc[0]] * searched
    on_one_trace = not searched and _replications(done)[1] == 1 and keeps_requests(runs)
    footings = [_footing(done, against, kept=on_one_trace or searched)]
    for heading, part in _settings(done):
        parts += [Text(), *heading, _rates(part) if searched else _figures(part)]
        parts += [Text(line) for line in [bound_line(part)] if line]
        parts += [
            Text(line, "yellow") for line in (search_notes(part, settings_by(part)[1:]) if searched else _alike(part))
        ]
        for name in against if part["policy"].nunique() > 1 else []:
            if on_one_trace:
                rows = request_differences(runs, part, name, settings_by(part)[1:]).to_dict("records")
                parts += [Text(), differences_table(rows, settings_by(part)[1:])]
                footings[1:] = [differences_footing(rows)]
            else:
                parts += [Text(), _comparison(part, name, searched=searched)]
    said = _repeated(len(runs.succeeded) - len(done)) + REDRAWN * redrawn(done)
    if runs.succeeded["workload.concurrency"].notna().any():
        said += CLOSED_LOOP
    costs = [Text(f"{cost_footing(runs.costs)}.")] if runs.costs else []
    footing = f"{said}{search_footing(done) if searched else ''}{' '.join(footings)}"
    return Group(*parts, Text(), *costs, Text(footing))


def _alike(part: pd.DataFrame) -> list[str]:
    """A line for each group of policies that made the same decisions in all of these runs."""
    if "decisions_sha256" not in part:
        return []
    made = part.groupby("policy", sort=False)["decisions_sha256"].agg(lambda runs: " ".join(map(str, runs)))
    return alike_lines(alike({str(policy): runs for policy, runs in made.items()}))


def _settings(done: pd.DataFrame) -> Iterator[tuple[list[Text], pd.DataFrame]]:
    """The runs of each combination of the options that vary and are not numbers (trace, GPU), with its heading.

    All of them together if only one line would be left under each heading.
    """
    names = [name for name in settings_by(done)[1:] if done[name].dtype.kind not in "iufb"]
    if names and len(done.value_counts(names, dropna=False)) == len(done.value_counts(settings_by(done), dropna=False)):
        names = []
    for values, part in done.groupby(names, sort=False, dropna=False) if names else [((), done)]:
        heading = ", ".join(f"{name} {value}" for name, value in zip(names, _cells(values), strict=True))
        yield [Text(heading, "bold")] * bool(names), part


def _headline(runs: Runs) -> str:
    done = f"{runs.new:,} new, in {runs.cpu_s:,.1f} s of CPU" if runs.new else "all done before"
    return (
        f"{printable(runs.title) or 'study'}: {number_of(len(runs.table), 'run')} ({done}), {len(runs.failed):,} failed"
    )


def _failures(runs: Runs) -> list[str]:
    counts = runs.failed["error"].value_counts(sort=False)
    lines = [f"failed {number} x: {error}" for error, number in counts.items()]
    return _first(lines, MOST_ERRORS, "other error")


def _first(lines: list[str], most: int, what: str) -> list[str]:
    """At most this number of lines, and one that counts the others."""
    more = len(lines) - most
    return lines[:most] + ([f"and {number_of(more, what)}"] if more > 0 else [])


def _notices(done: pd.DataFrame) -> list[str]:
    """What the runs say of their traces, each once."""
    if "trace_notices" not in done:
        return []
    said = done[["trace", "trace_notices"]].dropna()
    lines = [
        f"{Path(trace).name}: {notice}"
        for trace, notices in said.itertuples(index=False)
        for notice in str(notices).splitlines()
    ]
    return _first(list(dict.fromkeys(lines)), MOST_NOTICES, "other notice")


def _figures(done: pd.DataFrame) -> Table:
    by = settings_by(done)
    table = new_table(*by, "runs", "attainment", "goodput, req/s", "TTFT p50, s", "TTFT p99, s", "late", "starved")
    groups = list(done.groupby(by, sort=False, dropna=False))
    for key, group in groups[:MOST_LINES]:
        attainment, goodput = (over_replications(group, name) for name in ("attainment", "goodput_rps"))
        table.add_row(
            *_cells(key),
            str(len(group)),
            attainment.scaled(100).format("{:.1f} %"),
            goodput.format("{:.2f}"),
            *(_ttft(group, part) for part in ("p50", "p99")),
            *(_of_counted(group, name) for name in ("late", "starved")),
        )
    if len(groups) > MOST_LINES:
        table.add_row(f"... {len(groups) - MOST_LINES} more")
    return table


def _ttft(group: pd.DataFrame, part: str) -> str:
    """The mean of a quantile of the TTFT; "> x" if it is infinite in some runs, of which x takes what it exceeds."""
    found_s = group[f"ttft_{part}_s"]
    infinite = np.isinf(found_s)
    mean_s = found_s.where(~infinite, group[f"ttft_exceeds_{part}_s"]).mean()
    if math.isnan(mean_s):
        return "never" if infinite.any() else "-"
    return f"{'> ' * bool(infinite.any())}{mean_s:.3g}"


def _of_counted(group: pd.DataFrame, name: str) -> str:
    """The mean share of the counted requests that are late or starved."""
    return percent((group[name] / group["counted"]).mean())


def _rates(done: pd.DataFrame) -> Table:
    by = settings_by(done)
    return rates_table(done, by, [_cells(key) for key, _ in done.groupby(by, sort=False, dropna=False)])


def _comparison(part: pd.DataFrame, against: str, *, searched: bool) -> Table:
    """Differences and ratios of each policy to another, on the same arrivals: of attainment, or of highest rates."""
    others = settings_by(part)[1:]
    values, factor, number, unit = {"": "attainment"}, 100, "{:+.1f}", "% points"
    if searched:
        values, factor = {rule: max_rate(rule) for rule in RULES}, 1
        number, unit = f"{{:+.{decimals(part)}f}}", "req/s"
    rule = ["rule"] * searched
    table = new_table("policy", *others, *rule, f"- {against}, {unit}", "BCa", "sign test", f"/ {against}")
    for name, value in values.items():
        pairs = differences(part, value, against, others).to_dict("records")
        for pair, ratio in zip(pairs, ratios(part, value, against, others).to_dict("records"), strict=True):
            t, bca = (Interval(pair["mean"], pair[low], pair[high], pair["n"]).scaled(factor) for low, high in BOUNDS)
            times = Interval(ratio["mean"], ratio["low"], ratio["high"], ratio["n"])
            shown = [t.format(number), bca.bounds(number), _signs(pair), times.format("{:.2f}")]
            key = _cells((pair["policy"], *(pair[other] for other in others)))
            table.add_row(*key, *([name] * searched), *map(_known, shown))
    return table


def _signs(pair: Mapping[Any, Any]) -> str:
    """How often a policy is ahead of another, or behind it, and the p-value; "-" for a single replication."""
    n = pair["n"] + pair["left_out"]
    if n < 2:
        return "-"
    if not pair["higher"] and not pair["lower"]:
        return f"equal in {n} of {n}"
    word, number = ("ahead", pair["higher"]) if pair["higher"] >= pair["lower"] else ("behind", pair["lower"])
    return f"{word} in {number} of {n}, p = {p_text(pair['p_holm'])}"


def _known(text: str) -> str:
    return "-" if text.lstrip("+-").startswith("nan") else text


def _footing(done: pd.DataFrame, against: Sequence[str], *, kept: bool) -> str:
    fewest, most = _replications(done)
    basis = ONE_EACH if most == 1 else INTERVALS.format(n=_range(fewest, most))
    compared = done["policy"].nunique() - 1
    if against and compared and most > 1:
        basis += PAIRS.format(compared=f"{compared} comparisons" if compared > 1 else "one comparison")
        lowest = lowest_p(most, compared)
        basis += TOO_FEW_SIGNS.format(n=most, p=p_text(lowest)) * (lowest > 0.05)
    elif against and compared and not kept:
        basis += KEEP
    warmup = float(done["warmup"].max())
    return (
        f"{basis}. Warm-up left out: {percent(warmup)} of the requests. "
        "The drain is part of the run: every request is followed to its end. "
        "Starved: waited > 10 SLOs for the first token, or never got one."
    )


def _replications(done: pd.DataFrame) -> tuple[int, int]:
    """The fewest and the most replications of a setting."""
    sizes = by_replication(done, "seed", settings_by(done)).groupby(settings_by(done), sort=False, dropna=False).size()
    return int(sizes.min()), int(sizes.max())


def _range(fewest: int, most: int) -> str:
    return f"{most}" if fewest == most else f"{fewest} to {most}"


def _repeated(number: int) -> str:
    what = number_of(number, "run that only repeats another", "runs that only repeat others")
    return f"Left out: {what}, as {'its seed draws' if number == 1 else 'their seeds draw'} nothing. " if number else ""


def settings_by(done: pd.DataFrame) -> list[str]:
    """The policy and the options that tell the runs apart (but not the policy's own options: its name holds them)."""
    more = [name for name in varied(done) if name != "policy" and not name.startswith("policy.")]
    return ["policy", *(name for name in more if name not in REPLICATION)]


def _cells(key: object) -> Sequence[str]:
    parts = key if isinstance(key, tuple) else (key,)
    return ["-" if part != part else f"{part:g}" if isinstance(part, float) else str(part) for part in parts]
