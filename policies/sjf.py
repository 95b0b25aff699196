"""Shortest job first: fewest tokens left goes next (LMCache's shortest-prefill-first)."""

from __future__ import annotations

from dataclasses import dataclass

from flowsim.core.order import Fixed
from flowsim.core.passes import Execution, Pass
from flowsim.core.policy import View, Wake
from flowsim.core.request import Request
from flowsim.core.timeline import Cut
from flowsim.policies.batching import check_positive, fill

SHORTEST = Fixed(key=lambda candidate: candidate.tokens)


@dataclass(frozen=True)
class SJF:
    """The fewest tokens left first, batched up to a token cap; with a `cut`, shortest remaining job first.

    Attributes:
        batch_tokens: most tokens of a batch; a longer prompt runs alone.
    """

    batch_tokens: int = 8192
    cut: Cut = "none"
    wake: Wake = "events"

    def __post_init__(self) -> None:
        check_positive(self, "batch_tokens")

    def choose(self, view: View) -> Pass | Execution | None:
        """The shortest, and the next shortest as long as they fit."""
        head = view.first(SHORTEST)
        if not isinstance(head, Request):
            return head
        return Pass.whole(*fill(view, SHORTEST, head, self.batch_tokens))
