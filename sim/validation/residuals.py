"""What a regression leaves of measured times: a constant and a jitter on top, by quantiles."""

from __future__ import annotations

import math

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from flowsim.core.server import PARAMETERS

Floats = NDArray[np.float64]
QUIET_S = 1e-5
"""From the 10th to the 90th percentile: with less there is no jitter."""
NORMAL_90 = 1.2815515655446004
"""The 90th percentile of the normal distribution."""
EXPONENTIAL = (0.05, 0.8)
"""The quantiles from which an exponential jitter follows."""
CRITICAL = 1.25
"""Over the root of n: the distance from so fitted an exponential distribution that 5 % of its samples exceed (found by
drawing 2,000 samples of 30, 170 and 1,000)."""
STEPS = 60


class Residuals(Struct, frozen=True):
    """A constant, seconds, and the kind and the parameters of a jitter."""

    constant_s: float
    kind: str
    parameters: tuple[float, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the parameters."""
        return PARAMETERS[self.kind]

    @property
    def jitter(self) -> str:
        """The jitter, as the option has it."""
        return ":".join((self.kind, *(f"{value:.6g}" for value in self.parameters)))

    @classmethod
    def of(cls, left_s: Floats, kind: str | None = None) -> Residuals:
        """The constant and the jitter of these times, of this kind or of the simplest that fits.

        That is an exponential jitter unless the Kolmogorov-Smirnov distance is CRITICAL; then the nearer of that and a
        lognormal one.

        An exponential one follows from two quantiles, a lognormal one from the 10th, 50th and 90th percentiles; neither
        is moved by a few outliers.
        """
        if kind is not None:
            return _FITS[kind](left_s)
        low_s, high_s = np.quantile(left_s, [0.1, 0.9])
        if high_s - low_s < QUIET_S:
            return _none(left_s)
        simple = _exponential(left_s)
        if simple.distance(left_s) <= CRITICAL / math.sqrt(left_s.size):
            return simple
        return min((simple, _lognormal(left_s)), key=lambda one: one.distance(left_s))

    def distance(self, left_s: Floats) -> float:
        """The largest difference between the distribution function of these times and this one."""
        ordered = np.sort(left_s) - self.constant_s
        mine = self._below(ordered)
        steps = np.arange(ordered.size + 1) / ordered.size
        return float(np.maximum(np.abs(mine - steps[1:]), np.abs(mine - steps[:-1])).max())

    def _below(self, jitter_s: Floats) -> Floats:
        """The share of the jitter that is shorter than each of these times."""
        if self.kind == "exponential":
            return np.asarray(-np.expm1(-np.maximum(jitter_s, 0.0) / self.parameters[0]), float)
        median_s, sigma = self.parameters
        logs = np.log(np.maximum(jitter_s, 1e-12) / median_s) / (max(sigma, 1e-9) * math.sqrt(2))
        return np.array([0.5 * (1 + math.erf(value)) for value in logs.tolist()])


def least_absolute(columns: Floats, values: Floats) -> Floats:
    """The coefficients with the least sum of absolute differences (Schlossmacher 1973: reweighted least squares).

    Args:
        columns: shape [n, k].
        values: shape [n].
    """
    weights = np.ones(values.size)
    floor = 1e-9 + 1e-6 * float(np.abs(values - np.median(values)).mean())
    found: Floats = np.zeros(columns.shape[1])
    for _ in range(STEPS):
        root = np.sqrt(weights)
        found = np.asarray(np.linalg.lstsq(columns * root[:, None], values * root, rcond=None)[0], float)
        weights = 1 / np.maximum(np.abs(values - columns @ found), floor)
    return found


def _none(left_s: Floats) -> Residuals:
    return Residuals(max(float(np.median(left_s)), 0.0), "none", ())


def _exponential(left_s: Floats) -> Residuals:
    low_s, high_s = np.quantile(left_s, EXPONENTIAL).tolist()
    first, last = (-math.log1p(-share) for share in EXPONENTIAL)
    mean_s = (high_s - low_s) / (last - first)
    constant_s = low_s - first * mean_s
    if constant_s < 0:
        constant_s, mean_s = 0.0, max(high_s, 0.0) / last
    return Residuals(constant_s, "exponential", (max(mean_s, 1e-9),))


def _lognormal(left_s: Floats) -> Residuals:
    low_s, middle_s, high_s = np.quantile(left_s, [0.1, 0.5, 0.9]).tolist()
    skew_s = low_s + high_s - 2 * middle_s
    constant_s = (low_s * high_s - middle_s**2) / skew_s if skew_s > 0 else 0.0
    constant_s = max(min(constant_s, low_s), 0.0)
    median_s = max(middle_s - constant_s, 1e-9)
    return Residuals(
        constant_s, "lognormal", (median_s, math.log(max(high_s - constant_s, 1e-9) / median_s) / NORMAL_90)
    )


_FITS = {"none": _none, "exponential": _exponential, "lognormal": _lognormal}
