"""The moving-block bootstrap: intervals of one autocorrelated series, such as the misses of the requests of a trace.

Requests that wait in the same queue miss their SLOs together. Intervals that take them for independent are far too
narrow; those of blocks of consecutive requests, longer than the queue's memory, are not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowsim.results.interval import LEVEL, Interval, unknown_interval

Floats = NDArray[np.float64]

FEWEST_VALUES = 10
"""With fewer values the bootstrap gives no interval."""
FEWEST_BLOCKS, MOST_BLOCKS = 5, 10
"""A series is cut into no fewer blocks, and into no more: ten are enough (Schmeiser 1982), and long ones lose less of
its memory."""
LONGER = 3
"""How many times the block length of Politis and White is taken: theirs is best for the variance, and too short for
coverage (docs/intervals.md)."""
RESAMPLES = 1000
FEWEST_STRETCHES = 20
"""An interval that rests on fewer stretches is too narrow (docs/intervals.md)."""


class Studentised:
    """A mean with the bootstrap distribution of its deviations in units of their own standard errors."""

    @property
    def size(self) -> int:
        """Values that the mean is of."""
        raise NotImplementedError

    @property
    def blocks(self) -> int:
        """Blocks in a resample; of several series, in that which has fewest."""
        raise NotImplementedError

    @property
    def mean(self) -> float:
        """The estimate."""
        raise NotImplementedError

    @property
    def error(self) -> float:
        """Its standard error."""
        raise NotImplementedError

    @property
    def studentised(self) -> Floats:
        """The deviation of each resample's mean in units of its own standard error, ascending, shape [resamples]."""
        raise NotImplementedError

    def interval(self) -> Interval:
        """The mean with its interval, whose bounds are NaN when too few blocks differ to tell."""
        mean, n = self.mean, self.size
        if self.blocks < 2:
            return unknown_interval(mean, n)
        if not self.error:
            return Interval(mean, mean, mean, n)
        tail = math.floor((0.5 - LEVEL / 2) * self.studentised.size)
        low, high = self.studentised[tail], self.studentised[-1 - tail]
        if math.isinf(low) or math.isinf(high):
            return unknown_interval(mean, n)
        return Interval(mean, mean - float(high) * self.error, mean - float(low) * self.error, n)

    def p_value(self) -> float:
        """Two-sided, of a true mean of 0; below 0.05 where the interval leaves 0 out. 1 where there is no interval."""
        if self.blocks < 2 or not self.error:
            return 1.0
        found = self.mean / self.error
        tail = min((self.studentised >= found).sum(), (self.studentised <= found).sum())
        return min(1.0, 2 * (1 + int(tail)) / (self.studentised.size + 1))


