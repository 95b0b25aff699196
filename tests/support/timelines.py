"""Runs on one instance whose costs a pencil follows, and the timelines that come of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.pass_costs import PassCosts
from flowsim.calibration.costs.predictor import make_predictor
from flowsim.core.events import Stretch, stretches
from flowsim.core.prefix_cache import Prefixes, Retention
from flowsim.core.request import Request
from flowsim.core.server import ServerOptions
from flowsim.engine.kv import taken_tokens
from flowsim.engine.simulate import Outcome, simulate
from flowsim.policies.registry import load_policy
from support.costs import pencil

Row = tuple[float, int, float]
"""Arrival, tokens, SLO."""


def run(policy: Any, *rows: Row, **more: Any) -> Outcome:
    """What a policy, or a text that names one, makes of these rows where a token takes a second."""
    return simulated(load_policy(policy) if isinstance(policy, str) else policy, pencil(), *rows, **more)


def simulated(
    policy: Any,
    cost: CostModel,
    *rows: Row,
    clients: str = "",
    priorities: Sequence[int] = (),
    blocks: Sequence[Sequence[int]] = (),
    until_s: float | None = None,
    **limits: Any,
) -> Outcome:
    """What a policy makes of these rows, events kept. A client is one letter per row; blocks of a token are cached."""
    server = ServerOptions(**{"block_tokens": 1, **limits})
    requests = [
        Request(
            i,
            *row,
            kv_tokens=taken_tokens(row[1], server.block_tokens),
            client=clients[i : i + 1],
            priority=priorities[i] if priorities else 0,
            blocks=blocks[i] if blocks else (),
        )
        for i, row in enumerate(rows)
    ]
    prefixes = Prefixes(Retention(math.inf, in_memory=False), 1) if blocks else None
    return replay_exactly(requests, policy, cost, server, prefixes=prefixes, until_s=until_s, events=True)


def replay_exactly(
    requests: list[Request], policy: Any, cost: CostModel, server: ServerOptions | None = None, **more: Any
) -> Outcome:
    """What `simulate` makes of these requests if predictions are exact."""
    costs = PassCosts(cost, server or ServerOptions(), policy.cut)
    return simulate(requests, policy, costs, make_predictor("exact", costs), **more)


def ran(outcome: Outcome) -> list[Stretch]:
    """The stretches of execution on the only instance."""
    assert outcome.events is not None
    return stretches(outcome.events[0])


URGENT = [(0.0, 10, 1000.0), (3.0, 1, 10.0)]
"""Ten patient tokens, and an urgent one that arrives 3 s later."""


@dataclass(frozen=True)
class Chooses:
    """A policy that chooses what a function of the view says."""

    choice: Callable[[Any], Any]
    cut: str = "operator"
    wake: str = "events"

    def choose(self, view: Any) -> Any:
        return self.choice(view)
