"""What deciding costs a policy: CPU time for each request, in Python on this machine, while a queue is long."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from time import thread_time_ns
from typing import Any, NamedTuple

from flowsim.arena.grid import Cell
from flowsim.core.passes import Decision, Execution, Pass
from flowsim.core.policy import AroundPolicy, Policy, View
from flowsim.engine.simulate import simulate
from flowsim.io.folders import writing_file
from flowsim.runs.prepare import Prepared
from flowsim.studies.point import Point, prepared
from flowsim.studies.study import Study

FILE = "decision_costs.csv"
HEAD = ("key", "policy", "decisions", "us_a_request")


class DecisionCost(NamedTuple):
    """What deciding costs a policy.

    Attributes:
        decisions: how often it decided.
        us_a_request: microseconds of CPU that it takes for each request, to decide and to hear of arrivals and
            completions.
    """

    decisions: int
    us_a_request: float


class Timed(AroundPolicy):
    """A policy whose decisions are counted, and whose time is added up.

    Attributes:
        spent: decisions, and nanoseconds of all that it does.
    """

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy)
        self.spent = [0, 0]

    def __getattr__(self, name: str) -> Any:
        return partial(self._timed, super().__getattr__(name))

    def choose(self, view: View) -> Pass | Execution | Decision | None:
        """What the policy chooses."""
        self.spent[0] += 1
        chosen: Pass | Execution | Decision | None = self._timed(self.policy.choose, view)
        return chosen

    def _timed(self, method: Callable[..., Any], *arguments: Any) -> Any:
        begin = thread_time_ns()
        found = method(*arguments)
        self.spent[1] += thread_time_ns() - begin
        return found


def decision_costs(
    study: Study, cells: Sequence[Cell], policies: Sequence[str], folder: Path | None
) -> dict[str, DecisionCost]:
    """The costs of each policy in the cell of the highest load, the first of its traffic and SLO mixes.

    They are measured once: the folder keeps them, by the key of the run.
    """
    kept = _read(folder)
    cell = max(cells, key=lambda cell: cell.load)  # the first of equals
    points = {name: Point.of({**study.base, **cell.options, "policy": name}) for name in policies}
    keys = {name: point.key(study.root) for name, point in points.items()}
    costs: dict[str, DecisionCost] = {}
    for name, point in points.items():
        known = kept.pop((keys[name], name), None)
        costs[name] = decision_cost(prepared(point, study.root)) if known is None else known
    if folder is not None and folder.exists():
        _write(folder, kept | {(keys[name], name): cost for name, cost in costs.items()})
    return costs


def decision_cost(ready: Prepared) -> DecisionCost:
    """The costs of the policy of one run."""
    timed = Timed(ready.policy)
    requests = ready.requests()
    simulate(requests, timed, ready.costs, ready.predictor, prefixes=ready.prefixes)
    decisions, spent_ns = timed.spent
    return DecisionCost(decisions, spent_ns / 1000 / len(requests))


def _read(folder: Path | None) -> dict[tuple[str, str], DecisionCost]:
    if folder is None or not (folder / FILE).exists():
        return {}
    with (folder / FILE).open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        if tuple(rows.fieldnames or ()) != HEAD:
            return {}
        return {
            (row["key"], row["policy"]): DecisionCost(int(row["decisions"]), float(row["us_a_request"])) for row in rows
        }


def _write(folder: Path, costs: Mapping[tuple[str, str], DecisionCost]) -> None:
    """The costs by the key of the run and the policy; those of this arena last."""
    with writing_file(folder / FILE) as stage, stage.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(HEAD)
        rows.writerows((*key, cost.decisions, f"{cost.us_a_request:.3f}") for key, cost in costs.items())
