"""Queues: waiting requests kept in an order, so that nobody sorts them anew at every decision."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush
from itertools import islice
from numbers import Real
from typing import Any, Protocol

from flowsim.core.request import Request
from flowsim.errors import InputError, defined_at

UNBOUNDED = 1 << 62
"""More tokens than any request has."""
ABSENT = UNBOUNDED + 1


class Queue(Protocol):
    """Waiting requests kept in an order."""

    def add(self, request: Request) -> None:
        """Take a request in."""

    def remove(self, request: Request) -> None:
        """Take a request out."""

    def after(self, now: float, last: Request | None, max_tokens: int) -> Request | None:
        """The first request after `last` (None: the first of all) with at most `max_tokens` tokens."""


def ranked(requests: Sequence[Request], key: Callable[[Any], Any]) -> list[Request]:
    """These requests by a key; ties go to the earlier arrival, then the smaller id. InputError: as of `checked`."""
    return sorted(requests, key=lambda request: (checked(key(request), key), request.arrival_s, request.id))


def checked(value: Any, key: Callable[..., Any]) -> Any:
    """The value that the key of an order gave, if values of its kind have an order. InputError: it is no such value."""
    if not (type(value) is float and value == value) and not _has_order(value):
        expected = "a number, a text, or a tuple of them"
        raise InputError(f"the key of an order ({defined_at(key)})", found=value, expected=expected)
    return value


def _has_order(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_has_order, value))
    shape: Any = getattr(value, "shape", ())
    if value is None or isinstance(value, complex) or shape:
        return False
    return bool(value == value)  # not so for NaN


def _is_time(value: Any) -> bool:
    return (type(value) is float or isinstance(value, Real)) and value == value  # not so for NaN


class ArrivalQueue:
    """Requests in the order in which they are taken in, which is that of their arrival."""

    def __init__(self) -> None:
        self._requests: OrderedDict[int, Request] = OrderedDict()
        self._rest: Iterator[Request] | None = None
        """Those after `_last`, which was found last; None once the queue has changed."""
        self._last: Request | None = None

    def add(self, request: Request) -> None:
        """Take a request in."""
        self._requests[request.id] = request
        self._rest = None

    def remove(self, request: Request) -> None:
        """Take a request out."""
        del self._requests[request.id]
        self._rest = None

    def after(self, now: float, last: Request | None, max_tokens: int) -> Request | None:
        """The first request after `last` with at most `max_tokens` tokens."""
        if last is None:
            self._rest = iter(self._requests.values())
        elif self._rest is None or last is not self._last:
            place = last.arrival_s, last.id
            self._rest = (other for other in self._requests.values() if (other.arrival_s, other.id) > place)
        for request in self._rest:
            if request.tokens <= max_tokens:
                self._last = request
                return request
        self._rest = None
        return None


class RankTree:
    """Which ranks are present, as a tree of minima: finds the first one after a rank with few enough tokens.

    Adding, removing and finding take the logarithm of the number of ranks.
    """

    def __init__(self, ranked: Sequence[Request]) -> None:
        self._ranked = ranked
        self._leaves = 1 << max(len(ranked) - 1, 1).bit_length()
        self._least = [ABSENT] * (2 * self._leaves)
        """Fewest tokens below each node; node k has children 2k and 2k + 1, leaves come last."""

    def add(self, rank: int, tokens: int) -> None:
        """Mark a rank present, with this many tokens."""
        least, node = self._least, self._leaves + rank
        while node and least[node] > tokens:
            least[node] = tokens
            node >>= 1

    def remove(self, rank: int) -> None:
        """Mark a rank absent."""
        least, node = self._least, self._leaves + rank
        gone, least[node] = least[node], ABSENT
        node >>= 1
        while node and least[node] == gone:
            left, right = least[2 * node], least[2 * node + 1]
            least[node] = left if left < right else right
            node >>= 1

    def after(self, rank: int, max_tokens: int) -> Request | None:
        """The present request of the smallest rank above `rank` with at most `max_tokens` tokens."""
        least, node = self._least, self._leaves + rank
        if rank < 0:
            node = 1
            if least[1] > max_tokens:
                return None
        else:
            # Climb until a subtree to the right holds one that fits.
            while node & 1 or least[node + 1] > max_tokens:
                node >>= 1
                if node <= 1:
                    return None
            node += 1
        while node < self._leaves:
            node *= 2
            if least[node] > max_tokens:
                node += 1
        return self._ranked[node - self._leaves]


class FixedQueue:
    """A queue whose ranks are known in advance."""

    def __init__(self, ranked: Sequence[Request]) -> None:
        self._rank = _positions(ranked)
        self._tree = RankTree(ranked)

    def add(self, request: Request) -> None:
        """Take a request in."""
        self._tree.add(self._rank[request.id], request.tokens)

    def remove(self, request: Request) -> None:
        """Take a request out."""
        self._tree.remove(self._rank[request.id])

    def after(self, now: float, last: Request | None, max_tokens: int) -> Request | None:
        """The first request after `last` with at most `max_tokens` tokens."""
        return self._tree.after(-1 if last is None else self._rank[last.id], max_tokens)


class SortedQueue:
    """A queue whose ranks are computed when a request is taken in: a sorted list."""

    def __init__(self, key: Callable[[Any], Any]) -> None:
        self._key = key
        self._ranks: list[tuple[Any, float, int]] = []
        self._requests: list[Request] = []
        self._rank_of: dict[int, tuple[Any, float, int]] = {}

    def add(self, request: Request) -> None:
        """Take a request in."""
        self._rank_of[request.id] = rank = self._rank(request)
        place = bisect_left(self._ranks, rank)
        self._ranks.insert(place, rank)
        self._requests.insert(place, request)

    def remove(self, request: Request) -> None:
        """Take a request out."""
        place = bisect_left(self._ranks, self._rank_of.pop(request.id))
        del self._ranks[place], self._requests[place]

    def after(self, now: float, last: Request | None, max_tokens: int) -> Request | None:
        """The first request after `last` with at most `max_tokens` tokens."""
        start = 0 if last is None else bisect_right(self._ranks, self._rank_of.get(last.id) or self._rank(last))
        for request in islice(self._requests, start, None):
            if request.tokens <= max_tokens:
                return request
        return None

    def _rank(self, request: Request) -> tuple[Any, float, int]:
        return checked(self._key(request), self._key), request.arrival_s, request.id


class FlippingQueue:
    """Requests that have not flipped, requests that have, and when each of the former will."""

    def __init__(self, early: Queue, late: Queue, flips_at: Callable[[Any], float]) -> None:
        self._early, self._late = early, late
        self._flips_at = flips_at
        self._flips: list[tuple[float, int, Request]] = []
        self._flip_s: dict[int, float] = {}
        """When each of the early ones flips; any other time that the heap has for a request is out of date."""

    def add(self, request: Request) -> None:
        """Take a request in."""
        flip_s = self._flips_at(request)
        if not _is_time(flip_s):
            where = f"flips_at of an order ({defined_at(self._flips_at)})"
            raise InputError(where, found=flip_s, expected="a time in seconds")
        self._flip_s[request.id] = flip_s
        self._early.add(request)
        heappush(self._flips, (flip_s, request.id, request))

    def remove(self, request: Request) -> None:
        """Take a request out."""
        early = self._flip_s.pop(request.id, None) is not None
        (self._early if early else self._late).remove(request)

    def after(self, now: float, last: Request | None, max_tokens: int) -> Request | None:
        """The first request after `last` with at most `max_tokens` tokens; flips what is due first."""
        while self._flips and self._flips[0][0] <= now:
            self._flip(*heappop(self._flips))
        if last is not None and now >= self._flips_at(last):
            return self._late.after(now, last, max_tokens)
        return self._early.after(now, last, max_tokens) or self._late.after(now, None, max_tokens)

    def _flip(self, flip_s: float, id: int, request: Request) -> None:
        if self._flip_s.get(id) == flip_s:
            del self._flip_s[id]
            self._early.remove(request)
            self._late.add(request)


class ScannedQueue:
    """A queue whose keys are computed anew whenever the first of all is asked for, one request after another."""

    def __init__(self, key: Callable[[Any, float], Any]) -> None:
        self._key = key
        self._requests: dict[int, Request] = {}
        self._ranked: list[Request] | None = None
        """All, in the order of the decision at `_now`, once more than the first was asked for."""
        self._now = 0.0

    def add(self, request: Request) -> None:
        """Take a request in."""
        self._requests[request.id] = request
        self._ranked = None

    def remove(self, request: Request) -> None:
        """Take a request out."""
        del self._requests[request.id]
        self._ranked = None

    def after(self, now: float, last: Request | None, max_tokens: int) -> Request | None:
        """The first request after `last` with at most `max_tokens` tokens."""

        def rank(request: Request) -> tuple[Any, float, int]:
            return self._key(request, now), request.arrival_s, request.id

        if last is None:
            self._ranked = None
            fitting = (request for request in self._requests.values() if request.tokens <= max_tokens)
            best = min(fitting, key=rank, default=None)
            if best is not None:
                checked(self._key(best, now), self._key)
            return best
        if self._ranked is None or now != self._now:
            self._ranked, self._now = sorted(self._requests.values(), key=rank), now
        start = bisect_right(self._ranked, rank(last), key=rank)
        return next((request for request in islice(self._ranked, start, None) if request.tokens <= max_tokens), None)


def _positions(ranked: Sequence[Request]) -> list[int]:
    positions = [0] * len(ranked)
    for position, request in enumerate(ranked):
        positions[request.id] = position
    return positions
