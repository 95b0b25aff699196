"""The oracle on costs that a pencil follows."""

from __future__ import annotations

import pytest

from flowsim.clairvoyant.oracle import Oracle
from flowsim.core.events import stretches
from flowsim.core.request import Request
from flowsim.core.server import ServerOptions
from support.costs import service
from support.timelines import replay_exactly

ROWS = [(0.0, 10, 30.0), (0.0, 4, 12.0), (0.8, 2, 40.0), (0.8, 3, 4.0)]


@pytest.mark.parametrize(
    ("chosen", "ran"),
    [
        # All by deadline: 3 preempts 1.
        ({0, 1, 2, 3}, [(0, 0.8, (1,), False), (0.8, 3.8, (3,), True), (3.8, 7, (1,), True), (7, 17, (0,), True)]),
        # Without 3, that waits until those that were chosen are through, and is late by then.
        ({0, 1, 2}, [(0, 4, (1,), True), (4, 14, (0,), True), (14, 16, (2,), True), (16, 19, (3,), True)]),
    ],
)
def test_the_chosen_go_first(chosen: set[int], ran: list[tuple[float, float, tuple[int, ...], bool]]) -> None:
    costs, server = service(layers=10), ServerOptions(block_tokens=1)
    oracle = Oracle(frozenset(chosen), batch_tokens=1)
    requests = [Request(id, *row) for id, row in enumerate(ROWS)]
    outcome = replay_exactly(requests, oracle, costs, server, events=True)
    assert outcome.events is not None
    found = [
        (round(began_s, 9), round(ended_s, 9), members, through)
        for began_s, ended_s, members, through in stretches(outcome.events[0])
    ]
    assert found[: len(ran)] == ran
