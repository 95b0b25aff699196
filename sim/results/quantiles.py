"""Quantiles of times of which some are not known: what never came lies beyond every finite value."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def quantile(values: Floats, share: float) -> float:
    """The quantile at `share` (0 to 1), interpolated linearly between two finite values.

    Infinite if it falls among infinite values, or between the last finite value and them; NaN of no values.
    """
    if not values.size:
        return math.nan
    fine = values[np.isfinite(values)]
    place = share * (values.size - 1)
    if math.ceil(place) >= fine.size:
        return math.inf
    if fine.size == values.size:
        return float(np.quantile(values, share))
    below, above = np.partition(fine, (math.floor(place), math.ceil(place)))[[math.floor(place), math.ceil(place)]]
    return float(below + (above - below) * (place - math.floor(place)))


def quantiles(values: Floats, percents: Sequence[int]) -> dict[str, float | None]:
    """Mean, these percentiles and maximum of what is not NaN; None where infinite, or if nothing is left."""
    known = values[~np.isnan(values)]
    if not known.size:
        return dict.fromkeys(_names(percents))
    if np.isfinite(known).all():
        middle = np.percentile(known, percents).tolist()
    else:
        middle = [quantile(known, percent / 100) for percent in percents]
    found = [float(known.mean()), *middle, float(known.max())]
    return {name: finite(value) for name, value in zip(_names(percents), found, strict=True)}


def exceeded(values: Floats, bounds: Floats, percents: Sequence[int]) -> dict[str, float | None]:
    """Where `quantiles(values, percents)` are infinite, a time that each exceeds; None where they are not.

    It is the same quantile of `bounds`, which no value falls below: a quantile of lower bounds is a lower bound. An
    infinite bound (it will never come) counts as the largest finite one, which it exceeds too; without any, nothing is
    known.
    """
    fine = bounds[np.isfinite(bounds)]
    if not fine.size or np.isfinite(values).all():
        return dict.fromkeys(_names(percents))
    known = quantiles(np.minimum(bounds, fine.max()), percents)
    return {name: known[name] if value is None else None for name, value in quantiles(values, percents).items()}


def _names(percents: Sequence[int]) -> list[str]:
    return ["mean", *(f"p{percent}" for percent in percents), "max"]


def ratio(part: float, whole: float) -> float | None:
    """The quotient; None if there is nothing to divide by."""
    return part / whole if whole else None


def finite(value: float) -> float | None:
    """The value; None if it is infinite or NaN, which JSON cannot hold."""
    return value if math.isfinite(value) else None
