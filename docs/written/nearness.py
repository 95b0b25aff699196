"""How near simulations are to all recorded real runs, by measure, with and without the speed of a rested GPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from flowsim.calibration.costs.provenance import Provenance
from flowsim.validation.compared import ComparedCase, compared_cases
from flowsim.validation.evidence import Evidence

FOLDERS = sorted((Path(__file__).parents[2] / "tests" / "data" / "evidence").iterdir())
MEASURES = ("attainment", "TTFT p50", "TTFT p90", "TTFT p99", "blocking mean", "per request")
HEAD = """| | pass | differs by | two real runs | without boost | differs by |
|---|--:|--:|--:|--:|--:|"""


def by_measure() -> Iterator[str]:
    """One row per measure: counts, and means over all cases."""
    opened = [Evidence.load(folder) for folder in FOLDERS]
    cases, sustained = compared_cases(*opened), compared_cases(*map(without_boost, opened))
    yield from HEAD.split("\n")
    for measure in MEASURES:
        floors = [f for case in cases if (f := case.distances[measure].floor) is not None]
        cells = (*_near(cases, measure), _hundred(floors, measure), *_near(sustained, measure))
        yield f"| {measure} | {' | '.join(cells)} |"


def without_boost(evidence: Evidence) -> Evidence:
    """The same runs, to be simulated at the sustained speed throughout."""
    about = {key: value for key, value in evidence.table.provenance.stated.items() if key != "boost"}
    return replace(evidence, table=replace(evidence.table, provenance=Provenance.of(about)))


def _near(cases: list[ComparedCase], measure: str) -> tuple[str, str]:
    found = [distance for case in cases if (distance := case.distances[measure]).good is not None]
    good = sum(distance.good is True for distance in found)
    return f"{good} of {len(found)}", _hundred([d.off for d in found if d.off is not None], measure)


def _hundred(shares: list[float], measure: str) -> str:
    return f"{100 * fmean(shares):.1f} {'points' if measure == 'attainment' else '%'}"
