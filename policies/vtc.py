"""Fairness among clients: the virtual token counter, and deficits with the longest cached prefix first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from flowsim.core.operators import Cut
from flowsim.core.passes import Pass
from flowsim.core.policy import View, Wake
from flowsim.core.request import Request
from flowsim.policies.parts.batching import check_positive
from flowsim.policies.parts.orders import MOST_CACHED


@dataclass(frozen=True)
class VTC:
    """The client with the fewest tokens served goes first, its own requests in order of arrival.

    After arXiv 2401.00588, algorithm 2, for prefill alone: a request counts `input_length` tokens for its client as it
    is launched; tokens of answers, which the paper weighs too, do not occur. A client that comes back gets a counter no
    less than the least of those that wait; if nobody waits, than that of the client launched last. Ties go to the
    earlier arrival. The first request that does not fit ends a batch; a longer prompt than `batch_tokens` runs alone.

    Attributes:
        batch_tokens: most tokens of a batch.
        batch_requests: most requests of a batch.
    """

    cut: ClassVar[Cut] = "none"
    wake: ClassVar[Wake] = "events"
    batch_tokens: int = 8192
    batch_requests: int = 256
    served: dict[str, int] = field(default_factory=dict, init=False, repr=False, compare=False)
    queues: dict[str, deque[Request]] = field(default_factory=dict, init=False, repr=False, compare=False)
    latest: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_positive(self, "batch_tokens", "batch_requests")

    def on_arrival(self, request: Request, view: View) -> None:
        """Lift the counter of a client of which nothing waits."""
        if request.client not in self.queues:
            least = min((self.served.get(client, 0) for client in self.queues or self.latest), default=0)
            self.served[request.client] = max(self.served.get(request.client, 0), least)
        self.queues.setdefault(request.client, deque()).append(request)

    def choose(self, view: View) -> Pass | None:
        """Requests of the least served clients, up to the first that does not fit."""
        batch: list[Request] = []
        room, free = self.batch_tokens, view.free_tokens
        while self.queues and len(batch) < self.batch_requests:
            request = min((queue[0] for queue in self.queues.values()), key=self._rank)
            if request.kv_tokens > free or (batch and request.tokens > room):
                break
            batch.append(self.queues[request.client].popleft())
            if not self.queues[request.client]:
                del self.queues[request.client]
            self.served[request.client] += request.input_length
            self.latest[:] = [request.client]
            room, free = room - request.tokens, free - request.kv_tokens
        return Pass.whole(*batch) if batch else None

    def _rank(self, request: Request) -> tuple[int, float, int]:
        return self.served[request.client], request.arrival_s, request.id


@dataclass(frozen=True)
class DLPM:
    """The most cached tokens first, of clients with a deficit left; when none has one, each gets another quantum.

    After DLPM (arXiv 2501.14312); read was a public implementation for SGLang. Requests go by cached tokens, then by
    arrival, from clients whose counter is positive; each is charged the tokens that it computes, at its launch. When
    nobody who waits has a positive counter, every counter that is not gets `quantum` more, again and again. Tokens of
    answers, which are charged too, do not occur; the quantum given is flowsim's. Without a prefix cache it is a round
    robin of deficits. The first request that does not fit ends a batch; a longer prompt than `batch_tokens` runs alone.

    Attributes:
        quantum: tokens that a client gets when all have used theirs up.
        batch_tokens: most tokens of a batch.
        batch_requests: most requests of a batch.
    """

    cut: ClassVar[Cut] = "none"
    wake: ClassVar[Wake] = "events"
    quantum: int = 4096
    batch_tokens: int = 8192
    batch_requests: int = 256
    left: dict[str, int] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_positive(self, "quantum", "batch_tokens", "batch_requests")

    def on_arrival(self, request: Request, view: View) -> None:
        """Know its client."""
        self.left.setdefault(request.client, 0)

    def choose(self, view: View) -> Pass | None:
        """Requests of clients with a deficit left, up to the first that does not fit."""
        batch: list[Request] = []
        room, free = self.batch_tokens, view.free_tokens
        for request in self._admitted(view):
            if request.kv_tokens > free or (batch and request.tokens > room):
                break
            batch.append(request)
            self.left[request.client] -= request.tokens
            if len(batch) == self.batch_requests:
                break
            room, free = room - request.tokens, free - request.kv_tokens
        return Pass.whole(*batch) if batch else None

    def _admitted(self, view: View) -> Iterator[Request]:
        """Those that wait, in the order in which they are admitted; whoever takes one charges its client."""
        queue = view.ranked(MOST_CACHED)
        while queue:
            later: list[Request] = []
            for request in queue:
                if self.left[request.client] > 0:
                    yield request
                else:
                    later.append(request)
            queue = later
            clients = {request.client for request in queue}
            while clients and all(self.left[client] <= 0 for client in clients):
                self._refill()

    def _refill(self) -> None:
        for client, left in self.left.items():
            self.left[client] = left + self.quantum if left <= 0 else left
