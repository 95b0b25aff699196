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
    """The least product of attention work at arrival and left goes first, a chunk each step; others' work ages it.

    Key: P R / 2^(A / D), smallest first: P = W(N) - W(h) for a prompt of N tokens of which h were cached when it
    arrived; R the same of what is left now; W(x) = x (x + 1) / 2; A the work that the server has completed since the
    arrival, over P; D = `age_priority_double`. Source: vllm-ascend, pull request 16360 and its code
    (preflow_scheduler.py at 02947ad), whose D is 2; its chunk is the server's token budget. Not reproduced: several
    small prompts in one step, and the limit of how far others overtake a prompt for which KV blocks are lacking.

    Attributes:
        budget: most tokens of a step.
        age_priority_double: the age at which the priority has doubled.
    """

    cut: ClassVar[Cut] = "none"
    wake: ClassVar[Wake] = "events"
    budget: int = 2048
    age_priority_double: float = 2.0
    required: dict[int, float] = field(default_factory=dict, init=False, repr=False, compare=False)
    served: ServerWork = field(default_factory=ServerWork, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_positive(self, "budget")
        if not 0 < self.age_priority_double < math.inf:
            raise InputError("option age_priority_double", found=self.age_priority_double, expected="finite and > 0")

    @cached_property
    def ranking(self) -> Order:
        """See above."""
        return Scanned(self._key)

    def on_arrival(self, request: Request, view: View) -> None:
        """Fix the work that it requires."""
        self.served.arrived(request.id)
        self.required[request.id] = work(request.tokens, request.context)

    def on_completion(self, execution: Execution, view: View) -> None:
        """Count the work that it was."""
        self.served.completed += sum(work(tokens, request.context - tokens) for request, tokens in execution.parts)

    def choose(self, view: View) -> Pass | None:
        """A chunk of the first."""
        head = view.first(self.ranking)
        return Pass(((head, min(head.tokens, self.budget)),)) if isinstance(head, Request) else None

    def _key(self, request: Request, now: float) -> float:
        required = self.required[request.id]
        age = self.served.since_arrival(request.id) / required
        return math.log2(required) + math.log2(work(request.tokens, request.context)) - age / self.age_priority_double
