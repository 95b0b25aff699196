"""Moore-Hodgson: earliest deadline first over the largest set of the requests present that can all be in time."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush
from itertools import takewhile
from math import inf, nextafter

from flowsim.core.operators import Cut
from flowsim.core.order import Candidate, Flipping
from flowsim.core.policy import View
from flowsim.core.request import Request
from flowsim.errors import InputError, unknown
from flowsim.policies.parts.composed import Composed
from flowsim.policies.parts.orders import ORDERS

POSSIBLE_FIRST = Flipping(
    key=lambda candidate: candidate.deadline_s,
    flips_at=lambda candidate: nextafter(candidate.deadline_s - candidate.predicted_s, inf),
    flipped=lambda candidate: candidate.arrival_s,
)
"""By deadline, those that are late even alone behind the others."""


@dataclass(frozen=True, kw_only=True)
class MooreHodgson(Composed):
    """The earliest deadline of the largest set that can all be in time; those outside the set follow, shortest first.

    Source: J. M. Moore, "An n job, one machine sequencing algorithm for minimizing the number of late jobs" (1968),
    after textbooks: walk the jobs by deadline, and whenever one is late, drop the longest so far. That is optimal for
    jobs that are all present. Here it is applied anew at each decision to the predicted time left of what waits, has
    started, is paused or runs, one prompt after another. A batch that is paused or runs is one job, with the deadline
    of its head; dropped is the job with the most time per request that it can still serve in time, which is a
    heuristic once batches are among them. Batches are FlowPrefill's. A decision takes O(f log f) for the f present
    that can still be in time alone. What the set leaves out may starve.

    Attributes:
        headroom: share by which the time left of all jobs is enlarged in the walk, for requests that are yet to come.
        late: the order of those outside the set.
    """

    cut: Cut = "layer"
    order: str = "sedf"
    batching: str = "slo"
    batch_tokens: int = 2048
    headroom: float = 0.0
    late: str = "srpt"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.headroom >= 0:
            raise InputError("option headroom", found=self.headroom, expected=">= 0")
        if self.late not in ORDERS:
            raise unknown("order", self.late, ORDERS)

    def head(self, view: View) -> Candidate | None:
        """The first of the set that can be launched; without one, the first of the others."""
        for candidate in in_time(view, self.headroom):
            if not isinstance(candidate, Request) or view.fits(candidate):
                return candidate
        return view.first(ORDERS[self.late])


@dataclass(frozen=True, kw_only=True)
class Headroom(MooreHodgson):
    """Moore-Hodgson with headroom for requests to come; those that it leaves out follow in order of arrival.

    The set is chosen as if all work took 1 + headroom times as long, since shorter and more urgent requests arrive
    before the present ones are done: a long prompt that could be in time only if nobody came is given up before the
    device has spent time on it. Those left out go by arrival. Source: flowsim; docs/headroom.md says on which traffic
    it was designed, on which others it was tried, and where it loses.
    """

    headroom: float = 0.3
    late: str = "fcfs"


def in_time(view: View, headroom: float = 0.0) -> list[Candidate]:
    """A set of those present that can be in time one after another, as predicted, by deadline.

    Args:
        view: what the policy sees.
        headroom: share by which all predicted times are enlarged.
    """
    now = end_s = view.now
    present: list[Candidate] = [*view.started, *view.paused, *([] if view.running is None else [view.running])]
    possible: list[Candidate] = list(takewhile(partial(_possible, now), view.ranked(POSSIBLE_FIRST)))
    for candidate in filter(partial(_possible, now), present):
        insort(possible, candidate, key=lambda one: (one.deadline_s, one.arrival_s, one.id))
    costliest: list[tuple[float, int, float]] = []
    dropped: set[int] = set()
    for place, candidate in enumerate(possible):
        takes_s = candidate.predicted_s * (1 + headroom)
        end_s += takes_s
        heappush(costliest, (-takes_s / _served(candidate, now), place, takes_s))
        while end_s > candidate.deadline_s:
            _, out, less_s = heappop(costliest)
            end_s -= less_s
            dropped.add(out)
    return [candidate for place, candidate in enumerate(possible) if place not in dropped]


def _possible(now: float, candidate: Candidate) -> bool:
    """Whether it is in time if it goes on at once."""
    return candidate.deadline_s - candidate.predicted_s >= now


def _served(candidate: Candidate, now: float) -> int:
    """How many requests are in time if it goes on at once; at least 1."""
    if isinstance(candidate, Request):
        return 1
    end_s = now + candidate.predicted_s
    return max(1, sum(request.deadline_s >= end_s for request in candidate.requests))
