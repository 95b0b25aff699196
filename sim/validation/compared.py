"""A recorded case beside its simulation of today, with the distances between them, and the verdict on all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flowsim.io.counts import number_of
from flowsim.results.result import RunResult
from flowsim.validation.case import Case
from flowsim.validation.distance import FLOOR_FACTOR, Distance, distances
from flowsim.validation.evidence import Evidence, Recorded


@dataclass(frozen=True, eq=False)
class ComparedCase:
    """A case, its simulation, its real runs, and the distances between them.

    Attributes:
        recorded: the case and its real runs, as the evidence has them.
        simulated: what the simulation says now.
        real: the result of each real run.
        distances: by the name of the measure.
        folder: the number of its folder of evidence, from 1.
    """

    recorded: Recorded
    simulated: RunResult
    real: Sequence[RunResult]
    distances: Mapping[str, Distance]
    folder: int = 1

    @classmethod
    def now(cls, recorded: Recorded, evidence: Evidence, folder: int = 1) -> ComparedCase:
        """Simulate the case with the costs of its evidence, keeping events if its runs have them, and compare."""
        real = evidence.real(recorded)
        kept = any(run.outcome.events is not None for run in real)
        simulated = recorded.case.simulate(evidence.cost, events=kept)
        return cls(recorded, simulated, real, {d.measure: d for d in distances(simulated, real)}, folder)

    @property
    def case(self) -> Case:
        """The case that was run."""
        return self.recorded.case

    @property
    def results(self) -> dict[str, RunResult]:
        """All runs, by the name under which they are shown."""
        return {"simulated": self.simulated} | {f"real {i}": run for i, run in enumerate(self.real, 1)}


def compared_cases(*evidence: Evidence) -> list[ComparedCase]:
    """Every case that has a real run, folder by folder, each simulated now with the costs of its folder."""
    folders = enumerate(evidence, 1)
    return [
        ComparedCase.now(case, folder, number) for number, folder in folders for case in folder.recorded if case.runs
    ]


def verdict(cases: Sequence[ComparedCase]) -> str:
    """How many measures pass, in one line."""
    judged = [d for case in cases for d in case.distances.values() if d.good is not None]
    floored = [d.near for d in judged if d.near is not None]
    passed = f"{sum(bool(d.good) for d in judged)} of {len(judged)} measures"
    where = number_of(len(cases), "case")
    apart = sum(d.apart for d in judged)
    noted = f" (in {apart} of them, two real runs differ by more than the bar)" if apart else ""
    near = f"{sum(floored)} of {len(floored)} are within {FLOOR_FACTOR} times the difference of two real runs"
    return f"{passed} of {where} pass{noted}; {near}, however small that is."
