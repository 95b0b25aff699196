"""The queue of an order whose key moves with time: the keys of all that wait are computed anew, as arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
from msgspec.structs import fields

from flowsim.core.request import Request
from flowsim.errors import InputError, defined_at


class Columns:
    """The attributes of many requests, an array each, under the names they have on one request; all but `blocks`."""

    TYPES: ClassVar = {
        one.name: {int: np.int64, float: np.float64, str: object}.get(one.type) for one in fields(Request)
    }
    NAMES: ClassVar = tuple(name for name, kind in TYPES.items() if kind is not None)

    def __init__(self, column: Callable[[str], np.ndarray]) -> None:
        self._column = column

    def __getattr__(self, name: str) -> np.ndarray:
        """One column; a copy, made when it is first asked for."""
        if name not in self.NAMES:
            raise AttributeError(f"requests have no column {name!r}; they have {', '.join(self.NAMES)}")
        column = self.__dict__[name] = self._column(name)
        return column


class MovingQueue:
    """Requests whose keys are recomputed each time."""

    def __init__(self, key: Callable[[Any, float], Any]) -> None:
        self._key = key
        self._requests: list[Request] = []
        self._place: dict[int, int] = {}
        """Of each request, by its id, in `_requests`."""
        self._arrays: dict[str, np.ndarray] = {}
        """The columns that were asked for, with room for more than wait now."""

    def add(self, request: Request) -> None:
        """Take a request in."""
        place = self._place[request.id] = len(self._requests)
        self._requests.append(request)
        for name, array in self._arrays.items():
            if place == len(array):
                array = self._arrays[name] = np.concatenate((array, np.empty_like(array)))
            array[place] = getattr(request, name)

    def remove(self, request: Request) -> None:
        """Take a request out; the last one takes its place."""
        place, last = self._place.pop(request.id), self._requests.pop()
        if last is not request:
            self._place[last.id], self._requests[place] = place, last
            for array in self._arrays.values():
                array[place] = array[len(self._requests)]

    def after(self, now: float, last: Request | None, max_tokens: int) -> Request | None:
        """The first request after `last` with at most `max_tokens` tokens."""
        if not self._requests:
            return None
        waiting = Columns(self._column)
        key = self._keys(waiting, now, len(self._requests))
        fits = waiting.tokens <= max_tokens
        if last is not None:
            # Through columns, as for the others: on plain numbers, powers and the like may differ in the last bit.
            bound = self._keys(Columns(lambda name: _array(name, [last])), now, 1)[0]
            came, id = waiting.arrival_s, waiting.id
            came_later = (came > last.arrival_s) | ((came == last.arrival_s) & (id > last.id))
            fits &= (key > bound) | ((key == bound) & came_later)
        eligible = np.flatnonzero(fits)
        if not eligible.size:
            return None
        ties = eligible[key[eligible] == key[eligible].min()]
        came = waiting.arrival_s[ties]
        ties = ties[came == came.min()]
        return self._requests[int(ties[waiting.id[ties].argmin()])]

    def ranked(self, now: float) -> Iterable[Request]:
        """All of them in order."""
        if not self._requests:
            return ()
        waiting = Columns(self._column)
        key = self._keys(waiting, now, len(self._requests))
        return [self._requests[place] for place in np.lexsort((waiting.id, waiting.arrival_s, key)).tolist()]

    def _column(self, name: str) -> np.ndarray:
        if name not in self._arrays:
            self._arrays[name] = _array(name, self._requests)
        return self._arrays[name][: len(self._requests)].copy()

    def _keys(self, columns: Columns, now: float, rows: int) -> np.ndarray:
        key = self._key(columns, now)
        try:
            keys = np.broadcast_to(np.asarray(key, float), rows)
        except (TypeError, ValueError):
            raise self._fault(key) from None
        if np.isnan(keys).any():
            raise self._fault(math.nan)
        return keys

    def _fault(self, key: Any) -> InputError:
        expected = "a number for each request"
        return InputError(f"the key of an order ({defined_at(self._key)})", found=key, expected=expected)


def _array(name: str, requests: Sequence[Request]) -> np.ndarray:
    return np.array([getattr(request, name) for request in requests], Columns.TYPES[name])
