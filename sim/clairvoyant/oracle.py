"""A scheduler that was told which requests to serve in time."""

from __future__ import annotations

from dataclasses import dataclass, field

from flowsim.core.operators import Cut
from flowsim.core.order import Flipping, Order
from flowsim.core.passes import Execution, Pass
from flowsim.core.policy import View, Wake
from flowsim.core.request import Request
from flowsim.policies.parts.batching import fill


@dataclass(frozen=True)
class Oracle:
    """The chosen by earliest deadline, then the others, then those that are late, both shortest first; cuts at layers.

    It knows the future through its choice alone. It batches as long as the head of the batch stays in time, as
    predicted.

    Attributes:
        chosen: ids of the requests to serve in time.
        batch_tokens: most tokens of a batch; a longer prompt runs alone.
    """

    chosen: frozenset[int]
    batch_tokens: int = 2048
    cut: Cut = "layer"
    wake: Wake = "events"
    order: Order = field(init=False, repr=False)

    def __post_init__(self) -> None:
        chosen = self.chosen
        order = Flipping(
            key=lambda candidate: (
                (False, candidate.deadline_s) if candidate.id in chosen else (True, candidate.predicted_s)
            ),
            flips_at=lambda candidate: candidate.deadline_s - max(candidate.predicted_s, 0.0),
            flipped=lambda candidate: candidate.predicted_s,
        )
        object.__setattr__(self, "order", order)

    def choose(self, view: View) -> Pass | Execution | None:
        """The first in order, with companions that leave it in time."""
        head = view.first(self.order)
        if not isinstance(head, Request):
            return head
        if head.tokens > self.batch_tokens:
            return Pass.whole(head)
        left_s = head.deadline_s - view.now
        batch = fill(view, self.order, head, self.batch_tokens, lambda tokens: view.predict(tokens) <= left_s)
        return Pass.whole(*batch)
