"""QoServe (Niyama): deadlines, the later the more is left, and the relegation of what cannot make it."""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import ClassVar

from flowsim.core.operators import Cut
from flowsim.core.passes import Execution, Pass
from flowsim.core.policy import View, Wake
from flowsim.core.request import Request
from flowsim.errors import InputError
from flowsim.policies.parts.batching import check_positive

Ranked = tuple[float, float, int, Request]
"""The key of a request, its arrival and its id, which settle ties, and the request."""


@dataclass(frozen=True)
class Hybrid:
    """Chunks of the earliest deadline + alpha * tokens left; requests that look late are relegated before they begin.

    Key: (relegated, d + alpha * n), smallest first: d the deadline, n the tokens left. A request that has not begun is
    relegated when its turn comes and t + n / throughput > d; once, for good. The throughput is smoothed:
    `decay` of the old value plus 1 - `decay` of tokens / seconds of the last pass.

    Source: QoServe, first called Niyama (arXiv 2503.22562), in the code (repository microsoft/sarathi-serve, branch
    niyama_asplos2026, commit 72339db), `deadline_scheduler.py` and `sequence.py`, and its constants. The paper lowers
    alpha to 1 ms a token at low load; the code keeps one value. There a chunk shrinks to the slack of the decodes; here
    none run, and it has the largest size. There a request enters the queue by arrival, once its KV blocks are free;
    here the first by key for which they are not bars all others that wait. There the seconds are those from one step to
    the next. What waits keeps the key that it came with, also when more of it is cached meanwhile.

    Attributes:
        budget: tokens of one chunk.
        alpha: seconds by which each token left puts a deadline off.
        throughput: tokens per second, before the first pass has completed.
        decay: weight of the throughput so far in the smoothed one.
    """

    cut: ClassVar[Cut] = "none"
    wake: ClassVar[Wake] = "events"
    budget: int = 2552
    alpha: float = 0.008
    throughput: float = 8500.0
    decay: float = 0.995
    relegated: set[int] = field(default_factory=set, init=False, repr=False, compare=False)
    queues: tuple[list[Ranked], list[Ranked]] = field(
        default_factory=lambda: ([], []), init=False, repr=False, compare=False
    )
    smoothed: dict[str, float] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_positive(self, "budget", "throughput")
        if not self.alpha >= 0:
            raise InputError("option alpha", found=self.alpha, expected=">= 0 seconds")
        if not 0 <= self.decay <= 1:
            raise InputError("option decay", found=self.decay, expected="between 0 and 1")

    def on_arrival(self, request: Request, view: View) -> None:
        """Queue it by its key."""
        heappush(self.queues[False], (*self._rank(request), request))

    def on_completion(self, execution: Execution, view: View) -> None:
        """Learn the throughput; forget who has its first token."""
        observed = execution.batch_tokens / execution.taken_s
        self.smoothed["rate"] = self.decay * self._rate() + (1 - self.decay) * observed
        self.relegated.difference_update(request.id for request in execution.requests if not request.tokens)

    def choose(self, view: View) -> Pass | None:
        """The next chunk: what is not relegated, then what is; of either, what has begun and what waits, by key."""
        parts: list[tuple[Request, int]] = []
        room, free = self.budget, view.free_tokens
        for late, queue in enumerate(self.queues):
            begun = [request for request in view.started if (request.id in self.relegated) == late]
            begun.sort(key=self._rank, reverse=True)
            while room and (begun or queue):
                *rank, request = queue[0] if queue else (*self._rank(begun[-1]), begun[-1])
                if begun and (not queue or request.kv_tokens > free or [*self._rank(begun[-1])] < rank):
                    request = begun.pop()
                elif not late and view.now + request.tokens / self._rate() > request.deadline_s:
                    self.relegated.add(request.id)
                    heappush(self.queues[True], heappop(queue))
                    continue
                elif request.kv_tokens > free:
                    free = 0  # nobody who waits passes it
                    break
                else:
                    heappop(queue)
                    free -= request.kv_tokens
                parts.append((request, min(request.tokens, room)))
                room -= parts[-1][1]
        return Pass(tuple(parts)) if parts else None

    def _rank(self, request: Request) -> tuple[float, float, int]:
        return request.deadline_s + self.alpha * request.tokens, request.arrival_s, request.id

    def _rate(self) -> float:
        return self.smoothed.get("rate", self.throughput)
