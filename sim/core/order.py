"""Orders: the keys by which a policy ranks requests and passes. `flowsim.core.queues` keeps those that wait ranked.

An order says how its key moves with time, and from that follows the cheapest exact queue:

- `Arrival`: first come, first served: the requests as they came;
- `Fixed`: never while a request waits (SJF, EDF): a tree over the ranks;
- `Flipping`: once, at a known time (S-EDF): two such trees and a heap of flip times;
- `Moving`: all the time (least laxity, ageing): a vectorised scan;
- `OnArrival`: never while a request waits, but known only when it arrives, from what the policy knows then (fair
  queueing): a sorted list;
- `Scanned`: as it likes (counters per client): a scan in plain Python.

A key of `Fixed`, `Flipping` and `Moving` is computed for all requests of the trace before they arrive: it may only look
at the request and the time. The state of a policy belongs into `OnArrival` and `Scanned`.

With a prefix cache the tokens of a waiting request change, too; then sorted lists stand in place of the trees.

The smallest key goes first; ties go to the earlier arrival, then the smaller id.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from flowsim.core.moving_queue import MovingQueue
from flowsim.core.passes import Execution
from flowsim.core.queues import (
    ArrivalQueue,
    FixedQueue,
    FlippingQueue,
    Queue,
    ScannedQueue,
    SortedQueue,
    ranked,
)
from flowsim.core.request import Request

Candidate = Request | Execution


class Order(Protocol):
    """How candidates are ranked. An order has no state: `queue` makes the structure that has."""

    def rank(self, candidate: Candidate, now: float) -> Any:
        """A value by which any two candidates compare at this moment; the smaller goes first."""

    def queue(self, requests: Sequence[Request], *, changing: bool = False) -> Queue:
        """An empty queue for any of these requests (all rows of the trace, in order of arrival).

        Args:
            requests: their ranks are computed once.
            changing: whether `tokens` and `predicted_s` of a request may change while it waits, because blocks enter
                and leave a prefix cache (for a change it is taken out and put in again), or its times before it comes,
                because a closed loop sends it.
        """


@dataclass(frozen=True, eq=False)
class Arrival:
    """The order of arrival."""

    def rank(self, candidate: Candidate, now: float) -> Any:
        """(arrival, id)."""
        return candidate.arrival_s, candidate.id

    def queue(self, requests: Sequence[Request], *, changing: bool = False) -> Queue:
        """The requests as they came; a sorted list if they are taken out and put in again."""
        return SortedQueue(lambda request: 0) if changing else ArrivalQueue()


@dataclass(frozen=True, eq=False)
class Fixed:
    """An order whose key never moves while a request waits: `key(candidate)`, smallest first."""

    key: Callable[[Any], Any]

    def rank(self, candidate: Candidate, now: float) -> Any:
        """(key, arrival, id)."""
        return self.key(candidate), candidate.arrival_s, candidate.id

    def queue(self, requests: Sequence[Request], *, changing: bool = False) -> Queue:
        """A tree over the ranks of all requests; a sorted list if they change."""
        return _queue(requests, self.key, changing)


@dataclass(frozen=True, eq=False)
class Flipping:
    """An order whose key moves once: before `flips_at(candidate)` it is `key`, from then on `flipped`.

    Every candidate that has not flipped precedes every one that has.
    """

    key: Callable[[Any], Any]
    flips_at: Callable[[Any], float]
    flipped: Callable[[Any], Any]

    def rank(self, candidate: Candidate, now: float) -> Any:
        """(has it flipped, key, arrival, id)."""
        late = now >= self.flips_at(candidate)
        key = self.flipped(candidate) if late else self.key(candidate)
        return late, key, candidate.arrival_s, candidate.id

    def queue(self, requests: Sequence[Request], *, changing: bool = False) -> Queue:
        """Two queues of a fixed order and a heap of flip times."""
        early, late = (_queue(requests, key, changing) for key in (self.key, self.flipped))
        return FlippingQueue(early, late, self.flips_at)


@dataclass(frozen=True, eq=False)
class Moving:
    """An order whose key moves all the time: `key(candidate, now)`, smallest first.

    `key` gets a candidate, or `Columns` of all that wait: use expressions that work on numbers and on arrays alike.
    """

    key: Callable[[Any, float], Any]

    def rank(self, candidate: Candidate, now: float) -> Any:
        """(key, arrival, id)."""
        return self.key(candidate, now), candidate.arrival_s, candidate.id

    def queue(self, requests: Sequence[Request], *, changing: bool = False) -> Queue:
        """A scan over columns."""
        return MovingQueue(self.key, requests, changing=changing)


@dataclass(frozen=True, eq=False)
class OnArrival:
    """An order whose key is known once a request has arrived: `key(candidate)`, smallest first.

    The key may use the policy's state, such as what `on_arrival` has noted of this request. As long as a request waits
    or its pass is paused, its key must stay the same.
    """

    key: Callable[[Any], Any]

    def rank(self, candidate: Candidate, now: float) -> Any:
        """(key, arrival, id)."""
        return self.key(candidate), candidate.arrival_s, candidate.id

    def queue(self, requests: Sequence[Request], *, changing: bool = False) -> Queue:
        """A sorted list."""
        return SortedQueue(self.key)


@dataclass(frozen=True, eq=False)
class Scanned:
    """An order whose key changes as it likes, with the policy's state too: `key(candidate, now)`, smallest first.

    A decision computes it for every request that waits; while it fills one batch, keys must stay the same.
    """

    key: Callable[[Any, float], Any]

    def rank(self, candidate: Candidate, now: float) -> Any:
        """(key, arrival, id)."""
        return self.key(candidate, now), candidate.arrival_s, candidate.id

    def queue(self, requests: Sequence[Request], *, changing: bool = False) -> Queue:
        """A scan, request by request."""
        return ScannedQueue(self.key)


def _queue(requests: Sequence[Request], key: Callable[[Any], Any], changing: bool) -> Queue:
    return SortedQueue(key) if changing else FixedQueue(ranked(requests, key))