@dataclass(frozen=True, eq=False)
class BlockMeans(Studentised):
    """The means of all blocks of consecutive values of a series that is closed to a circle.

    Overlapping blocks are drawn with replacement until the series has its length again (Künsch 1989), on a circle, so
    that the ends of the series count like the rest (Politis and Romano 1992). The mean of each resample is divided by
    its own standard error (Götze and Künsch 1996), which makes the interval follow the skew of the series and widens it
    where there are few blocks.

    Attributes:
        values: the series, shape [n].
        length: of a block.
        resamples: how many are drawn.
        seed: of the draws.
    """

    values: Floats
    length: int
    resamples: int = RESAMPLES
    seed: int = 0

    @property
    def size(self) -> int:
        """Values of the series."""
        return self.values.size

    @property
    def blocks(self) -> int:
        """Blocks in a resample."""
        return -(-self.values.size // self.length)

    @property
    def mean(self) -> float:
        """Of the series; NaN if it is empty."""
        return float(self.values.mean()) if self.values.size else math.nan

    @cached_property
    def means(self) -> Floats:
        """The mean of each block, by its first value, shape [n]."""
        around = np.concatenate((self.values, self.values[: self.length - 1]))
        sums = np.concatenate(([0.0], np.cumsum(around)))
        means: Floats = (sums[self.length :] - sums[: -self.length]) / self.length
        return means

    @property
    def error(self) -> float:
        """The standard error of the mean of the series."""
        return float(self.means.std()) / math.sqrt(self.blocks)

    @cached_property
    def resampled(self) -> tuple[Floats, Floats]:
        """How far the mean of each resample deviates, and its own standard error, each of shape [resamples]."""
        firsts = np.random.default_rng(self.seed).integers(0, self.means.size, (self.resamples, self.blocks))
        drawn = self.means[firsts]
        return drawn.mean(axis=1) - self.means.mean(), drawn.std(axis=1, ddof=1) / math.sqrt(self.blocks)

    @cached_property
    def studentised(self) -> Floats:
        """See `Studentised`."""
        return _ratios(*self.resampled)


@dataclass(frozen=True, eq=False)
class PooledMeans(Studentised):
    """The mean of the means of several independent series, each of which is resampled for itself.

    Attributes:
        parts: of each series, with as many resamples each and seeds of their own.
    """

    parts: Sequence[BlockMeans]

    @property
    def size(self) -> int:
        """Values of all series."""
        return sum(part.size for part in self.parts)

    @property
    def blocks(self) -> int:
        """Blocks in a resample of the series that has fewest."""
        return min(part.blocks for part in self.parts)

    @property
    def mean(self) -> float:
        """Of the means."""
        return math.fsum(part.mean for part in self.parts) / len(self.parts)

    @property
    def error(self) -> float:
        """The standard error of that."""
        return math.hypot(*(part.error for part in self.parts)) / len(self.parts)

    @cached_property
    def studentised(self) -> Floats:
        """See `Studentised`."""
        away, errors = zip(*(part.resampled for part in self.parts), strict=True)
        return _ratios(np.sum(away, axis=0), np.sqrt(np.sum(np.square(errors), axis=0)))


def _ratios(away: Floats, error: Floats) -> Floats:
    """Deviations in units of their standard errors, ascending; 0 for none."""
    away = np.where(np.abs(away) < 1e-12, 0.0, away)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sort(np.where(away == 0, 0.0, away / error))


def block_means(values: ArrayLike, *, block: int | None = None, seed: int = 0) -> BlockMeans:
    """The blocks of a series, of the length that `block_length` finds in it unless `block` is given."""
    series = np.asarray(values, dtype=float)
    return BlockMeans(series, block or fitting(series.size, block_length(series)), seed=seed)


def stretch_count(values: ArrayLike) -> float:
    """On how many stretches of a series what is not zero in it rests: (sum |s|)^2 / sum s^2 over the sums of blocks.

    Misses lie in a few long queues, however many they are. Blocks of equal sums count as many as there are (Kish's
    effective size).
    """
    series = np.asarray(values, dtype=float)
    if not series.any():
        return 0.0
    length = min(block_length(series), max(series.size // FEWEST_BLOCKS, 1))
    sums = np.abs(np.add.reduceat(series, np.arange(0, series.size, length)))
    return float(sums.sum()) ** 2 / float((sums**2).sum()) if sums.any() else 0.0


def share_interval(hits: ArrayLike) -> Interval:
    """The share of True in one autocorrelated series, and Wilson's interval (1927) at its effective size.

    That is the number of independent values with the error that the block bootstrap finds, as for clustered samples
    (Korn and Graubard 1998), with Student's t for half as many degrees of freedom again as separate blocks have, since
    these overlap (Meketon and Schmeiser 1984). The bounds are in [0, 1]. When all values are equal, nothing is known of
    their correlation: they count as one per block of Künsch's length, n^(1/3). The bounds are NaN with fewer than
    FEWEST_VALUES values.
    """
    from scipy.special import stdtrit  # slow to import, and only intervals need it

    blocks = block_means(hits)
    share, n = blocks.mean, blocks.values.size
    if n < FEWEST_VALUES:
        return unknown_interval(share, n)
    free = max(blocks.blocks - 1, 1)
    variance = blocks.error**2 * blocks.blocks / free
    size = share * (1 - share) / variance if variance else n ** (2 / 3)
    squared = float(stdtrit(1.5 * free, 0.5 + LEVEL / 2)) ** 2 / size
    half = math.sqrt(squared * (share * (1 - share) + squared / 4))
    low, high = (share + squared / 2 - half) / (1 + squared), (share + squared / 2 + half) / (1 + squared)
    return Interval(share, min(low, share), max(high, share), n).within(0, 1)  # rounding may leave all or nothing out


def block_length(values: ArrayLike) -> int:
    """The length of blocks that outlasts the memory of a series.

    It is LONGER times the length with which the bootstrap estimates the variance of the mean best (Politis and White
    2004, corrected by Patton, Politis and White 2009). That grows with n^(1/3), the rate of Künsch (1989), times a
    factor found in the autocorrelations: in a queue they last as long as its busy periods, and n^(1/3) alone is far
    too short near saturation.
    """
    series = np.asarray(values, dtype=float)
    n = series.size
    covariance = _autocovariance(series)
    if n < FEWEST_VALUES or covariance[0] < 1e-15:
        return 1
    lags = _memory(covariance, n)
    k = np.arange(1, min(lags, n - 1) + 1)
    weighted = np.minimum(1.0, 2 * (1 - k / lags)) * covariance[k]
    spectrum = float(covariance[0] + 2 * weighted.sum())
    longest = math.ceil(min(3 * math.sqrt(n), n / 3))
    if spectrum <= 0:
        return LONGER * longest
    bias = 2 * float((k * weighted).sum())
    best = (1.5 * (bias / spectrum) ** 2 * n) ** (1 / 3)
    return LONGER * int(min(max(math.ceil(best), 1), longest))


def fitting(n: int, block: int) -> int:
    """The block length, changed so that there are neither too few blocks nor too many."""
    return max(min(block, n // FEWEST_BLOCKS), -(-n // MOST_BLOCKS), 1)


def _autocovariance(series: Floats) -> Floats:
    """By lag, shape [n]."""
    n = series.size
    if not n:
        return np.zeros(1)
    power = 1 << (2 * n - 1).bit_length()
    transform = np.fft.rfft(series - series.mean(), power)
    covariance: Floats = np.fft.irfft(transform * np.conj(transform), power)[:n] / n
    return covariance


def _memory(covariance: Floats, n: int) -> int:
    """Twice the lag after which the autocorrelations are negligible for several lags."""
    several = max(5, math.ceil(math.sqrt(math.log10(n))))
    most = math.ceil(math.sqrt(n)) + several
    negligible = np.abs(covariance[1 : most + several] / covariance[0]) < 2 * math.sqrt(math.log10(n) / n)
    quiet = np.convolve(negligible, np.ones(several), "valid") == several
    last = int(np.argmax(quiet)) if quiet.any() else int(np.flatnonzero(~negligible)[-1]) + 1
    return min(2 * max(last, 1), most)
