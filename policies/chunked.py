"""Chunked prefill: every step computes at most a budget of tokens, of prompts already begun before new ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flowsim.core.operators import Cut
from flowsim.core.passes import Pass
from flowsim.core.policy import View, Wake
from flowsim.policies.parts.batching import check_positive, chunk


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
        return chunk(view, self.budget, view.waiting)
