"""The ranking: each policy's mean share of the clairvoyant bound, and which differences are more than chance.

The score of a policy is the mean of its attainment / the clairvoyant bound over the cells of each traffic in which any
request can attain, then over the traffics, which weigh the same. The requests of one traffic are the same in all its
cells, so each of its requests has one number: the mean over these cells of whether it was in time, in shares of the
bound. The differences of two policies in it make one series per traffic, which is resampled in blocks of consecutive
requests (`flowsim.results.bootstrap`), each traffic for itself. Intervals say what other requests of the same traffic
would have given; they say nothing of other traffic.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowsim.results.bootstrap import FEWEST_STRETCHES, BlockMeans, PooledMeans, block_length, fitting, stretch_count
from flowsim.results.differences import holm
from flowsim.results.interval import Interval

Floats = NDArray[np.float64]
TrafficSeries = Sequence[Floats]
"""One series for each traffic."""
RESAMPLES = 10_000
"""Enough for p-values that remain small when Holm's method multiplies them by the number of policies."""
CHANCE = 0.05
"""Differences with a smaller p are taken for real."""


@dataclass(frozen=True)
class ShareDifference:
    """One policy less another, in mean shares of the bound.

    Attributes:
        interval: of the difference.
        p: of no difference, by Holm's method for all policies compared with that other.
        few: whether it rests on so few stretches of requests that the interval is too narrow.
    """

    interval: Interval
    p: float
    few: bool


@dataclass(frozen=True)
class Standing:
    """The place of one policy.

    Attributes:
        policy: its specification.
        rank: 1 for the highest score; equal scores share a rank.
        low, high: the ranks that it may have: 1 + the number of policies that are significantly better, and the number
            of all policies less those that are significantly worse; see `standings`.
        few: whether a difference from which these follow rests on few stretches of requests.
        score: its mean share of the bound, with the interval.
        less: its difference to the best policy and to the reference, by name; it has none to itself.
    """

    policy: str
    rank: int
    low: int
    high: int
    few: bool
    score: Interval
    less: Mapping[str, ShareDifference]


def share_series(attained: NDArray[np.bool_], counted: NDArray[np.bool_], bound: Floats) -> Floats:
    """For each request of a traffic the mean over cells of whether it was in time, in shares of the bound, shape [n].

    Its mean is the mean share of the bound. Cells in which nothing can attain (a bound of 0) are left out.

    Args:
        attained: whether each request was in time in each cell, shape [cells, n].
        counted: whether it counts there, shape [cells, n].
        bound: the clairvoyant bound of each cell, shape [cells].
    """
    known = (bound > 0) & counted.any(axis=1)
    attained, counted, bound = attained[known], counted[known], bound[known]
    if not bound.size:
        return np.zeros(0)
    weight = counted.shape[1] / counted.sum(axis=1) / bound
    series: Floats = ((attained & counted) * weight[:, None]).mean(axis=0)
    return series


def standings(series: Mapping[str, TrafficSeries], reference: str, seed: int = 0) -> list[Standing]:
    """The policies by score, the best first; equals in the order in which they are given.

    The ranks that a policy may have follow from its differences to all others, of which those count whose p is below
    `CHANCE` by Holm's method (Holm 1979): it is behind all that are better, and before all that are worse (Mogstad,
    Romano, Shaikh and Wilhelm 2024 call this a marginal confidence set of a rank).

    Args:
        series: of each policy, one series for each traffic, as `share_series` makes it.
        reference: a policy that all are compared with, besides the best, if it is among them.
        seed: of the bootstrap.
    """
    names = list(series)
    scores = {name: _pooled(series[name], seed) for name in names}
    between = _between(series, seed)
    best = max(names, key=lambda name: scores[name].mean)  # the first of equals
    against = {base: _against(base, names, between) for base in dict.fromkeys((best, reference)) if base in series}
    found = []
    for name in sorted(names, key=lambda name: -scores[name].mean):
        rank = 1 + sum(scores[other].mean > scores[name].mean for other in names)
        less = {base: differences[name] for base, differences in against.items() if base != name}
        found.append(Standing(name, rank, *_ranks(name, names, between), scores[name].interval().within(0, 1), less))
    return found


def _between(series: Mapping[str, TrafficSeries], seed: int) -> dict[tuple[str, str], ShareDifference]:
    """The difference of each policy to each other, p for this one alone."""
    found = {}
    for one, other in itertools.combinations(series, 2):
        less = [ours - theirs for ours, theirs in zip(series[one], series[other], strict=True)]
        pooled = _pooled(less, seed)
        few = sum(map(stretch_count, less)) < FEWEST_STRETCHES
        interval, p = pooled.interval(), pooled.p_value()
        back = Interval(-interval.mean, -interval.high, -interval.low, interval.n)
        found[one, other], found[other, one] = ShareDifference(interval, p, few), ShareDifference(back, p, few)
    return found


def _pooled(series: TrafficSeries, seed: int) -> PooledMeans:
    lengths = [fitting(part.size, block_length(part)) for part in series]
    return PooledMeans(
        [
            BlockMeans(part, length, RESAMPLES, seed + place)
            for place, (part, length) in enumerate(zip(series, lengths, strict=True))
        ]
    )


def _against(
    base: str, names: Sequence[str], between: Mapping[tuple[str, str], ShareDifference]
) -> dict[str, ShareDifference]:
    others = [name for name in names if name != base]
    adjusted = holm([between[name, base].p for name in others])
    return {
        name: ShareDifference(between[name, base].interval, p, between[name, base].few)
        for name, p in zip(others, adjusted, strict=True)
    }


def _ranks(
    name: str, names: Sequence[str], between: Mapping[tuple[str, str], ShareDifference]
) -> tuple[int, int, bool]:
    """The ranks from which and to which a policy may be, and whether they rest on few stretches of requests."""
    real = [less for less in _against(name, names, between).values() if less.p < CHANCE]
    better, worse = (sum(sign * less.interval.mean > 0 for less in real) for sign in (1, -1))
    return 1 + better, len(names) - worse, any(less.few for less in real)
