"""Moore-Hodgson: earliest deadline first over the largest set of the requests present that can all be in time."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush

from flowsim.core.operators import Cut
from flowsim.core.order import Candidate
from flowsim.core.policy import View
from flowsim.core.request import Request
from flowsim.policies.parts.composed import Composed
from flowsim.policies.parts.orders import LEAST_TIME


@dataclass(frozen=True, kw_only=True)
class MooreHodgson(Composed):
    """The earliest deadline of the largest set that can all be in time; those outside the set follow, shortest first.

    Source: J. M. Moore, "An n job, one machine sequencing algorithm for minimizing the number of late jobs" (1968),
    after textbooks: walk the jobs by deadline, and whenever one is late, drop the longest so far. That is optimal for
    jobs that are all present. Here it is applied anew at each decision to the predicted time left of what waits, has
    started, is paused or runs, one prompt after another; a paused batch is one job with the deadline of its head.
    Batches are FlowPrefill's. A decision takes O(n + f log f) for n present, of which f can still be in time alone.
    What the set leaves out may starve.
    """

    cut: Cut = "layer"
    order: str = "sedf"
    batching: str = "slo"
    batch_tokens: int = 2048

    def head(self, view: View) -> Candidate | None:
        """The first of the set that can be launched; without one, the least predicted time left."""
        for candidate in in_time(view):
            if not isinstance(candidate, Request) or view.fits(candidate):
                return candidate
        return view.first(LEAST_TIME)


def in_time(view: View) -> list[Candidate]:
    """The largest set of all present that can be in time one after another, as predicted; by deadline."""
    present: list[Candidate] = [*view.waiting, *view.started, *view.paused]
    if view.running is not None:
        present.append(view.running)
    end_s = view.now
    possible = [candidate for candidate in present if end_s + candidate.predicted_s <= candidate.deadline_s]
    possible.sort(key=lambda candidate: (candidate.deadline_s, candidate.arrival_s, candidate.id))
    longest: list[tuple[float, int]] = []
    dropped: set[int] = set()
    for place, candidate in enumerate(possible):
        end_s += candidate.predicted_s
        heappush(longest, (-candidate.predicted_s, place))
        if end_s > candidate.deadline_s:
            less_s, out = heappop(longest)
            end_s += less_s
            dropped.add(out)
    return [candidate for place, candidate in enumerate(possible) if place not in dropped]
