"""Synthetic traces: Poisson arrivals, and lengths drawn from the published quantiles of a real trace."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from flowsim.errors import InputError, unknown
from flowsim.traces.columns import Floats, Ints
from flowsim.traces.trace import Trace

PROBABILITIES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)
"""Where `RequestClass` gives its quantiles: minimum, p10, p25, p50, p75, p90, p99, maximum."""


@dataclass(frozen=True)
class RequestClass:
    """A class of requests: its weight in the mix, and the quantiles of its lengths in tokens."""

    weight: float
    input_length: tuple[float, ...]
    output_length: tuple[float, ...]


@dataclass(frozen=True)
class Preset:
    """A mix of request classes and where its numbers come from."""

    source: str
    classes: Mapping[str, RequestClass]


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
    )
}


def synthesize(n: int, rate_rps: float, seed: int, preset: str = "qwen") -> Trace:
    """`n` requests with Poisson arrivals at a mean of `rate_rps` requests per second, the first at 0 s.

    Classes are drawn by their weights, and lengths by inverse CDF on the quantiles of the class, linear
    between them; input and output lengths are independent. The same arguments give the same trace.
    """
    if preset not in PRESETS:
        raise unknown("preset of synthetic traces", preset, PRESETS)
    if n < 1:
        raise InputError(f"the number of requests is {n}; allowed: 1 or more")
    if not 0 < rate_rps < math.inf:
        raise InputError(f"rate_rps is {rate_rps}; allowed: a positive number of requests per second")
    rng = np.random.default_rng(seed)
    classes = PRESETS[preset].classes
    weights = np.array([entry.weight for entry in classes.values()])
    arrival = np.append(0.0, np.cumsum(rng.exponential(1 / rate_rps, n - 1)))
    codes = rng.choice(len(weights), size=n, p=weights / weights.sum())
    inputs = _drawn([entry.input_length for entry in classes.values()], codes, rng.random(n))
    outputs = _drawn([entry.output_length for entry in classes.values()], codes, rng.random(n))
    source = f"{n} requests at {rate_rps:g} req/s, seed {seed}, from the lengths of {PRESETS[preset].source}"
    name = f"synthetic-{preset}"
    return Trace.from_columns(arrival, inputs, outputs, codes, tuple(classes), name=name, source=source)


def _drawn(quantiles: list[tuple[float, ...]], codes: Ints, uniform: Floats) -> Ints:
    """Lengths [n]: the quantile of each request's class at its uniform number in [0, 1)."""
    lengths = np.empty(codes.size, dtype=np.int64)
    for code, table in enumerate(quantiles):
        mine = codes == code
        lengths[mine] = np.rint(np.interp(uniform[mine], PROBABILITIES, table))
    return lengths
