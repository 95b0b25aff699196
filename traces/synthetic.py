"""Synthetic traces: arrivals from a process, and lengths drawn from the quantiles of a real trace."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import numpy as np
from msgspec import Struct

from flowsim.errors import InputError, unknown
from flowsim.io.counts import number_of
from flowsim.io.seeds import MOST_REQUESTS, generator
from flowsim.traces.arrivals import arrivals as arrival_times
from flowsim.traces.columns import LARGEST, Floats, Ints
from flowsim.traces.trace import Trace

PROBABILITIES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)
"""Probabilities of the quantiles of a `RequestClass`: minimum, p10, p25, p50, p75, p90, p99, maximum."""


class RequestClass(Struct, frozen=True):
    """A class of requests: its weight in the mix, and the quantiles of its lengths in tokens.

    The quantiles are at `PROBABILITIES` or, if there are more of them, at equal steps of probability from the
    minimum to the maximum.
    """

    weight: float
    input_length: tuple[float, ...]
    output_length: tuple[float, ...]
    rank_correlation: float = 0.0
    """Spearman's rank correlation of input and output lengths."""


class Preset(Struct, frozen=True):
    """A mix of request classes and where its numbers come from."""

    source: str
    classes: Mapping[str, RequestClass]
    """By name; "" = the trace has no classes."""
    rate_rps: float
    """The mean rate of the trace that is imitated, requests per second."""
    arrivals: str = "poisson"
    """The arrival process whose gaps vary as those of the imitated trace."""

    @property
    def detail(self) -> int:
        """Number of quantiles in its finest distribution of lengths."""
        return max(len(entry.input_length) for entry in self.classes.values())


PRESETS: Mapping[str, Preset] = {
    "qwen": Preset(
        source="QwenTrace A (Alibaba, Apache-2.0), minutes 0-2, as replayed by the FlowPrefill authors",
        classes={
            "text": RequestClass(
                226,
                (16, 72.3, 128, 744, 871.8, 1099.7, 3258, 4613),
                (5, 74.6, 118.2, 276, 442.5, 682.8, 1240, 1982),
            ),
            "image": RequestClass(
                24,
                (350, 350.6, 353.8, 372.5, 386.5, 394.1, 807.6, 929),
                (47, 49.3, 52.8, 69.5, 88.2, 178.1, 209.2, 212),
            ),
            "search": RequestClass(
                66,
                (241, 2151.5, 3045.2, 4378, 6480.8, 8066.5, 15127.4, 16744),
                (128, 205.5, 254.5, 350.5, 447, 659, 1384, 1488),
            ),
            "file": RequestClass(
                11,
                (111, 402.2, 735, 3210, 6359, 7425.6, 8947, 9116),
                (288, 353.6, 415, 701, 821, 930.8, 973.3, 978),
            ),
        },
        rate_rps=2.7,
    )
}


@cache
def presets() -> Mapping[str, Preset]:
    """The presets by name: `PRESETS`, and the finer ones of data/presets.json."""
    text = files("flowsim.traces").joinpath("data/presets.json").read_text(encoding="utf-8")
    fine = {}
    for name, values in json.loads(text).items():
        classes = values.pop("classes")
        fine[name] = Preset(**values, classes={key: _request_class(**fields) for key, fields in classes.items()})
    return {**PRESETS, **fine}


def _request_class(
    weight: float, rank_correlation: float, input_length: list[float], output_length: list[float]
) -> RequestClass:
    return RequestClass(weight, tuple(input_length), tuple(output_length), rank_correlation)


def synthesize(
    n: int,
    rate_rps: float | None = None,
    seed: int = 0,
    preset: str = "qwen",
    *,
    arrivals: str | None = None,
    profile: str = "constant",
) -> Trace:
    """`n` requests at `rate_rps` requests per second times the factor of the profile, the first at 0 s.

    Classes are drawn by their weights, and lengths by inverse CDF on the quantiles of the class, linear between
    them, with the class's rank correlation of input and output (by a Gaussian copula: rho = 2 sin(pi r / 6) for
    Spearman's r). The same arguments give the same trace.

    Args:
        n: number of requests.
        rate_rps: mean rate where the profile's factor is 1; default: the rate of the imitated trace.
        seed: seed of all random numbers.
        preset: a name in `presets()`.
        arrivals: "poisson", "gamma:CV" or "weibull:CV"; default: the preset's process.
        profile: how the rate changes over time, see `flowsim.traces.arrivals.arrivals`.

    Raises:
        InputError: an argument is out of range, or names an unknown preset, process or profile.
    """
    if preset not in presets():
        raise unknown("preset", preset, presets(), where="preset")
    chosen = presets()[preset]
    rate_rps = chosen.rate_rps if rate_rps is None else rate_rps
    _check(n, rate_rps)
    rng = generator(seed)
    process = arrivals or chosen.arrivals
    arrival = arrival_times(n, rate_rps, process, profile, rng)
    inputs, outputs, codes = _requests(list(chosen.classes.values()), n, rng)
    names = tuple(chosen.classes) if "" not in chosen.classes else ()
    times = "" if profile == "constant" else f" times {profile}"
    how = "" if (process, profile) == ("poisson", "constant") else f" ({process})"
    made = f"{number_of(n, 'request')} at {rate_rps:g} req/s{times}{how}, seed {seed}"
    source = f"{made}, from the lengths of {chosen.source}"
    name = f"synthetic-{preset}"
    return Trace.from_columns(arrival, inputs, outputs, codes if names else codes - 1, names, name=name, source=source)


def _check(n: int, rate_rps: float) -> None:
    if not 1 <= n <= MOST_REQUESTS:
        raise InputError("requests", found=n, expected=f"from 1 to {MOST_REQUESTS}")
    if not (0 < rate_rps < math.inf and n / rate_rps <= LARGEST):
        raise InputError("rate_rps", found=rate_rps, expected="finite and > 0, with all times <= 2**40 s")


def _requests(classes: list[RequestClass], n: int, rng: np.random.Generator) -> tuple[Ints, Ints, Ints]:
    """Input lengths, output lengths and class codes of `n` requests."""
    weights = np.array([entry.weight for entry in classes])
    codes = rng.choice(len(weights), size=n, p=weights / weights.sum())
    first, second = rng.random(n), rng.random(n)
    second = _correlated(first, second, np.array([entry.rank_correlation for entry in classes])[codes])
    inputs = _drawn([entry.input_length for entry in classes], codes, first)
    return inputs, _drawn([entry.output_length for entry in classes], codes, second), codes


def _correlated(first: Floats, second: Floats, rank_correlation: Floats) -> Floats:
    """Uniform numbers with these rank correlations to `first`, made from the independent `second`."""
    if not rank_correlation.any():
        return second
    from scipy.special import ndtr, ndtri  # SciPy is slow to import

    rho = 2 * np.sin(np.pi * rank_correlation / 6)
    return np.asarray(ndtr(rho * ndtri(first) + np.sqrt(1 - rho**2) * ndtri(second)))


def _drawn(quantiles: list[tuple[float, ...]], codes: Ints, uniform: Floats) -> Ints:
    """Lengths [n]: the quantile of each request's class at its uniform number in [0, 1)."""
    lengths = np.empty(codes.size, dtype=np.int64)
    for code, table in enumerate(quantiles):
        mine = codes == code
        steps = PROBABILITIES if len(table) == len(PROBABILITIES) else np.linspace(0, 1, len(table))
        lengths[mine] = np.rint(np.interp(uniform[mine], steps, table))
    return lengths
