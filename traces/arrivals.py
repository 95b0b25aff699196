"""Arrival times of synthetic traces: a renewal process, sped up and slowed down by a rate profile."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from flowsim.errors import InputError, unknown
from flowsim.traces.columns import Floats

PROCESSES = ("poisson", "gamma:CV", "weibull:CV")
PROFILES = ("constant", "ramp:FROM:TO", "daily:SWING", "step:AT=FACTOR,AT=FACTOR")
CVS = {"gamma": (0.001, 30.0), "weibull": (0.05, 20.0)}
"""Range of the coefficient of variation by process: beyond it almost all gaps round to 0."""
DAY_S = 86400.0


def unit_gaps(process: str, n: int, rng: np.random.Generator) -> Floats:
    """`n` gaps of mean 1 with the coefficient of variation that the process names (1 for "poisson").

    Raises:
        InputError: an unknown process, or a CV outside its `CVS`.
    """
    name, _, text = process.partition(":")
    if name not in {known.partition(":")[0] for known in PROCESSES}:
        raise unknown("arrival process", process, PROCESSES, where="process")
    if name == "poisson" and not text:
        return rng.standard_exponential(n)
    cv = _number(text)
    least, most = CVS.get(name, (math.inf, 0))
    if not least <= cv <= most:
        ranges = "; ".join(f"{known}:CV with {low:g} <= CV <= {high:g}" for known, (low, high) in CVS.items())
        raise InputError("arrival process", found=process, expected=f"poisson; {ranges}")
    if name == "gamma":
        return rng.gamma(cv**-2, cv**2, n)
    shape = weibull_shape(cv)
    return rng.weibull(shape, n) / math.gamma(1 + 1 / shape)


def weibull_shape(cv: float) -> float:
    """The shape of a Weibull distribution with this coefficient of variation."""
    from scipy.optimize import brentq  # SciPy is slow to import

    def excess(shape: float) -> float:
        return math.gamma(1 + 2 / shape) / math.gamma(1 + 1 / shape) ** 2 - 1 - cv**2

    return float(brentq(excess, 0.1, 100))


def arrivals(n: int, rate_rps: float, process: str, profile: str, rng: np.random.Generator) -> Floats:
    """`n` arrival times in seconds, the first at 0.

    The rate at each time is `rate_rps` times the profile's factor:

        constant                 1 throughout
        ramp:FROM:TO             linear from FROM at the start to TO at the end
        daily:SWING              1 + SWING sin(2 pi t / day), with 0 <= SWING <= 1 and a day of 86,400 s
        step:AT=FACTOR,...       1 at first, FACTOR from AT seconds on

    Raises:
        InputError: an unknown process or profile.
    """
    gaps = unit_gaps(process, n - 1, rng)
    if profile == "constant":
        return np.append(0.0, np.cumsum(gaps * (1 / rate_rps)))
    expected = np.append(0.0, np.cumsum(gaps))
    times, total = _clock(profile, expected[-1] / rate_rps)
    return np.interp(expected / rate_rps, total, times)


def _clock(profile: str, length_s: float) -> tuple[Floats, Floats]:
    """Times, and the integral of the factor up to each; the last integral is at least `length_s`."""
    name, _, text = profile.partition(":")
    makers: dict[str, Callable[[str, float], tuple[Floats, Floats] | None]] = {
        "ramp": _ramp,
        "daily": _daily,
        "step": _step,
    }
    made = makers[name](text, length_s) if name in makers else None
    if made is None:
        expected = f"{', '.join(PROFILES[:-1])} or {PROFILES[-1]} (factors > 0, 0 <= SWING <= 1, times ascending)"
        raise InputError("rate profile", found=profile, expected=expected)
    return made


def _ramp(text: str, length_s: float) -> tuple[Floats, Floats] | None:
    first, _, last = text.partition(":")
    start, end = _number(first), _number(last)
    if not (0 < start < math.inf and 0 < end < math.inf):
        return None
    span_s = 2 * length_s / (start + end)
    share = np.linspace(0, 1, 4097)
    return share * span_s, span_s * (start * share + (end - start) * share**2 / 2)


def _daily(text: str, length_s: float) -> tuple[Floats, Floats] | None:
    swing = _number(text)
    if not 0 <= swing <= 1:
        return None
    times = np.linspace(0, length_s + DAY_S, 1 + 1440 * math.ceil(length_s / DAY_S + 1))
    turn = 2 * math.pi / DAY_S
    return times, times + swing * (1 - np.cos(turn * times)) / turn


def _step(text: str, length_s: float) -> tuple[Floats, Floats] | None:
    pairs = [tuple(map(_number, pair.partition("=")[::2])) for pair in text.split(",")]
    times, factors = [0.0, *(at for at, _ in pairs)], [1.0, *(factor for _, factor in pairs)]
    ascending = all(a < b for a, b in pairwise(times))
    if not ascending or not all(0 < factor < math.inf for factor in factors) or not math.isfinite(times[-1]):
        return None
    end = times[-1] + length_s / factors[-1] + 1.0
    knots = np.array([*times, end])
    return knots, np.append(0.0, np.cumsum(np.diff(knots) * np.array(factors)))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
