"""Runs of a policy on one instance where a token takes a second, and the timeline that comes of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from flowsim.calibration.costs.predictor import make_predictor
from flowsim.core.events import Stretch, stretches
from flowsim.core.prefix_cache import Prefixes, Retention
from flowsim.core.request import Request
from flowsim.core.server import ServerOptions
from flowsim.engine.simulate import Outcome, simulate
from flowsim.policies.registry import load_policy
from support.costs import pencil


def run(
    policy: Any,
    *rows: tuple[float, int, float],
    clients: str = "",
    priorities: Sequence[int] = (),
    blocks: Sequence[Sequence[int]] = (),
) -> Outcome:
    """Rows are (arrival, tokens, SLO); a client is one letter for each row. With blocks of a token there is a cache."""
    policy = load_policy(policy) if isinstance(policy, str) else policy
    cost, server = pencil(), ServerOptions(block_tokens=1)
    requests = [
        Request(
            i,
            *row,
            client=clients[i : i + 1],
            priority=priorities[i] if priorities else 0,
            blocks=blocks[i] if blocks else (),
        )
        for i, row in enumerate(rows)
    ]
    prefixes = Prefixes(Retention(math.inf, in_memory=False), 1) if blocks else None
    predictor = make_predictor("exact", cost, policy.cut, 8192)
    return simulate(requests, policy, cost, predictor, server, prefixes=prefixes, events=True)


def ran(outcome: Outcome) -> list[Stretch]:
    assert outcome.events is not None
    return stretches(outcome.events[0])
