"""The admissions by name: which waiting requests are rejected for good.

An admission is a function of the view; it returns the requests to reject, all of which wait.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Any

from flowsim.core.order import Arrival, Candidate, Fixed, Order
from flowsim.core.passes import Execution
from flowsim.core.policy import View
from flowsim.core.request import Request

Admission = Callable[[View], Sequence[Request]]

LATEST_START = Fixed(key=lambda candidate: candidate.deadline_s - candidate.predicted_s)
"""When a request must begin to make it, alone and uninterrupted."""


def everyone(view: View) -> Sequence[Request]:
    """Nobody is rejected."""
    return ()


def hopeless(view: View) -> Sequence[Request]:
    """Those that miss their deadline even if they run at once, alone: deadline - now < predicted time."""
    now = view.now
    return list(takewhile(lambda request: request.deadline_s - request.predicted_s < now, view.ranked(LATEST_START)))


def late_by(order: Order) -> Admission:
    """Those that are late after what is at work and the requests kept, as far as these precede them in this order.

    A pass that runs where the policy is asked can be preempted, so it precedes none that goes before it.
    """

    def late(view: View) -> Sequence[Request]:
        at_work: list[Candidate] = [*view.started, *view.paused, *([] if view.running is None else [view.running])]
        ahead = sorted([(order.rank(one, view.now), one.predicted_s) for one in at_work], reverse=True)
        end_s = view.now
        found: list[Request] = []
        for request in view.ranked(order):
            while ahead and ahead[-1][0] < order.rank(request, view.now):
                end_s += ahead.pop()[1]
            if end_s + request.predicted_s > request.deadline_s:
                found.append(request)
            else:
                end_s += request.predicted_s
        return found

    return late


ADMISSIONS: Mapping[str, Admission] = {
    "all": everyone,
    "hopeless": hopeless,
    "late-by-fcfs": late_by(Arrival()),
    "late-by-edf": late_by(Fixed(key=lambda candidate: candidate.deadline_s)),
}


class Admitted:
    """A view without some of the waiting requests, those about to be rejected."""

    def __init__(self, view: View, rejected: Sequence[Request]) -> None:
        self._view = view
        self._rejected = frozenset(rejected)

    def __getattr__(self, name: str) -> Any:
        """The rest is as it was."""
        return getattr(self._view, name)

    @property
    def waiting(self) -> Collection[Request]:
        """See `View`."""
        return [request for request in self._view.waiting if request not in self._rejected]

    def first(self, order: Order, besides: Collection[Request] = ()) -> Request | Execution | None:
        """See `View`."""
        return self._view.first(order, self._rejected.union(besides))

    def next_waiting(self, order: Order, last: Request | None = None, max_tokens: int = 1 << 62) -> Request | None:
        """See `View`."""
        following = self._view.next_waiting(order, last, max_tokens)
        while following in self._rejected:
            following = self._view.next_waiting(order, following, max_tokens)
        return following

    def ranked(self, order: Order) -> Iterable[Request]:
        """See `View`."""
        return (request for request in self._view.ranked(order) if request not in self._rejected)
