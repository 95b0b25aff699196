"""The queue of an order whose key moves with time: the keys of all that wait are computed anew, as arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from flowsim.core.request import Request
from flowsim.errors import InputError, defined_at


class Columns:
    """The attributes of many requests, an array each, under the names they have on one request; all but `blocks`."""

    NAMES: ClassVar = tuple(name for name in Request.__struct_fields__ if name != "blocks")
    CHANGING: ClassVar = ("tokens", "predicted_s", "cached", "context", "arrival_s", "sent_s", "deadline_s")
    """Those that a prefix cache changes while a request waits, and those that a closed loop sets when it is sent."""

    def __init__(self, arrays: Mapping[str, np.ndarray], ids: np.ndarray) -> None:
        self._arrays = arrays
        self._ids = ids

    @classmethod
    def of(cls, requests: Sequence[Request]) -> Columns:
        """The columns of these requests."""
        arrays = {name: np.array([getattr(r, name) for r in requests]) for name in cls.NAMES}
        return cls(arrays, np.arange(len(requests)))

    def rows(self, ids: np.ndarray) -> Columns:
        """The columns of the requests with these ids, in this order."""
        return Columns(self._arrays, ids)

    def change(self, request: Request) -> None:
        """Take over what has changed."""
        for name in self.CHANGING:
            self._arrays[name][request.id] = getattr(request, name)

    def __getattr__(self, name: str) -> np.ndarray:
        """One column; a copy, made when it is first asked for."""
        if name not in self.NAMES:
            raise AttributeError(f"requests have no column {name!r}; they have {', '.join(self.NAMES)}")
        column: np.ndarray = self._arrays[name][self._ids]
        self.__dict__[name] = column
        return column


class MovingQueue:
    """Requests whose keys are recomputed each time."""

    def __init__(
        self, key: Callable[[Any, float], Any], requests: Sequence[Request], *, changing: bool = False
    ) -> None:
        self._key = key
        self._changing = changing
        self._requests = requests
        self._columns = Columns.of(requests)
        self._ids: dict[int, None] = {}

    def add(self, request: Request) -> None:
        """Take a request in."""
        self._ids[request.id] = None
        if self._changing:
            self._columns.change(request)

    def remove(self, request: Request) -> None:
        """Take a request out."""
        self._ids.pop(request.id)

    def after(self, now: float, last: Request | None, max_tokens: int) -> Request | None:
        """The first request after `last` with at most `max_tokens` tokens."""
        waiting = self._columns.rows(np.fromiter(self._ids, np.int64, len(self._ids)))
        key = self._keys(waiting, now)
        fits = waiting.tokens <= max_tokens
        if last is not None:
            # Through columns, as for the others: on plain numbers, powers and the like may differ in the last bit.
            bound = self._keys(self._columns.rows(np.array([last.id])), now)[0]
            came, id = waiting.arrival_s, waiting.id
            came_later = (came > last.arrival_s) | ((came == last.arrival_s) & (id > last.id))
            fits &= (key > bound) | ((key == bound) & came_later)
        eligible = np.flatnonzero(fits)
        if not eligible.size:
            return None
        least = key[eligible].min()
        if least != least:
            raise self._fault(float(least))
        ties = eligible[key[eligible] == least]
        came = waiting.arrival_s[ties]
        ties = ties[came == came.min()]
        return self._requests[int(waiting.id[ties].min())]

    def _keys(self, columns: Columns, now: float) -> np.ndarray:
        key = self._key(columns, now)
        try:
            return np.broadcast_to(np.asarray(key, float), columns.id.shape)
        except (TypeError, ValueError):
            raise self._fault(key) from None

    def _fault(self, key: Any) -> InputError:
        expected = "a number for each request"
        return InputError(f"the key of an order ({defined_at(self._key)})", found=key, expected=expected)
