"""The requests that wait on an instance, in every order in which its policy asks for them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from weakref import ref

from flowsim.core.order import Order
from flowsim.core.queues import Queue
from flowsim.core.request import Request
from flowsim.errors import InputError

MOST_ORDERS = 16


class Waiting:
    """Requests that no pass has computed yet.

    Attributes:
        requests: by id, in order of arrival.

    Args:
        by_arrival: whether they are taken in by arrival, then id, and never `change`.
    """

    def __init__(self, *, by_arrival: bool = True) -> None:
        self.requests: OrderedDict[int, Request] = OrderedDict()
        self._by_arrival = by_arrival
        self._queues: dict[Order, Queue] = {}

    def add(self, request: Request) -> None:
        """Take a request in. Raises what the policy's orders raise."""
        self.requests[request.id] = request
        for queue in self._queues.values():
            queue.add(request)

    def remove(self, request: Request) -> bool:
        """Take a request out; False if it does not wait here."""
        if self.requests.pop(request.id, None) is None:
            return False
        for queue in self._queues.values():
            queue.remove(request)
        return True

    def change(self, request: Request, change: Callable[[Request], None]) -> None:
        """Change a request that waits here, and rank it anew in every order."""
        for queue in self._queues.values():
            queue.remove(request)
        change(request)
        for queue in self._queues.values():
            queue.add(request)

    def queue(self, order: Order) -> Queue:
        """The waiting requests in this order; the queue is made when a policy first asks for the order."""
        queue = self._queues.get(order)
        return self._new_queue(order) if queue is None else queue

    def _new_queue(self, order: Order) -> Queue:
        if self._is_one_forgotten():
            raise InputError("", "made an order anew", expected="orders made once, outside choose")
        if len(self._queues) == MOST_ORDERS:
            raise InputError("orders", f"this is the {MOST_ORDERS + 1}th", expected="orders made once, outside choose")
        queue = self._queues[order] = order.queue(by_arrival=self._by_arrival)
        for request in self.requests.values():
            queue.add(request)
        return queue

    def _is_one_forgotten(self) -> bool:
        """Whether the policy has dropped an order that it asked for before."""
        held, self._queues = self._queues, {}
        known = [(ref(order), queue) for order, queue in held.items()]
        held.clear()
        self._queues = {order: queue for held_by, queue in known if (order := held_by()) is not None}
        return len(self._queues) < len(known)
