"""Runs of a policy on one instance where a token takes a second, and the timeline that comes of it."""

from __future__ import annotations

from typing import Any

from flowsim.calibration.costs.predictor import make_predictor
from flowsim.core.events import Stretch, stretches
from flowsim.core.request import Request
from flowsim.core.server import ServerOptions
from flowsim.engine.simulate import Outcome, simulate
from flowsim.policies.registry import load_policy
from support.costs import pencil


def run(policy: Any, *rows: tuple[float, int, float], clients: str = "") -> Outcome:
    """Rows are (arrival, tokens, SLO); a client is one letter for each row."""
    policy = load_policy(policy) if isinstance(policy, str) else policy
    cost, server = pencil(), ServerOptions(block_tokens=1)
    requests = [Request(i, *row, client=clients[i : i + 1]) for i, row in enumerate(rows)]
    return simulate(requests, policy, cost, make_predictor("exact", cost, policy.cut, 8192), server, events=True)


def ran(outcome: Outcome) -> list[Stretch]:
    assert outcome.events is not None
    return stretches(outcome.events[0])
