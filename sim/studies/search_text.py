"""What the screen says of a search: the highest rates by both rules, and what to know about them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table

from flowsim.io.counts import percent
from flowsim.rendering.screen import table as new_table
from flowsim.results.interval import Interval
from flowsim.studies.goodput_rules import LEFT_BEHIND, RULES, Rule
from flowsim.studies.intervals import over_replications
from flowsim.studies.search import NOTHING, max_rate

if TYPE_CHECKING:
    import pandas as pd

SUSTAINED, BOUND_RATE = max_rate("sustained"), "bound_rate_rps"
FEW_REQUESTS = 300
"""With fewer requests per run, the report warns that a highest rate rests on few."""
FULL = 0.9
"""The device is full where it is in use for this share of the time."""
CLOSE = 0.1
"""Rates that differ by a smaller share are close, if each also lies in the other's interval."""
DIPS = {
    "attainment": "attainment falls below its target at {:.4g} req/s and returns at {:.4g}",
    "sustained": "the rate is not sustained at {:.4g} req/s, and again at {:.4g}",
}
NOT_SERVED = (
    "{}: some requests are never served, and not rejected either, so the rate is not sustained; the attainment rule "
    "counts them as missed."
)
UNLIMITED = (
    "{}: the target was met at every rate tried, up to {} req/s{}. The trace is too short for such SLOs. Means, "
    "differences and ratios leave such runs out; the sign test takes them as higher than any limited rate."
)
SATURATED = (
    "The sustained rule hardly tells {} apart: the device is full ({} in use). What can: the attainment rule, tighter "
    "SLOs (slo.scale), or attainment above these rates (flowsim sweep with workload.rate_rps)."
)
RULES_TEXT = (
    "Max goodput: the highest rate tried at which attainment reaches its target ({}) and, if sustained, every request "
    "is served or rejected and the queue empties in the last third of the run. Late, starved and use are of the "
    "sustained rate. "
)


def is_search(done: pd.DataFrame) -> bool:
    """Whether these are the runs of a search."""
    return SUSTAINED in done


def rates_table(done: pd.DataFrame, by: Sequence[str], cells: Sequence[Sequence[str]]) -> Table:
    """The highest rates of each combination of the columns `by`, whose values are shown as `cells`."""
    number = f"{{:.{decimals(done)}f}}"
    head = ("attainment, req/s", "limited by", "sustained, req/s", "limited by", "late", "starved", "use")
    bounded = BOUND_RATE in done and bool(done[BOUND_RATE].notna().any())
    table = new_table(*by, "runs", *head, *(["of bound"] if bounded else []))
    groups = done.groupby(list(by), sort=False, dropna=False)
    for shown, (_, group) in zip(cells, groups, strict=True):
        rates = [(_rate(group, rule, number), _limits(group, rule)) for rule in RULES]
        served = group[group[SUSTAINED] > 0]
        late = [(served[name] / served["counted"]).mean() if len(served) else None for name in ("late", "starved")]
        use = served["utilization"].mean() if len(served) else None
        shares = [*late, use, *([_share(group)] if bounded else [])]
        table.add_row(*shown, str(len(group)), *(part for rate in rates for part in rate), *map(percent, shares))
    return table


def bound_line(done: pd.DataFrame) -> str:
    """The rate from which on no scheduler meets the target, or the range of them; "" if none is known."""
    found = done.loc[np.isfinite(done[BOUND_RATE]), BOUND_RATE] if BOUND_RATE in done else done.iloc[:0, 0]
    if found.empty:
        return ""
    number = f"{{:.{decimals(done)}f}}".format
    low, high = number(found.min()), number(found.max())
    rates = f"{low} req/s on" if low == high else f"{low} to {high} req/s on, depending on the replication"
    return f"No scheduler, whatever it knows, meets the target from {rates}."


def _share(group: pd.DataFrame) -> float | None:
    """The highest rates by the attainment rule as a share of those that no scheduler reaches; None if none is known."""
    known = group[np.isfinite(group[BOUND_RATE])]
    return float((known[max_rate("attainment")] / known[BOUND_RATE]).mean()) if len(known) else None


