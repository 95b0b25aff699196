"""Intervals of the differences of quantiles of two autocorrelated series, by the moving-block bootstrap."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowsim.results.bootstrap import FEWEST_VALUES, Floats, block_length, fitting, stretch_count
from flowsim.results.interval import LEVEL, Interval, unknown_interval

RESAMPLES = 400
NEVER_S = 1e300
"""Stands for infinity where quantiles are interpolated."""
MOST_DRAWN = 20_000_000
"""Values that the bootstrap of a quantile draws in all: of a long series it makes fewer resamples."""


def quantile_differences(
    ours: ArrayLike, theirs: ArrayLike, quantiles: Sequence[float], *, seed: int = 0
) -> list[Interval]:
    """The differences of quantiles of two series of the same requests, by resampling blocks of both at once.

    They are percentile intervals of the resamples, widened by the fixed-b critical value of Kiefer and Vogelsang
    (2005), which allows for blocks that are not short beside the series; it is to the block bootstrap what Student's t
    is to the normal distribution (Gonçalves and Vogelsang 2011).

    Args:
        ours, theirs: values of the same requests, in order of arrival, shape [n]; infinite for never.
        quantiles: 0 to 1.
        seed: of the draws.

    Returns:
        One interval per quantile. The difference is NaN where either quantile is infinite, and the bounds are NaN where
        either is in a resample.
    """
    both, qs = _finite(ours, theirs), np.asarray(quantiles)
    n = both.shape[1]
    if n < FEWEST_VALUES:
        return [unknown_interval(math.nan, n) for _ in qs]
    block = fitting(n, max(block_length(series) for above in _above(both, qs) for series in above))
    rng, number, within = np.random.default_rng(seed), _resamples(n), np.arange(block)
    firsts = rng.integers(0, n, (number, -(-n // block), 1))
    drawn = np.array([_gaps(both[:, (first + within).ravel()[:n] % n], qs) for first in firsts])
    return [_widened(estimate, found, block / n, n) for estimate, found in zip(_gaps(both, qs), drawn.T, strict=True)]


def quantile_stretches(ours: ArrayLike, theirs: ArrayLike, quantiles: Sequence[float]) -> list[float]:
    """On how many stretches the difference of each quantile rests: see `stretch_count`."""
    both = _finite(ours, theirs)
    if not both.size:
        return [0.0 for _ in quantiles]
    beyond = zip(quantiles, _above(both, np.asarray(quantiles)), strict=True)
    return [min(stretch_count(series if q >= 0.5 else ~series) for series in above) for q, above in beyond]


def _finite(ours: ArrayLike, theirs: ArrayLike) -> Floats:
    """Both series, shape [2, n], with NEVER_S for infinity."""
    both: Floats = np.minimum(np.array([ours, theirs], dtype=float), NEVER_S)
    return both


def _resamples(n: int) -> int:
    return min(RESAMPLES, max(100, MOST_DRAWN // n))


def _above(both: Floats, qs: Floats) -> NDArray[np.bool_]:
    """Which values lie above each quantile of their series, shape [quantiles, 2, n]."""
    above: NDArray[np.bool_] = both > _quantiles(both, qs).T[:, :, np.newaxis]
    return above


def _gaps(both: Floats, qs: Floats) -> Floats:
    """The difference of each quantile of two series; NaN where one of them is never reached."""
    ours, theirs = _quantiles(both, qs)
    return np.where(np.maximum(ours, theirs) < NEVER_S / 1e9, ours - theirs, math.nan)


def _quantiles(both: Floats, qs: Floats) -> Floats:
    """Of each series, linearly interpolated, shape [2, quantiles]; `np.quantile` takes ten times as long on few."""
    places = qs * (both.shape[1] - 1)
    below = np.floor(places).astype(int)
    above = np.minimum(below + 1, both.shape[1] - 1)
    ordered = np.partition(both, np.unique((below, above)), axis=1)
    quantiles: Floats = ordered[:, below] + (places - below) * (ordered[:, above] - ordered[:, below])
    return quantiles


def _widened(estimate: float, drawn: Floats, share: float, n: int) -> Interval:
    """The percentile interval around an estimate, for blocks of this share of the series."""
    if math.isnan(estimate) or np.isnan(drawn).any():
        return unknown_interval(float(estimate), n)
    low, high = _fixed_b(share) * (np.quantile(drawn, (0.5 - LEVEL / 2, 0.5 + LEVEL / 2)) - estimate)
    return Interval(float(estimate), float(estimate + low), float(estimate + high), n)


def _fixed_b(b: float) -> float:
    """The two-sided 95 % critical value for blocks of a share `b` of the series, over that of the normal distribution.

    Of the Bartlett kernel, whose estimate of the variance is that of the block bootstrap.
    """
    return (1.96 + 2.9694 * b + 0.4160 * b**2 - 0.5324 * b**3) / 1.96
