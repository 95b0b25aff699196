"""What it costs a policy to decide: CPU time, in Python on this machine, while a queue is long."""

from __future__ import annotations

import copy
import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import thread_time_ns
from typing import Any, NamedTuple

from flowsim.arena.grid import Cell
from flowsim.core.passes import Decision, Execution, Pass
from flowsim.core.policy import Policy, View
from flowsim.engine.simulate import simulate
from flowsim.io.folders import writing_file
from flowsim.runs.prepare import Prepared
from flowsim.studies.point import Point, prepared
from flowsim.studies.study import Study

FILE = "decision_costs.csv"
HOOKS = ("on_arrival", "on_completion")


class DecisionCost(NamedTuple):
    """What deciding costs a policy.

    Attributes:
        decisions: how often it decided.
        mean_us: microseconds of CPU of a decision.
    """

    decisions: int
    mean_us: float


class Timed:
    """A policy of which the time of each decision is added up in `spent`: decisions and nanoseconds."""

    def __init__(self, policy: Policy, spent: list[int]) -> None:
        self._policy, self._spent = policy, spent
        self.cut, self.wake = policy.cut, policy.wake

    def __deepcopy__(self, memo: dict[int, Any]) -> Timed:
        return Timed(copy.deepcopy(self._policy, memo), self._spent)

    def __getattr__(self, name: str) -> Any:
        if name in HOOKS:
            return getattr(self._policy, name)
        raise AttributeError(name)

    def choose(self, view: View) -> Pass | Execution | Decision | None:
        """What the policy chooses."""
        begin = thread_time_ns()
        chosen = self._policy.choose(view)
        self._spent[0] += 1
        self._spent[1] += thread_time_ns() - begin
        return chosen


def decision_costs(
    study: Study, cells: Sequence[Cell], policies: Sequence[str], folder: Path | None
) -> dict[str, DecisionCost]:
    """The costs of each policy in the cell of the highest load, the first of its traffic and SLO mixes.

    They are measured once: the folder keeps them.
    """
    known = _read(folder)
    cell = max(cells, key=lambda cell: cell.load)  # the first of equals
    new = [name for name in policies if name not in known]
    for name in new:
        known[name] = decision_cost(prepared(Point.of({**study.base, **cell.options, "policy": name}), study.root))
    if new and folder is not None and folder.exists():
        _write(folder, known)
    return {name: known[name] for name in policies}


def decision_cost(ready: Prepared) -> DecisionCost:
    """The costs of the policy of one run."""
    spent = [0, 0]
    timed = Timed(ready.policy, spent)
    requests, server = ready.requests(), ready.options.server
    simulate(requests, timed, ready.costs, ready.predictor, server, prefixes=ready.prefixes)
    return DecisionCost(spent[0], spent[1] / max(spent[0], 1) / 1000)


def _read(folder: Path | None) -> dict[str, DecisionCost]:
    if folder is None or not (folder / FILE).exists():
        return {}
    with (folder / FILE).open(encoding="utf-8", newline="") as file:
        return {
            row["policy"]: DecisionCost(int(row["decisions"]), float(row["mean_us"])) for row in csv.DictReader(file)
        }


def _write(folder: Path, costs: Mapping[str, DecisionCost]) -> None:
    with writing_file(folder / FILE) as stage, stage.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("policy", "decisions", "mean_us"))
        rows.writerows((name, cost.decisions, f"{cost.mean_us:.3f}") for name, cost in costs.items())
