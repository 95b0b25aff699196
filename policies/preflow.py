"""PREFLOW: the least attention work first, weighted by that of the whole prompt, with ageing by work done meanwhile."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from flowsim.core.operators import Cut
from flowsim.core.order import Order, Scanned
from flowsim.core.passes import Execution, Pass
from flowsim.core.policy import View, Wake
from flowsim.core.request import Request
from flowsim.errors import InputError
from flowsim.policies.parts.batching import check_positive
from flowsim.policies.parts.server_work import ServerWork


def work(tokens: int, context: int) -> float:
    """W(context + tokens) - W(context), the attention work of tokens after a context; W(x) = x (x + 1) / 2."""
    return tokens * (2 * context + tokens + 1) / 2


@dataclass(frozen=True)
class PreFlow:
    """The least product of attention work at arrival and left begins first, in chunks to its end; others' work ages it.

    Key: P R / 2^(A / D), smallest first: P = W(N) - W(h) for a prompt of N tokens of which h were cached when it
    arrived; R the same of what is left now; W(x) = x (x + 1) / 2; A the work of the passes launched since the arrival
    that have completed, over P; D = `age_priority_double`. A prompt that has begun goes before all that wait, whatever
    their keys. Only prompts with at most `small` tokens left share a step. Source: vllm-ascend, pull request 16360 and
    its code (preflow_scheduler.py and ascend_config.py at 19f9451a); its chunk is the server's token budget.

    Attributes:
        budget: most tokens of a step.
        age_priority_double: the age at which the priority has doubled.
        small: most tokens left of a prompt that shares a step with others.
    """

    cut: ClassVar[Cut] = "none"
    wake: ClassVar[Wake] = "events"
    budget: int = 2048
    age_priority_double: float = 0.25
    small: int = 256
    required: dict[int, float] = field(default_factory=dict, init=False, repr=False, compare=False)
    arrived: list[int] = field(default_factory=list, init=False, repr=False, compare=False)
    served: ServerWork = field(default_factory=ServerWork, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_positive(self, "budget")
        if not 0 < self.age_priority_double < math.inf:
            raise InputError("option age_priority_double", found=self.age_priority_double, expected="finite and > 0")
        if self.small < 0:
            raise InputError("option small", found=self.small, expected=">= 0")

    @cached_property
    def ranking(self) -> Order:
        """See above."""
        return Scanned(self._key)

    def on_arrival(self, request: Request, view: View) -> None:
        """Fix the work that it requires; the pass in flight does not age it."""
        self.arrived.append(request.id)
        self.required[request.id] = work(request.tokens, request.context)

    def on_completion(self, execution: Execution, view: View) -> None:
        """Count the work that it was."""
        self.served.completed += sum(work(tokens, request.context - tokens) for request, tokens in execution.parts)

    def choose(self, view: View) -> Pass | None:
        """A chunk of the prompt that has begun, else of the first; if little of it is left, with other small ones."""
        if view.running is not None:
            return None
        for id in self.arrived:
            self.served.arrived(id)
        self.arrived.clear()
        head = next(iter(view.started), None) or view.first(self.ranking)
        if not isinstance(head, Request):
            return None
        chunk = min(head.tokens, self.budget)
        return Pass(((head, chunk),)) if head.tokens > self.small else self._with_small(view, head, chunk)

    def _with_small(self, view: View, head: Request, chunk: int) -> Pass:
        parts, room = [(head, chunk)], self.budget - chunk
        free = view.free_tokens - (0 if head.begun else head.kv_tokens)
        for request in view.ranked(self.ranking):
            if request is not head and request.tokens <= min(room, self.small) and request.kv_tokens <= free:
                parts.append((request, request.tokens))
                room, free = room - request.tokens, free - request.kv_tokens
        return Pass(tuple(parts))

    def _key(self, request: Request, now: float) -> float:
        required = self.required[request.id]
        age = self.served.since_arrival(request.id) / required
        return math.log2(required) + math.log2(work(request.tokens, request.context)) - age / self.age_priority_double
