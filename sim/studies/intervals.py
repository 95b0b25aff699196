"""Intervals over the replications of a study, and the paired differences and ratios of its policies."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from flowsim.policies.registry import spelling
from flowsim.results.differences import holm
from flowsim.results.interval import Interval
from flowsim.studies.goodput_rules import RULES
from flowsim.studies.paired import Paired, paired, paired_ratio, t_interval
from flowsim.studies.replications import by_replication, check_replications, independent
from flowsim.studies.search import NOTHING, max_rate

if TYPE_CHECKING:
    import pandas as pd

SHARES = ("attainment", "utilization")
"""What the names of columns with shares begin with; those of others end with "_share"."""
COMPARED = ("mean", "low", "high", "n", "bca_low", "bca_high", "higher", "lower", "left_out", "p", "p_holm")
"""Columns of a table of differences, after those that say what is compared."""


def over_replications(runs: pd.DataFrame, value: str) -> Interval:
    """The mean of a column of `independent` runs and Student's t interval over their replications.

    It is cut to what the column can hold: a share lies in [0, 1], and a rate or a time is not negative. Replications
    with a highest rate that nothing limits are left out.
    """
    return _interval(runs, value)


def intervals(runs: pd.DataFrame, value: str, by: Sequence[str]) -> pd.DataFrame:
    """For each combination of the columns `by`: mean, low, high and n of `value` over its replications.

    Failed runs are left out, and so are runs that only repeat another; those whose seeds only draw other labels for the
    same arrivals and lengths are averaged, and count as one replication (see `independent`). Rows are in the order in
    which their combinations first appear. The bounds of a share are in [0, 1]. Replications with a highest rate that
    nothing limits are left out: only a lower bound of it is known.

    Raises:
        InputError: no such column; or runs of one combination differ in more than `REPLICATION`, so they do not
            repeat one another.
    """
    import pandas as pd  # slow to import, and only tables need it

    check_replications(runs, value, by)
    done = independent(runs)
    found = _limited(by_replication(_censored(done, value), value, by), value)
    keys = done.drop_duplicates(list(by))[list(by)].itertuples(index=False, name=None)
    rows = []
    for key, (_, values) in zip(keys, found.groupby(level=list(range(len(by))), sort=False, dropna=False), strict=True):
        interval = t_interval(values).within(*_limits(value))
        rows.append((*key, interval.mean, interval.low, interval.high, interval.n))
    return pd.DataFrame(rows, columns=[*by, "mean", "low", "high", "n"])


def differences(runs: pd.DataFrame, value: str, against: str, by: Sequence[str] = ()) -> pd.DataFrame:
    """Paired differences of each policy to one of them, on the same arrivals.

    Args:
        runs: as `sweep` gives them.
        value: the column whose difference is taken.
        against: the policy that the others are compared with, in any spelling.
        by: columns whose values are compared separately, such as slo_scale.

    Returns:
        Columns policy, against, `by`, then of `value` of the policy minus that of `against`, over the replications that
        both have: mean, low, high (Student's t), n, bca_low, bca_high (BCa), higher, lower (in how many replications),
        left_out (replications with a highest rate that nothing limits: taken as higher than any limited one, they count
        in higher and lower alone), p (of the sign test, see `Paired`) and p_holm (by Holm's method, for all policies
        that are compared with `against` in the same combination of `by`).

    Raises:
        InputError: no such policy; or as `intervals`.
    """
    _, most = _limits(value)
    return _compared(runs, value, against, by, paired, (-most, most))


def ratios(runs: pd.DataFrame, value: str, against: str, by: Sequence[str] = ()) -> pd.DataFrame:
    """Paired ratios of each policy to one of them, on the same arrivals: as `differences`, but of the logarithms.

    `mean` is the geometric mean of the ratios; it and its intervals are NaN when a value is not positive.
    """
    return _compared(runs, value, against, by, paired_ratio, (0.0, math.inf))


def _compared(
    runs: pd.DataFrame,
    value: str,
    against: str,
    by: Sequence[str],
    compare: Callable[[ArrayLike, ArrayLike], Paired],
    limits: tuple[float, float],
) -> pd.DataFrame:
    import pandas as pd  # slow to import, and only tables need it

    check_replications(runs, value, ["policy", *by])
    against = spelling(against, set(runs["policy"]))
    rows = []
    done = independent(runs)
    for place, part in done.groupby(list(by), sort=False, dropna=False) if by else [((), done)]:
        table = by_replication(_censored(part, value), value, ["policy"]).unstack("policy")
        others = [policy for policy in dict.fromkeys(part["policy"]) if policy != against and against in table]
        signs = [compare(table[policy], table[against]) for policy in others]
        table = _limited(table, value)
        found = [compare(table[policy], table[against]) for policy in others]
        for policy, pair, sign, p in zip(others, found, signs, holm([sign.p for sign in signs]), strict=True):
            rows.append((policy, against, *place, *_row(pair, sign, limits), p))
    return pd.DataFrame(rows, columns=["policy", "against", *by, *COMPARED])


def _row(pair: Paired, sign: Paired, limits: tuple[float, float]) -> tuple[float, ...]:
    """The columns COMPARED of a pair, without the last; `sign` has the replications that are left out as well."""
    t, bca = pair.interval.within(*limits), pair.bca.within(*limits)
    return (t.mean, t.low, t.high, t.n, bca.low, bca.high, sign.higher, sign.lower, sign.ours.size - t.n, sign.p)


def _interval(runs: pd.DataFrame, value: str) -> Interval:
    found = by_replication(_censored(runs, value), value)
    return t_interval(_limited(found, value)).within(*_limits(value))


def _censored(runs: pd.DataFrame, value: str) -> pd.DataFrame:
    """The runs, with infinity for each highest rate that nothing limits."""
    limits = {max_rate(rule): f"limited_by_{rule}" for rule in RULES}
    limit = limits.get(value)
    if limit not in runs:
        return runs
    return runs.assign(**{value: runs[value].where(runs[limit] != NOTHING, math.inf)})


def _limited(found: Any, value: str) -> Any:
    """The values of a Series or DataFrame, with NaN for each highest rate that nothing limits."""
    return found.replace(np.inf, math.nan) if value in map(max_rate, RULES) else found


def _limits(value: str) -> tuple[float, float]:
    """The least and the most that a column can hold."""
    if value.startswith(SHARES) or value.endswith("_share"):
        return 0.0, 1.0
    return (0.0, math.inf) if value.endswith(("_rps", "_s")) else (-math.inf, math.inf)
