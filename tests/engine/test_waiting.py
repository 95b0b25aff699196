"""The requests that wait on an instance: the same in every order that a policy asks for."""

from __future__ import annotations

import pytest

from flowsim.core.order import Fixed, Moving
from flowsim.core.queues import UNBOUNDED, Queue
from flowsim.core.request import Request, reuse
from flowsim.engine.waiting import MOST_ORDERS, Waiting
from flowsim.errors import InputError

SHORTEST = Fixed(lambda candidate: candidate.tokens)
EARLIEST = Fixed(lambda candidate: candidate.deadline_s)
LAXEST = Moving(lambda candidate, now: candidate.deadline_s - now - candidate.predicted_s)


def three() -> list[Request]:
    return [Request(0, 0.0, 5, 9.0), Request(1, 1.0, 3, 1.0), Request(2, 2.0, 4, 5.0)]


def ids(queue: Queue) -> list[int]:
    """All that a queue holds, in its order."""
    found: list[int] = []
    last = queue.after(0.0, None, UNBOUNDED)
    while last is not None:
        found.append(last.id)
        last = queue.after(0.0, last, UNBOUNDED)
    return found


def test_every_order_holds_all_that_wait_whenever_it_was_first_asked_for() -> None:
    requests = three()
    waiting = Waiting()
    waiting.add(requests[0])
    assert ids(waiting.queue(SHORTEST)) == [0]
    waiting.add(requests[1])
    waiting.add(requests[2])
    assert list(waiting.requests) == [0, 1, 2]
    assert ids(waiting.queue(SHORTEST)) == [1, 2, 0]
    assert ids(waiting.queue(EARLIEST)) == [1, 2, 0]
    assert ids(waiting.queue(LAXEST)) == [1, 2, 0]
    assert waiting.queue(EARLIEST) is waiting.queue(EARLIEST)


def test_what_leaves_leaves_every_order() -> None:
    requests = three()
    waiting = Waiting()
    for request in requests:
        waiting.add(request)
    queue = waiting.queue(SHORTEST)
    assert waiting.remove(requests[1])
    assert not waiting.remove(requests[1])
    assert ids(queue) == ids(waiting.queue(EARLIEST)) == [2, 0]


def test_a_request_that_changes_is_ranked_anew() -> None:
    requests = three()
    waiting = Waiting(by_arrival=False)
    for request in requests:
        waiting.add(request)
    assert ids(waiting.queue(SHORTEST)) == [1, 2, 0]
    waiting.change(requests[0], lambda request: reuse(request, 4))
    assert ids(waiting.queue(SHORTEST)) == [0, 1, 2]


def test_an_order_made_at_every_decision_is_refused_at_the_second() -> None:
    waiting = Waiting()
    waiting.queue(SHORTEST)
    waiting.queue(Fixed(lambda candidate: 0))
    with pytest.raises(InputError, match=r"^made an order anew; expected orders made once, outside choose$"):
        waiting.queue(Fixed(lambda candidate: 0))


def test_so_many_orders_are_refused() -> None:
    waiting = Waiting()
    held = [Fixed(lambda candidate: 0) for _ in range(MOST_ORDERS)]
    for order in held:
        waiting.queue(order)
    with pytest.raises(InputError, match="this is the 17th; expected orders made once, outside choose"):
        waiting.queue(Fixed(lambda candidate: 0))
