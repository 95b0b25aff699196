"""Orders: the keys by which a policy ranks requests and passes. `flowsim.core.queues` keeps those that wait ranked.

An order says how its key moves with time, and from that follows the cheapest exact queue:

- `Arrival`: first come, first served: the requests as they came;
- `Fixed`: never while a request waits (SJF, EDF, fair queueing): a sorted list;
- `Flipping`: once, at a known time (S-EDF): two such lists and a heap of flip times;
- `Moving`: all the time (least laxity, ageing): a vectorised scan;
- `Scanned`: as it likes (counters per client): a scan in plain Python.

A key may use the state of its policy too: that of `Fixed` and `Flipping` what `on_arrival` has noted of the request.

A queue holds what waits, and nothing of other requests: instances share those of a trace. With a prefix cache the
tokens of a waiting request change, too; for a change it is taken out and put in again.

The smallest key goes first; ties go to the earlier arrival, then the smaller id.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from flowsim.core.moving_queue import MovingQueue
from flowsim.core.passes import Execution
from flowsim.core.queues import (
    ArrivalQueue,
    FlippingQueue,
    Queue,
    ScannedQueue,
    SortedQueue,
)
from flowsim.core.request import Request

Candidate = Request | Execution


class Order(Protocol):
    """How candidates are ranked. An order has no state: `queue` makes the structure that has."""

    def rank(self, candidate: Candidate, now: float) -> Any:
        """A value by which any two candidates compare at this moment; the smaller goes first."""

    def queue(self, *, by_arrival: bool = True) -> Queue:
        """An empty queue.

        Args:
            by_arrival: whether requests are taken in by arrival, then id: not so if one is taken out for a change and
                put in again, or if a closed loop sends them.
        """


@dataclass(frozen=True, eq=False)
class Arrival:
    """The order of arrival."""

    def rank(self, candidate: Candidate, now: float) -> Any:
        """(arrival, id)."""
        return candidate.arrival_s, candidate.id

    def queue(self, *, by_arrival: bool = True) -> Queue:
        """The requests as they came, or a sorted list."""
        return ArrivalQueue() if by_arrival else SortedQueue(lambda request: 0)


@dataclass(frozen=True, eq=False)
class Fixed:
    """An order whose key never moves: `key(candidate)`, smallest first.

    It is computed when a request has arrived, and may use the policy's state, such as what `on_arrival` has noted of
    this request. As long as a request waits or its pass is paused, its key must stay the same.
    """

    key: Callable[[Any], Any]

    def rank(self, candidate: Candidate, now: float) -> Any:
        """(key, arrival, id)."""
        return self.key(candidate), candidate.arrival_s, candidate.id

    def queue(self, *, by_arrival: bool = True) -> Queue:
        """A sorted list."""
        return SortedQueue(self.key)


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

    def queue(self, *, by_arrival: bool = True) -> Queue:
        """Two sorted lists and a heap of flip times."""
        return FlippingQueue(SortedQueue(self.key), SortedQueue(self.flipped), self.flips_at)


@dataclass(frozen=True, eq=False)
class Moving:
    """An order whose key moves all the time: `key(candidate, now)`, smallest first.

    `key` gets a candidate, or `Columns` of all that wait: use expressions that work on numbers and on arrays alike.
    """

    key: Callable[[Any, float], Any]

    def rank(self, candidate: Candidate, now: float) -> Any:
        """(key, arrival, id)."""
        return self.key(candidate, now), candidate.arrival_s, candidate.id

    def queue(self, *, by_arrival: bool = True) -> Queue:
        """A scan over columns."""
        return MovingQueue(self.key)


@dataclass(frozen=True, eq=False)
class Scanned:
    """An order whose key changes as it likes, with the policy's state too: `key(candidate, now)`, smallest first.

    A decision computes it for every request that waits; while it fills one batch, keys must stay the same.
    """

    key: Callable[[Any, float], Any]

    def rank(self, candidate: Candidate, now: float) -> Any:
        """(key, arrival, id)."""
        return self.key(candidate, now), candidate.arrival_s, candidate.id

    def queue(self, *, by_arrival: bool = True) -> Queue:
        """A scan, request by request."""
        return ScannedQueue(self.key)
