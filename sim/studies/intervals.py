"""Intervals: Student's t over replications, a moving-block bootstrap on one trace, paired differences."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from flowsim.errors import InputError, unknown
from flowsim.policies.registry import spelling
from flowsim.runs.options import is_option

if TYPE_CHECKING:
    import pandas as pd

LEVEL = 0.95
REPLICATION = ("seed", "workload.window")
"""The options of a study that make replications: runs that differ only in them repeat one another."""
FEWEST_VALUES = 10
"""With fewer values the bootstrap gives no interval."""


@dataclass(frozen=True)
class Interval:
    """A mean and the interval that holds the true one with 95 % confidence; `n` replications.

    With one replication the interval is not known: `low` and `high` are NaN.
    """

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        """As in "3.2 [2.9, 3.5]"."""
        return self.format("{:.3g}")

    def format(self, number: str) -> str:
        """The same with each number in this format."""
        mean = number.format(self.mean)
        return mean if math.isnan(self.low) else f"{mean} [{number.format(self.low)}, {number.format(self.high)}]"


def t_interval(values: ArrayLike, level: float = LEVEL) -> Interval:
    """The mean of independent replications and Student's t interval; NaNs are left out, infinities have none."""
    from scipy.special import stdtrit  # slow to import, and only intervals need it

    array = np.asarray(values, dtype=float)
    array = array[~np.isnan(array)]
    n = array.size
    if n < 2 or np.isinf(array).any():
        return Interval(float(array.mean()) if n else math.nan, math.nan, math.nan, n)
    mean = float(array.mean())
    half = float(stdtrit(n - 1, 0.5 + level / 2)) * float(array.std(ddof=1)) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


def paired(ours: ArrayLike, theirs: ArrayLike, level: float = LEVEL) -> Interval:
    """The mean difference of two series that share the randomness of each replication, and its t interval."""
    return t_interval(np.asarray(ours, dtype=float) - np.asarray(theirs, dtype=float), level)


def paired_ratio(ours: ArrayLike, theirs: ArrayLike, level: float = LEVEL) -> Interval:
    """The geometric mean of paired ratios, and the t interval of their logarithms; NaN when a value is not positive."""
    pair = np.array([ours, theirs], dtype=float)
    pair = pair[:, ~np.isnan(pair).any(axis=0)]
    if (pair <= 0).any():
        return Interval(math.nan, math.nan, math.nan, pair.shape[1])
    logs = paired(np.log(pair[0]), np.log(pair[1]), level)
    return Interval(math.exp(logs.mean), math.exp(logs.low), math.exp(logs.high), logs.n)


