"""Orders and their queues, against sorting everything anew at every question."""

from __future__ import annotations

from flowsim.core.pass_timeline import Forward, Timeline
from flowsim.core.passes import Execution
from flowsim.core.request import Request
from support.orders import ORDERS


def test_ties_go_to_the_earlier_arrival_then_the_smaller_id() -> None:
    requests = [Request(0, 0.0, 5, 9.0), Request(1, 1.0, 5, 8.0), Request(2, 1.0, 5, 8.0)]
    for order in ORDERS.values():
        assert sorted(reversed(requests), key=lambda r: order.rank(r, 1.0)[-2:]) == requests
    assert min(reversed(requests), key=lambda r: ORDERS["deadline"].rank(r, 0.0)) is requests[0]


def test_executions_are_ranked_like_requests() -> None:
    request = Request(4, 1.0, 10, 20.0, predicted_s=3.0)
    execution = Execution.of(((request, 10),), Timeline([Forward(10, (), 0.0, 1, 3.0, 3.0)], "none"))
    for order in ORDERS.values():
        assert order.rank(execution, 7.0) == order.rank(request, 7.0)
