"""Queues: waiting requests kept in an order, so that nobody sorts them anew at every decision."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from heapq import heappop, heappush
from itertools import chain, islice
from numbers import Real
from typing import Any, Protocol

from flowsim.core.request import Request
from flowsim.errors import InputError, defined_at

UNBOUNDED = 1 << 62
"""More tokens than any request has."""
ABSENT = UNBOUNDED + 1
MOST_IN_BLOCK = 512

Rank = tuple[Any, float, int, Request]
"""The key of a request, then what settles ties, then itself, which is never compared."""


class Queue(Protocol):
    """Waiting requests kept in an order."""

    def add(self, request: Request) -> None:
        """Take a request in."""

    def remove(self, request: Request) -> None:
        """Take a request out."""

    def after(self, now: float, last: Request | None, max_tokens: int) -> Request | None:
        """The first request after `last` (None: the first of all) with at most `max_tokens` tokens."""

    def ranked(self, now: float) -> Iterable[Request]:
        """All of them in order, until the queue changes."""


def checked(value: Any, key: Callable[..., Any]) -> Any:
    """The value that the key of an order gave, if values of its kind have an order. InputError: they have none."""
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

    def ranked(self, now: float) -> Iterable[Request]:
        """All of them in order."""
        return self._requests.values()


class SortedQueue:
    """A queue whose ranks are computed when a request is taken in: sorted blocks, of each the fewest tokens in it.

    Taking in, taking out and finding look at one block, and finding also at the fewest tokens of others.
    """

    def __init__(self, key: Callable[[Any], Any]) -> None:
        self._key = key
        self._rank_of: dict[int, Rank] = {}
        self._blocks: list[list[Rank]] = [[]]
        self._firsts: list[Rank | tuple[()]] = [()]
        """Each block begins here, or later."""
        self._fewest = [ABSENT]
        """No request of the block has fewer tokens."""

    def add(self, request: Request) -> None:
        """Take a request in."""
        self._rank_of[request.id] = rank = self._rank(request)
        number = bisect_right(self._firsts, rank) - 1
        block = self._blocks[number]
        insort(block, rank)
        if request.tokens < self._fewest[number]:
            self._fewest[number] = request.tokens
        if len(block) > MOST_IN_BLOCK:
            self._split(number)

    def remove(self, request: Request) -> None:
        """Take a request out."""
        rank = self._rank_of.pop(request.id)
        number = bisect_right(self._firsts, rank) - 1
        block = self._blocks[number]
        del block[bisect_left(block, rank)]
        if not block and number:
            del self._blocks[number], self._firsts[number], self._fewest[number]

    def after(self, now: float, last: Request | None, max_tokens: int) -> Request | None:
        """The first request after `last` with at most `max_tokens` tokens."""
        first = start = 0
        if last is not None:
            rank = self._rank_of.get(last.id) or self._rank(last)
            first = bisect_right(self._firsts, rank) - 1
            start = bisect_right(self._blocks[first], rank)
        for number in range(first, len(self._blocks)):
            if self._fewest[number] <= max_tokens:
                for *_, request in islice(self._blocks[number], start, None):
                    if request.tokens <= max_tokens:
                        return request
                if not start:
                    self._fewest[number] = min((rank[-1].tokens for rank in self._blocks[number]), default=ABSENT)
            start = 0
        return None

    def ranked(self, now: float) -> Iterable[Request]:
        """All of them in order."""
        return (rank[-1] for rank in chain.from_iterable(self._blocks))

    def _split(self, number: int) -> None:
        block = self._blocks[number]
        later = block[MOST_IN_BLOCK // 2 :]
        del block[MOST_IN_BLOCK // 2 :]
        self._blocks.insert(number + 1, later)
        self._firsts.insert(number + 1, later[0])
        self._fewest.insert(number + 1, self._fewest[number])

    def _rank(self, request: Request) -> Rank:
        return checked(self._key(request), self._key), request.arrival_s, request.id, request


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
        self._flip_due(now)
        if last is not None and now >= self._flips_at(last):
            return self._late.after(now, last, max_tokens)
        return self._early.after(now, last, max_tokens) or self._late.after(now, None, max_tokens)

    def ranked(self, now: float) -> Iterable[Request]:
        """All of them in order; flips what is due first."""
        self._flip_due(now)
        return chain(self._early.ranked(now), self._late.ranked(now))

    def _flip_due(self, now: float) -> None:
        while self._flips and self._flips[0][0] <= now:
            flip_s, id, request = heappop(self._flips)
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

    def ranked(self, now: float) -> Iterable[Request]:
        """All of them in order."""
        key = {id: checked(self._key(request, now), self._key) for id, request in self._requests.items()}
        return sorted(self._requests.values(), key=lambda request: (key[request.id], request.arrival_s, request.id))
