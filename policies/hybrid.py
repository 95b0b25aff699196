"""QoServe (Niyama): deadlines, the later the more is left, and the relegation of what cannot make it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from heapq import merge
from typing import Any, ClassVar

from flowsim.core.operators import Cut
from flowsim.core.order import Fixed, Order
from flowsim.core.passes import Execution, Pass
from flowsim.core.policy import View, Wake
from flowsim.core.request import Request
from flowsim.errors import InputError
from flowsim.policies.parts.batching import check_positive


@dataclass(frozen=True)
class Hybrid:
    """Chunks of the earliest deadline + alpha * tokens left; requests that look late are relegated before they begin.

    Key: (relegated, d + alpha * n), smallest first: d the deadline, n the tokens left. A request that has not begun is
    relegated when its turn comes and t + n / throughput > d; once, for good. The throughput is smoothed:
    `decay` of the old value plus 1 - `decay` of tokens / seconds of the last pass.

    Source: QoServe, first called Niyama (arXiv 2503.22562), in the code (repository microsoft/sarathi-serve, branch
    niyama_asplos2026, commit 72339db), `deadline_scheduler.py` and `sequence.py`, and its constants. The paper lowers
    alpha to 1 ms a token at low load; the code keeps one value. There a chunk shrinks to the slack of the decodes; here
    none run, and it has the largest size. There the seconds are those from one step to the next.

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
    smoothed: dict[str, float] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_positive(self, "budget", "throughput")
        if not self.alpha >= 0:
            raise InputError("option alpha", found=self.alpha, expected=">= 0 seconds")
        if not 0 <= self.decay <= 1:
            raise InputError("option decay", found=self.decay, expected="between 0 and 1")

    @cached_property
    def ranking(self) -> Order:
        """The deadline, put off by the tokens left."""
        return Fixed(lambda candidate: candidate.deadline_s + self.alpha * candidate.tokens)

    def on_completion(self, execution: Execution, view: View) -> None:
        """Learn the throughput; forget who has its first token."""
        observed = execution.batch_tokens / execution.taken_s
        self.smoothed["rate"] = self.decay * self._rate() + (1 - self.decay) * observed
        self.relegated.difference_update(request.id for request in execution.requests if not request.tokens)

    def choose(self, view: View) -> Pass | None:
        """The next chunk."""
        parts: list[tuple[Request, int]] = []
        room, free = self.budget, view.free_tokens
        for request in self._in_order(view):
            if not room or (not request.begun and request.kv_tokens > free):
                break
            parts.append((request, min(request.tokens, room)))
            room -= parts[-1][1]
            free -= 0 if request.begun else request.kv_tokens
        if not parts and view.started:  # they have their KV blocks
            request = min(view.started, key=self._rank)
            parts = [(request, min(request.tokens, self.budget))]
        return Pass(tuple(parts)) if parts else None

    def _in_order(self, view: View) -> Iterator[Request]:
        """The requests by key, relegated on the way; then the relegated ones by key."""
        later: list[Request] = []
        for request in merge(sorted(view.started, key=self._rank), self._waiting(view), key=self._rank):
            if not request.begun and view.now + request.tokens / self._rate() > request.deadline_s:
                self.relegated.add(request.id)
            if request.id in self.relegated:
                later.append(request)
            else:
                yield request
        yield from later

    def _waiting(self, view: View) -> Iterator[Request]:
        last: Request | None = None
        while (last := view.next_waiting(self.ranking, last)) is not None:
            yield last

    def _rank(self, request: Request) -> Any:
        return self.ranking.rank(request, 0.0)

    def _rate(self) -> float:
        return self.smoothed.get("rate", self.throughput)
