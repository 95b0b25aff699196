"""Differences of two policies over replications, paired: how large (Student's t, BCa), and how often of one sign."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowsim.results.interval import LEVEL, Interval, unknown_interval

Floats = NDArray[np.float64]
RESAMPLES = 2000
"""Of the BCa bootstrap."""


@dataclass(frozen=True, eq=False)
class Paired:
    """One policy beside another over the replications that both have. Made by `paired` and `paired_ratio`.

    The sign test says whether a policy is ahead in more than half of all windows or traces of this kind: it asks
    nothing of the differences but that replications are independent, and is meant where the question is who is ahead.
    Student's t is meant where it is how large the mean difference is. BCa follows the skew of the sample, but is the
    narrower of the two below 30 replications, and too narrow (docs/intervals.md).

    Attributes:
        ours, theirs: the values of both, shape [replications].
        ratio: whether the geometric mean of their ratios is asked for, instead of the mean difference.
        seed: of the bootstrap.
    """

    ours: Floats
    theirs: Floats
    ratio: bool = False
    seed: int = 0

    @property
    def interval(self) -> Interval:
        """The mean with Student's t interval; of ratios NaN when a value is not positive."""
        return self._back(t_interval(self._compared))

    @property
    def bca(self) -> Interval:
        """The mean with the interval of the bias-corrected and accelerated bootstrap (Efron 1987)."""
        return self._back(bca_interval(self._compared, self.seed))

    @property
    def higher(self) -> int:
        """Replications in which our value is the higher one."""
        return int((self.ours > self.theirs).sum())

    @property
    def lower(self) -> int:
        """Replications in which our value is the lower one."""
        return int((self.ours < self.theirs).sum())

    @property
    def p(self) -> float:
        """Of the sign test, two-sided and exact; equal values say nothing. 1 if all are equal."""
        return sign_test(self.higher, self.lower)

    @property
    def _compared(self) -> Floats:
        """The differences, or those of the logarithms."""
        return np.log(self.ours) - np.log(self.theirs) if self._positive else self.ours - self.theirs

    @property
    def _positive(self) -> bool:
        return self.ratio and bool((self.ours > 0).all() and (self.theirs > 0).all())

    def _back(self, found: Interval) -> Interval:
        if not self.ratio:
            return found
        if not self._positive:
            return unknown_interval(math.nan, found.n)
        return Interval(math.exp(found.mean), math.exp(found.low), math.exp(found.high), found.n)


def t_interval(values: ArrayLike, level: float = LEVEL) -> Interval:
    """The mean of independent replications and Student's t interval; NaNs are left out, infinities have none."""
    from scipy.special import stdtrit  # slow to import, and only intervals need it

    array = np.asarray(values, dtype=float)
    array = array[~np.isnan(array)]
    n = array.size
    if n < 2 or np.isinf(array).any():
        return unknown_interval(float(array.mean()) if n else math.nan, n)
    if not np.ptp(array):  # the mean of equal values may differ from them in its last digit
        return Interval(float(array[0]), float(array[0]), float(array[0]), n)
    mean = float(array.mean())
    half = float(stdtrit(n - 1, 0.5 + level / 2)) * float(array.std(ddof=1)) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


def bca_interval(values: ArrayLike, seed: int = 0) -> Interval:
    """The mean of independent replications and its BCa interval; NaNs are left out, infinities have none."""
    from scipy import stats  # slow to import, and only intervals need it

    array = np.asarray(values, dtype=float)
    array = array[~np.isnan(array)]
    n = array.size
    if n < 2 or np.isinf(array).any():
        return unknown_interval(float(array.mean()) if n else math.nan, n)
    mean = float(array.mean())
    if np.ptp(array) <= 1e-12 * np.abs(array).max():
        return Interval(mean, mean, mean, n)
    options = {"confidence_level": LEVEL, "n_resamples": RESAMPLES, "method": "BCa", "rng": seed}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)  # the bounds are then NaN
        bounds = stats.bootstrap((array,), np.mean, **options).confidence_interval
    return Interval(mean, float(bounds.low), float(bounds.high), n)


def sign_test(higher: int, lower: int) -> float:
    """The p-value, two-sided and exact, of a number of differences of each sign; 1 if there are none."""
    from scipy import stats  # slow to import, and only intervals need it

    return float(stats.binomtest(higher, higher + lower).pvalue) if higher + lower else 1.0


def lowest_p(replications: int, compared: int = 1) -> float:
    """The lowest p-value that a sign test can give, times the policies that Holm's method allows for."""
    return min(1.0, compared * 2.0 ** (1 - replications))


def paired(ours: ArrayLike, theirs: ArrayLike, *, seed: int = 0) -> Paired:
    """The differences of two series that share the randomness of each replication; pairs with a NaN are left out."""
    ours, theirs = _pairs(ours, theirs)
    return Paired(ours, theirs, seed=seed)


def paired_ratio(ours: ArrayLike, theirs: ArrayLike) -> Paired:
    """The ratios of two such series: the geometric mean, with the intervals of the logarithms."""
    ours, theirs = _pairs(ours, theirs)
    return Paired(ours, theirs, ratio=True)


def _pairs(ours: ArrayLike, theirs: ArrayLike) -> tuple[Floats, Floats]:
    pair = np.array([ours, theirs], dtype=float)
    known = ~np.isnan(pair).any(axis=0)
    return pair[0, known], pair[1, known]
