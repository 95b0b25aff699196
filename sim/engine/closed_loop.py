"""A closed loop: a fixed number of clients, each of which sends the next request when its last one is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, islice
from operator import attrgetter

import simpy
from msgspec.structs import force_setattr

from flowsim.core.request import Request


class ClosedLoop:
    """Sends the requests of a trace in order, `concurrency` of them outstanding.

    A request is outstanding from its send until its client has the last token, or knows that it was rejected. So that
    no client knows more than the server, the next is not sent before the scheduler has heard of the completion.

    Args:
        env: in which it happens.
        requests: those of the trace, as if all were sent at second 0; each gets its times when it is sent.
        concurrency: how many are outstanding.
        return_s: seconds from a first token, or a rejection, until the client has it.
        decode_s: seconds from the first token of each request to its last; not simulated.

    Attributes:
        sent_s: when each request so far was sent, seconds, in order.
    """

    def __init__(
        self,
        env: simpy.Environment,
        requests: Sequence[Request],
        concurrency: int,
        return_s: float,
        decode_s: Sequence[float],
    ) -> None:
        self.sent_s: list[float] = []
        self._env = env
        self._coming: Iterator[Request] = iter(requests)
        self._concurrency, self._return_s, self._decode_s = concurrency, return_s, decode_s
        self._route: Callable[[Request], None]

    def start(self, route: Callable[[Request], None]) -> None:
        """Send the first requests; `route` hands each to its instance when it arrives."""
        self._route = route
        self._send_at(0.0, self._concurrency)

    def finished(self, ids: Sequence[int], first_token_s: float) -> None:
        """These requests had their first token at this time."""
        for decode_s, clients in Counter(self._decode_s[id] for id in ids).items():
            self._send_at(first_token_s + self._return_s + decode_s, clients)

    def rejected(self, now: float) -> None:
        """A request was rejected."""
        self._send_at(now + self._return_s, 1)

    def _send_at(self, time_s: float, clients: int) -> None:
        waits = self._env.timeout(max(time_s - self._env.now, 0.0))
        waits.callbacks.append(lambda _: self._send(clients))

    def _send(self, clients: int) -> None:
        """Send the next requests, one for each of these clients."""
        now = self._env.now
        sent = list(islice(self._coming, clients))
        for request in sent:
            force_setattr(request, "arrival_s", now + request.arrival_s)
            force_setattr(request, "sent_s", now)
            force_setattr(request, "deadline_s", now + request.slo_s)
            self.sent_s.append(now)
        for arrival_s, together in groupby(sorted(sent, key=attrgetter("arrival_s")), attrgetter("arrival_s")):
            if arrival_s > now:
                self._env.timeout(arrival_s - now, list(together)).callbacks.append(
                    lambda event: self._arrive(event.value)
                )
            else:
                self._arrive(together)

    def _arrive(self, requests: Iterator[Request] | Sequence[Request]) -> None:
        for request in requests:
            self._route(request)
