"""What the runs of the arena give: one row per cell and policy, and the series that the ranking needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from flowsim.arena.grid import KEPT, REFERENCE, Cell
from flowsim.arena.ranking import Standing, TrafficSeries, share_series, standings
from flowsim.results.differences import Difference, ServedTrace, holm
from flowsim.results.interval import Interval
from flowsim.studies.kept_requests import read_requests
from flowsim.studies.sweep import Runs

if TYPE_CHECKING:
    import pandas as pd

FIGURES = (
    "error", "attainment", "ci_attainment_low", "ci_attainment_high", "bound_attainment", "share_of_bound",
    "goodput_rps", "offered_rps", "ttft_p50_s", "ttft_p99_s", "counted", "rejected", "starved", "decisions",
    "preemptions", "utilization",
)  # fmt: skip
"""The columns that are taken over from the runs, besides the attainment of each class."""
CLASS = "attainment_"


@dataclass(frozen=True, eq=False)
class Scores:
    """The runs of all cells under all policies, by cell and policy.

    Attributes:
        cells: in order.
        policies: in order.
        rows: of the run of each cell under each policy: a mapping of its columns.
        served: what became of its requests; None if it failed.
    """

    cells: Sequence[Cell]
    policies: Sequence[str]
    rows: Mapping[tuple[int, str], Mapping[Any, Any]]
    served: Mapping[tuple[int, str], ServedTrace | None]

    @classmethod
    def of(cls, runs: Runs, cells: Sequence[Cell], policies: Sequence[str], keys: Sequence[Sequence[str]]) -> Scores:
        """Those of a study; `keys` has the key of each run, by cell and policy."""
        assert runs.folder is not None
        by_key: dict[str, dict[Any, Any]] = {row["key"]: row for row in runs.table.to_dict("records")}
        rows, served = {}, {}
        for place, of_cell in enumerate(keys):
            for policy, key in zip(policies, of_cell, strict=True):
                rows[place, policy] = by_key[key]
                served[place, policy] = _served(runs, by_key[key])
        return cls(cells, policies, rows, served)

    @property
    def ranked(self) -> list[str]:
        """The policies of which no run failed."""
        return [name for name in self.policies if all(self.served[place, name] for place in range(len(self.cells)))]

    def standings(self, seed: int = 0) -> list[Standing]:
        """See `flowsim.arena.ranking.standings`; policies of which a run failed are left out."""
        return standings({name: self.series(name) for name in self.ranked}, REFERENCE, seed)

    def series(self, policy: str) -> TrafficSeries:
        """Of one policy, see `flowsim.arena.ranking.share_series`."""
        places: dict[str, list[int]] = {}
        for place, cell in enumerate(self.cells):
            places.setdefault(cell.traffic, []).append(place)
        found = []
        for of_traffic in places.values():
            served = [self.served[place, policy] for place in of_traffic]
            attained, counted = (np.array([getattr(one, name) for one in served]) for name in ("attained", "counted"))
            bound = np.array([self.rows[place, policy]["bound_attainment"] for place in of_traffic], float)
            found.append(share_series(attained, counted, bound))
        return [part for part in found if part.size]

    def table(self, best: str, seed: int = 0) -> pd.DataFrame:
        """One row per cell and policy: the cell, the policy, figures of its run, and its differences in attainment to
        the best policy and to the reference, paired by request, with p by Holm's method for all policies of the cell.
        """
        import pandas as pd  # slow to import, and only tables need it

        classes = list(dict.fromkeys(name for row in self.rows.values() for name in row if is_class(name)))
        found = []
        for place, cell in enumerate(self.cells):
            less = {base: self._differences(place, base, seed) for base in dict.fromkeys((best, REFERENCE))}
            for policy in self.policies:
                row = self.rows[place, policy]
                of_cell = {"traffic": cell.traffic, "load": cell.load, "mix": cell.mix, "policy": policy}
                figures = {name: row.get(name) for name in (*FIGURES, *classes)}
                found.append(of_cell | figures | _columns({base: less[base].get(policy) for base in less}, best))
        return pd.DataFrame(found).dropna(axis="columns", how="all")

    def _differences(self, place: int, base: str, seed: int) -> dict[str, tuple[Difference, float]]:
        """The difference of each other policy to one of them in a cell, with p by Holm's method."""
        theirs = self.served[place, base]
        if theirs is None:
            return {}
        found = {
            name: Difference(ours, theirs, seed)
            for name in self.policies
            if name != base and (ours := self.served[place, name]) is not None
        }
        p = holm([difference.p_value for difference in found.values()])
        return dict(zip(found, zip(found.values(), p, strict=True), strict=True))


def _served(runs: Runs, row: Mapping[Any, Any]) -> ServedTrace | None:
    if isinstance(row["error"], str) or runs.folder is None:
        return None
    kept = read_requests(runs.folder, row, KEPT)
    counted, attained = (kept[name].to_numpy() for name in KEPT)
    return ServedTrace(counted, attained, np.zeros(len(kept)), None)


def is_class(name: str) -> bool:
    """Whether this is the column of the attainment of a class."""
    return name.startswith(CLASS) and name not in FIGURES


def interval_columns(name: str, interval: Interval) -> dict[str, Any]:
    """The columns of an interval: name, name_low, name_high."""
    return {name: interval.mean, f"{name}_low": interval.low, f"{name}_high": interval.high}


def _columns(less: Mapping[str, tuple[Difference, float] | None], best: str) -> dict[str, Any]:
    """The columns of the differences: less_best, less_best_low, ..., less_flowprefill_p."""
    columns: dict[str, Any] = {}
    for base, found in less.items():
        for name in dict.fromkeys(("best",) * (base == best) + (base,) * (base == REFERENCE)):
            if found is not None:
                difference, p = found
                columns |= interval_columns(f"less_{name}", difference.attainment) | {f"less_{name}_p": p}
    return columns
