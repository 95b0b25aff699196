"""Chunked prefill: every step computes at most a budget of tokens, of prompts already begun before new ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar

from flowsim.core.passes import Pass
from flowsim.core.policy import View, Wake
from flowsim.core.request import Request
from flowsim.core.timeline import Cut
from flowsim.policies.parts.batching import check_positive


@dataclass(frozen=True)
class Chunked:
    """Sarathi-Serve's and vLLM v1's scheduler, prefill only: each step is a pass of its own.

    Begun prompts come first, then waiting ones in order of arrival, until the token budget is spent. The last
    one taken may be cut short: the rest of it goes into later steps.

    Attributes:
        budget: tokens of one step.
    """

    cut: ClassVar[Cut] = "none"
    wake: ClassVar[Wake] = "events"
    budget: int = 2048

    def __post_init__(self) -> None:
        check_positive(self, "budget")

    def choose(self, view: View) -> Pass | None:
        """The next step."""
        parts: list[tuple[Request, int]] = []
        room, free = self.budget, view.free_tokens
        for request in chain(view.started, self.queue(view)):
            if not room:
                break
            if not request.begun:
                if request.kv_tokens > free:
                    break
                free -= request.kv_tokens
            tokens = min(request.tokens, room)
            parts.append((request, tokens))
            room -= tokens
        return Pass(tuple(parts)) if parts else None

    def queue(self, view: View) -> Iterable[Request]:
        """The waiting requests as they are begun: in order of arrival."""
        return view.waiting
