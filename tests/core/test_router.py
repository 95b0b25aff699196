"""Routers, alone and through the engine."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.core.request import Request
from flowsim.core.router import make_router
from flowsim.core.server import ServerOptions
from flowsim.errors import InputError
from flowsim.policies.fcfs import FCFS
from support.costs import pencil
from support.timelines import replay_exactly


def routed(
    router: str, *rows: tuple[float, int], instances: int = 2, kv_tokens: int = 1 << 20, cost: CostModel | None = None
) -> list[int]:
    cost = cost or pencil()
    requests = [Request(i, at, tokens, 99.0) for i, (at, tokens) in enumerate(rows)]
    server = ServerOptions(instances=instances, router=router, kv_tokens=kv_tokens, block_tokens=1)
    return replay_exactly(requests, FCFS(1), cost, server).ledger.instance


def test_round_robin_takes_turns_whatever_the_load() -> None:
    assert routed("round-robin", (0.0, 9), (0.0, 1), (0.0, 1), (0.0, 1), (5.0, 1), instances=3) == [0, 1, 2, 0, 1]


def test_least_work_counts_predicted_seconds_until_a_request_has_finished() -> None:
    # 9 s go to the first instance; then 1, 3 and 4 s to the second, which has fewer each time until it has 8.
    assert routed("least-work", (0.0, 9), (0.0, 1), (0.5, 3), (0.75, 4), (0.8, 2), (0.9, 1)) == [0, 1, 1, 1, 1, 0]
    # At 6 s the first, all but done, still counts for its whole 9 s; at 10 s both are idle.
    assert routed("least-work", (0.0, 9), (0.0, 4), (6.0, 1), (10.0, 1)) == [0, 1, 1, 0]


def test_rejected_requests_are_no_work() -> None:
    assert routed("least-work", (0.0, 50), (0.0, 2), (0.0, 1), kv_tokens=10) == [0, 0, 1]


def test_ties_go_to_the_lower_index_whatever_came_before() -> None:
    """0.1 + 0.2 - 0.1 - 0.2 is not nothing in floating point; an instance that is idle again has no work."""
    cost = CostModel("tenths", 1, {"down_proj": lambda tokens: tokens / 10}, lambda tokens, context: 0.0)
    rows = [(0.0, 1), (0.0, 2), (0.05, 2), (100.0, 1), (200.0, 1)]
    assert routed("least-work", *rows, cost=cost) == [0, 1, 0, 0, 0]


@pytest.mark.parametrize(("work_ns", "index"), [([3, 1, 2], 1), ([2, 2, 2], 0), ([5, 4, 4], 1)])
def test_least_work_chooses_the_least(work_ns: list[int], index: int) -> None:
    instances: Any = [SimpleNamespace(work_ns=time) for time in work_ns]
    assert make_router("least-work").route(Request(0, 0.0, 1, 1.0), instances) == index


def test_routers_are_made_afresh() -> None:
    instances: Any = [SimpleNamespace(work_ns=0)] * 3
    for _ in range(2):
        router = make_router("round-robin")
        assert [router.route(Request(i, 0.0, 1, 1.0), instances) for i in range(4)] == [0, 1, 2, 0]


def test_an_unknown_router_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match=r"unknown router 'least-wrk'; did you mean 'least-work'\?"):
        make_router("least-wrk")
