"""What one decision costs under each policy as its queue grows, relative to `fcfs` with ten waiting."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
from rich.console import Console

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.pass_costs import PassCosts
from flowsim.calibration.costs.predictor import make_predictor
from flowsim.core.passes import Decision, Pass
from flowsim.core.policy import AroundPolicy, Policy
from flowsim.core.request import Request
from flowsim.core.server import ServerOptions
from flowsim.engine.simulate import simulate
from flowsim.policies.catalogue import TABLE
from flowsim.policies.registry import load_policy
from flowsim.runs.costs import load_cost

WAITING = (10, 100, 1000, 10_000)
DECISIONS, RUNS = 10, 5


class Timed(AroundPolicy):
    """A policy whose first decisions are timed; then it rejects what still waits.

    Attributes:
        spent_s: CPU seconds of each, with those of the completions that it heard since the one before, but for the
            first: it also makes the queue.
        arrivals_s: CPU seconds in which it heard of each arrival.
    """

    def __init__(self, policy: Policy, decisions: int) -> None:
        super().__init__(policy)
        self._left = decisions + 1
        self._heard_s = 0.0
        self.spent_s: list[float] = []
        self.arrivals_s: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return partial(self._hear, name, super().__getattr__(name))

    def _hear(self, name: str, hook: Callable[..., object], *arguments: object) -> None:
        begin_s = time.process_time()
        hook(*arguments)
        took_s = time.process_time() - begin_s
        if name == "on_arrival":
            self.arrivals_s.append(took_s)
        else:
            self._heard_s += took_s

    def choose(self, view: Any) -> Any:
        """What the policy chooses; afterwards, what has begun, one after another."""
        if not self._left:
            begun = [*view.paused, *(Pass.whole(request) for request in view.started)]
            return Decision(view.running or next(iter(begun), None), tuple(view.waiting))
        begin_s = time.process_time()
        choice = self.policy.choose(view)
        self.spent_s.append(time.process_time() - begin_s + self._heard_s)
        self._left, self._heard_s = self._left - 1, 0.0
        return choice


def decision_s(policy: Policy, waiting: int, decisions: int = DECISIONS, runs: int = RUNS) -> float:
    """Median CPU seconds of a decision and an arrival while this many requests wait, all of which can be in time."""
    costs = PassCosts(_cost(), ServerOptions(), policy.cut)
    predictor = make_predictor("cubic", costs)
    spent_s: list[float] = []
    arrivals_s = [0.0]
    for _ in range(runs):
        outcome = simulate(_requests(waiting + decisions // 2), Timed(policy, decisions), costs, predictor)
        (timed,) = outcome.policies
        assert isinstance(timed, Timed)
        spent_s += timed.spent_s[1:]
        arrivals_s += timed.arrivals_s[-decisions:]
    return statistics.median(spent_s) + statistics.median(arrivals_s)


@cache
def _cost() -> CostModel:
    return load_cost(None)


def _requests(number: int) -> list[Request]:
    """Prompts of 4000 to 8000 tokens, of which no two fit a batch, that arrive together from twenty clients."""
    rng = np.random.default_rng(1)
    tokens, slos = rng.integers(4097, 8000, number).tolist(), (rng.uniform(1, 2, number) * number).tolist()
    return [
        Request(id, 0.0, tokens[id], slos[id], client=str(id % 20), priority=id % 3, output_length=100)
        for id in range(number)
    ]


def report(waiting: Sequence[int] = WAITING, decisions: int = DECISIONS, runs: int = RUNS) -> None:
    """Print the table, in Markdown."""
    spent_s = {name: [decision_s(load_policy(name), number, decisions, runs) for number in waiting] for name in TABLE}
    unit_s = spent_s["fcfs"][0]
    console = Console(width=140)
    console.print(f"| policy | {' | '.join(f'{number:,}' for number in waiting)} |")
    console.print(f"|---|{'--:|' * len(waiting)}")
    for name, row in spent_s.items():
        console.print(f"| `{name}` | {' | '.join(f'{seconds / unit_s:,.1f}' for seconds in row)} |")
    console.print(f"1.0 is {unit_s * 1e6:.1f} microseconds of CPU.")