def block_bootstrap(
    values: ArrayLike, *, block: int | None = None, resamples: int = 400, level: float = LEVEL, seed: int = 0
) -> Interval:
    """The mean of one autocorrelated series and its percentile interval from a moving-block bootstrap.

    Overlapping blocks of consecutive values are drawn with replacement until the series has its length again
    (Künsch 1989), on a circle, so that its ends count like the rest (Politis and Romano 1992). The values of a queue
    are correlated for long, so the block is long: the square root of the length, unless `block` is given. With fewer
    than FEWEST_VALUES values the bounds are NaN.
    """
    array = np.asarray(values, dtype=float)
    n = array.size
    length = min(block or math.isqrt(max(n - 1, 0)) + 1, n)
    if n < FEWEST_VALUES:
        return Interval(float(array.mean()) if n else math.nan, math.nan, math.nan, n)
    sums = np.concatenate(([0.0], np.cumsum(np.append(array, array[: length - 1]))))
    means = (sums[length:] - sums[:-length]) / length
    drawn = np.random.default_rng(seed).integers(0, means.size, (resamples, -(-n // length)))
    low, high = np.quantile(means[drawn].mean(axis=1), (0.5 - level / 2, 0.5 + level / 2))
    return Interval(float(array.mean()), float(low), float(high), n)


def intervals(runs: pd.DataFrame, value: str, by: Sequence[str], level: float = LEVEL) -> pd.DataFrame:
    """For each combination of the columns `by`: mean, low, high and n of `value` over its replications.

    Failed runs are left out, and so are runs that only repeat another (see `independent`). Rows are in the order in
    which their combinations first appear.

    Raises:
        InputError: no such column; or runs of one combination differ in more than `REPLICATION`, so they do not
            repeat one another.
    """
    import pandas as pd  # slow to import, and only tables need it

    _check(runs, value, by)
    rows = []
    for key, group in independent(runs).groupby(list(by), sort=False, dropna=False):
        interval = t_interval(group[value], level)
        rows.append((*key, interval.mean, interval.low, interval.high, interval.n))
    return pd.DataFrame(rows, columns=[*by, "mean", "low", "high", "n"])


def differences(
    runs: pd.DataFrame, value: str, against: str, by: Sequence[str] = (), level: float = LEVEL
) -> pd.DataFrame:
    """Paired differences of each policy to one of them, on the same arrivals.

    Args:
        runs: as `sweep` gives them.
        value: the column whose difference is taken.
        against: the policy that the others are compared with, in any spelling.
        by: columns whose values are compared separately, such as slo_scale.
        level: confidence level of the interval.

    Returns:
        Columns policy, against, `by`, then mean, low, high, n of `value` of the policy minus that of `against`, over
        the replications that both have.

    Raises:
        InputError: no such policy; or as `intervals`.
    """
    return _compared(runs, value, against, by, lambda ours, theirs: paired(ours, theirs, level))


def ratios(runs: pd.DataFrame, value: str, against: str, by: Sequence[str] = (), level: float = LEVEL) -> pd.DataFrame:
    """Paired ratios of each policy to one of them, on the same arrivals: as `differences`, but of the logarithms.

    `mean` is the geometric mean of the ratios; it and its interval are NaN when a value is not positive.
    """
    return _compared(runs, value, against, by, lambda ours, theirs: paired_ratio(ours, theirs, level))


def _compared(
    runs: pd.DataFrame,
    value: str,
    against: str,
    by: Sequence[str],
    compare: Callable[[ArrayLike, ArrayLike], Interval],
) -> pd.DataFrame:
    import pandas as pd  # slow to import, and only tables need it

    _check(runs, value, ["policy", *by])
    against = spelling(against, set(runs["policy"]))
    index, runs = [name for name in REPLICATION if name in runs], independent(runs)
    runs = runs.assign(**{"workload.window": runs["workload.window"].fillna("")})
    rows = []
    for place, part in runs.groupby(list(by), sort=False, dropna=False) if by else [((), runs)]:
        table = part.pivot(index=index, columns="policy", values=value)
        for policy in dict.fromkeys(part["policy"]):
            if policy != against and against in table:
                interval = compare(table[policy], table[against])
                rows.append((policy, against, *place, interval.mean, interval.low, interval.high, interval.n))
    return pd.DataFrame(rows, columns=["policy", "against", *by, "mean", "low", "high", "n"])


def independent(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs without those whose seed drew nothing new: equal requests, and a predictor without noise.

    Of such repetitions the one with the lowest seed is kept, the same one under every policy.
    """
    if "served_sha256" not in runs:
        return runs
    drawn = runs["served_sha256"].isna() | runs["predictor"].str.startswith("noisy")
    lowest = runs.groupby("served_sha256")["seed"].transform("min")
    return runs.assign(seed=runs["seed"].where(drawn, lowest)).drop_duplicates(_options(runs))


def varied(runs: pd.DataFrame) -> list[str]:
    """The options in which the runs of a study differ, other than those of REPLICATION."""
    names = [name for name in _options(runs) if name not in REPLICATION]
    return [name for name in names if runs[name].nunique(dropna=False) > 1]


def _options(runs: pd.DataFrame) -> list[str]:
    return [name for name in runs.columns if is_option(name)]


def _check(runs: pd.DataFrame, value: str, by: Sequence[str]) -> None:
    for name in (value, *by):
        if name not in runs:
            raise unknown("column", name, runs.columns)
    policy_options = [name for name in runs.columns if name.startswith("policy.")]  # the policy's name holds them
    aside = {*by, *(policy_options if "policy" in by else ())}
    more = [name for name in varied(runs) if name not in aside and _differs(runs, name, by)]
    if more:
        shared = f"runs with the same {', '.join(by)}" if by else "runs"
        raise InputError(shared, f"differ in {', '.join(more)}", expected="runs that differ in seed or window alone")


def _differs(runs: pd.DataFrame, name: str, by: Sequence[str]) -> bool:
    if not by:
        return bool(runs[name].nunique(dropna=False) > 1)
    return bool((runs.groupby(list(by), dropna=False)[name].nunique(dropna=False) > 1).any())
