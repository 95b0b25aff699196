"""The distance between a simulation and real runs of the same requests, and whether it is small enough.

A simulation cannot be expected to be nearer to a real run than a second real run is: that distance is the floor. Where
two real runs agree within the bar, the simulation must be within it too; elsewhere, within FLOOR_FACTOR times the
floor. `Distance.near` says whether it is within FLOOR_FACTOR times the floor in any case, however small that is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

import numpy as np
import numpy.typing as npt

from flowsim.core.summary import Summary
from flowsim.results.result import RunResult

Times = npt.NDArray[np.float64]
FLOOR_FACTOR = 1.25
PER_REQUEST = "per request"


@dataclass(frozen=True)
class Measure:
    """A quantity in which two runs should agree.

    Attributes:
        name: as it is shown.
        value: from the summary of a run; None if the run has none.
        bar: the largest distance that is good; None if the measure is only shown.
        points: whether the distance is the absolute difference (for shares) and not the relative one.
    """

    name: str
    value: Callable[[Summary], float | None]
    bar: float | None
    points: bool = False


def _ttft(key: str) -> Callable[[Summary], float | None]:
    return lambda summary: summary["ttft_s"][key]


MEASURES = (
    Measure("attainment", lambda summary: summary["attainment"], 0.01, points=True),
    Measure("TTFT p50", _ttft("p50"), 0.05),
    Measure("TTFT p90", _ttft("p90"), 0.05),
    Measure("TTFT p99", _ttft("p99"), 0.10),
    Measure("blocking mean", lambda summary: summary["blocking_s"]["mean"], 0.15),
    Measure("throughput", lambda summary: summary["finished"] / summary["span_s"] if summary["span_s"] else None, None),
)


@dataclass(frozen=True)
class Distance:
    """How far a simulation is from real runs in one measure.

    Attributes:
        measure: its name.
        simulated: its value in the simulation; None if there is none.
        real: its value in each real run; None where there is none.
        off: mean distance between the simulation and the real runs; None if it is not known.
        floor: mean distance between two real runs; None with fewer than two.
        good: the verdict; None without a bar, or if neither the simulation nor the real runs have the measure.
        apart: whether two real runs differ by more than the bar.
    """

    measure: str
    simulated: float | None
    real: tuple[float | None, ...]
    off: float | None
    floor: float | None
    good: bool | None
    apart: bool = False

    @property
    def ratio(self) -> float | None:
        """The distance divided by the floor; None if one of them is not known, or the floor is 0."""
        return self.off / self.floor if self.off is not None and self.floor else None

    @property
    def near(self) -> bool | None:
        """Whether the simulation is within FLOOR_FACTOR times the floor; None without a verdict or a floor."""
        if self.good is None or self.floor is None:
            return None
        return self.off is not None and self.off <= FLOOR_FACTOR * self.floor


def distances(simulated: RunResult, real: Sequence[RunResult]) -> list[Distance]:
    """The distance in every measure, in the attainment of each class, and in the TTFT of the median request."""
    measures = [*MEASURES, *(_attainment_of(name) for name in simulated.slo.class_names)]
    summaries = [result.summary for result in real]
    found = []
    for measure in measures:
        values = [measure.value(summary) for summary in (simulated.summary, *summaries)]
        found.append(_distance(measure, values[0], values[1:]))
    off = _mean([request_error(simulated.ttft_s, result.ttft_s, result.ttft_s) for result in real])
    floor = _mean([request_error(a.ttft_s, b.ttft_s, (a.ttft_s + b.ttft_s) / 2) for a, b in combinations(real, 2)])
    found.append(Distance(PER_REQUEST, None, (), off, floor, _good(off, floor, 0.0)))
    return found


def request_error(ttft_s: Times, other_s: Times, of_s: Times) -> float | None:
    """Median over requests of |ttft_s - other_s| / of_s; None if no request has both.

    All arguments are in seconds, shape [n], NaN where the request is unfinished.
    """
    known = ~np.isnan(ttft_s) & ~np.isnan(other_s)
    if not known.any():
        return None
    return float(np.median(np.abs(ttft_s[known] - other_s[known]) / of_s[known]))


def _attainment_of(name: str) -> Measure:
    return Measure(f"attainment of {name}", lambda summary: summary["classes"][name]["attainment"], None, points=True)


def _distance(measure: Measure, simulated: float | None, real: Sequence[float | None]) -> Distance:
    def apart(a: float | None, b: float | None, whole: float) -> float | None:
        if a is None or b is None or not whole:
            return None
        return abs(a - b) / whole

    off = _mean([apart(simulated, value, 1.0 if measure.points else value or 0.0) for value in real])
    floor = _mean(
        [apart(a, b, 1.0 if measure.points else ((a or 0.0) + (b or 0.0)) / 2) for a, b in combinations(real, 2)]
    )
    absent = {value is None for value in (simulated, *real)}
    good = False if measure.bar is not None and len(absent) == 2 else _good(off, floor, measure.bar)
    beyond = floor is not None and measure.bar is not None and floor > measure.bar
    return Distance(measure.name, simulated, tuple(real), off, floor, good, beyond)


def _good(off: float | None, floor: float | None, bar: float | None) -> bool | None:
    if off is None or bar is None:
        return None
    if floor is None or floor <= bar:
        return off <= bar if bar else None
    return off <= FLOOR_FACTOR * floor


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
