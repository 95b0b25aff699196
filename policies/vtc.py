"""Virtual token counter: the client that has been served least goes next (Sheng et al., arXiv 2401.00588)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from flowsim.core.operators import Cut
from flowsim.core.passes import Pass
from flowsim.core.policy import View, Wake
from flowsim.core.request import Request
from flowsim.policies.parts.batching import check_positive


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
    latest: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_positive(self, "batch_tokens", "batch_requests")

    def on_arrival(self, request: Request, view: View) -> None:
        """Lift the counter of a client of which nothing waits."""
        clients = {waiting.client for waiting in view.waiting}
        if request.client not in clients:
            least = min((self.served.get(client, 0) for client in clients or self.latest), default=0)
            self.served[request.client] = max(self.served.get(request.client, 0), least)

    def choose(self, view: View) -> Pass | None:
        """Requests of the least served clients, up to the first that does not fit."""
        queues: dict[str, list[Request]] = {}
        for request in reversed(list(view.waiting)):
            queues.setdefault(request.client, []).append(request)
        batch: list[Request] = []
        room, free = self.batch_tokens, view.free_tokens
        while queues and len(batch) < self.batch_requests:
            request = min((queue[-1] for queue in queues.values()), key=self._rank)
            if request.kv_tokens > free or (batch and request.tokens > room):
                break
            batch.append(queues[request.client].pop())
            if not queues[request.client]:
                del queues[request.client]
            self.served[request.client] += request.input_length
            self.latest[:] = [request.client]
            room, free = room - request.tokens, free - request.kv_tokens
        return Pass.whole(*batch) if batch else None

    def _rank(self, request: Request) -> tuple[int, float, int]:
        return self.served[request.client], request.arrival_s, request.id