def decimals(done: pd.DataFrame) -> int:
    """How many decimals show three digits of the largest rate; at least two."""
    most = max(float(done[max_rate(rule)].max()) for rule in RULES)
    return max(2, 2 - math.floor(math.log10(most))) if most > 0 else 2


def search_notes(done: pd.DataFrame, others: Sequence[str]) -> Iterator[str]:
    """Lines about highest rates that are not what they seem; `others`: the options that vary, beside the policy."""
    for rule in RULES:
        yield from _dips(done, rule)
    for policy, runs in done.groupby("policy", sort=False):
        if (runs["limited_by_sustained"] == LEFT_BEHIND).any():
            yield NOT_SERVED.format(policy)
        endless = runs.loc[runs["limited_by_attainment"] == NOTHING, max_rate("attainment")]
        if len(endless):
            some = f" (in {len(endless)} of {len(runs)} runs)" * (len(runs) > 1)
            yield UNLIMITED.format(policy, f"{endless.max():,.4g}", some)
    for _, group in done.groupby(list(others), sort=False, dropna=False) if others else [((), done)]:
        alike, use = _saturated(group)
        if len(alike) > 1:
            low, high = f"{100 * min(use):.0f}", f"{100 * max(use):.0f}"
            in_use = f"{low} %" if low == high else f"{low} to {high} %"
            yield SATURATED.format(f"{', '.join(alike[:-1])} and {alike[-1]}", in_use)


def search_footing(done: pd.DataFrame) -> str:
    """What the rules are, and a warning where highest rates rest on few requests."""
    said = RULES_TEXT.format(" or ".join(dict.fromkeys(done["target"])))
    if "counted" not in done or not done["counted"].min() < FEW_REQUESTS:
        return said
    few, most = int(done["counted"].min()), int(done["counted"].max())
    counts = f"{few}" if few == most else f"{few} to {most}"
    seconds = (done["counted"] / done[SUSTAINED]).min()
    return (
        f"{said}Few requests: {counts} count per run; at the highest sustained rate they arrive within as "
        f"little as {seconds:.3g} s. A queue has little time to grow in that: use longer traces or fewer replications. "
    )


def _rate(group: pd.DataFrame, rule: Rule, number: str) -> str:
    """The highest rate; "> x" if nothing limits it in any run, of which x is the lowest of the highest rates tried."""
    found = over_replications(group, max_rate(rule))
    return found.format(number) if found.n else f"> {number.format(group[max_rate(rule)].min())}"


def _limits(group: pd.DataFrame, rule: Rule) -> str:
    """What limits the rates by a rule; where runs differ, each in how many of them."""
    limits = group[f"limited_by_{rule}"].value_counts(sort=False)
    return ", ".join(f"{name} ({number})" if len(limits) > 1 else str(name) for name, number in limits.items())


def _dips(done: pd.DataFrame, rule: Rule) -> Iterator[str]:
    """A line about each policy for which a rule fails at one rate and holds at a higher one."""
    dips, returns = f"dips_at_{rule}_rps", f"returns_at_{rule}_rps"
    for policy, part in done.groupby("policy", sort=False):
        seen = part[part[dips].notna()]
        if len(seen):
            at = DIPS[rule].format(*seen.iloc[0][[dips, returns]])
            first = "; these rates are of the first" * (len(seen) > 1)
            runs = f" (in {len(seen)} of {len(part)} runs{first})" * (len(part) > 1)
            yield f"{policy}: {at}{runs}. The highest rate counts."


def _saturated(group: pd.DataFrame) -> tuple[list[str], list[float]]:
    """The policies whose sustained rates are close to the highest, as the device is full; and its use."""
    use = group.groupby("policy", sort=False)["utilization"].mean()
    full = {
        str(policy): over_replications(runs, SUSTAINED)
        for policy, runs in group.groupby("policy", sort=False)
        if use[policy] >= FULL
    }
    best = max(full.values(), key=lambda rate: rate.mean, default=None)
    close = [policy for policy, rate in full.items() if best is not None and _close(rate, best)]
    return close, [float(use[policy]) for policy in close]


def _close(rate: Interval, best: Interval) -> bool:
    """Whether a rate is close to the highest."""
    apart = rate.high < best.mean or best.low > rate.mean  # False without intervals
    return not apart and rate.mean >= (1 - CLOSE) * best.mean
