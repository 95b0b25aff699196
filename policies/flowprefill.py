"""FlowPrefill (arXiv 2602.16603): S-EDF with SLO-aware batching, preempting at operator boundaries.

Semantics follow the released code (repository HSIEHCHIACHI/FlowPrefill, commit 1ca0fec), `step` and `form`, but for
one thing that the engine does for every policy: events of one instant, or that come while the scheduler is busy, are
decided on together, not one after another.
"""

from __future__ import annotations

from dataclasses import dataclass

from flowsim.core.order import Flipping
from flowsim.core.passes import Execution, Pass
from flowsim.core.policy import View, Wake
from flowsim.core.request import Request
from flowsim.core.timeline import Cut
from flowsim.errors import InputError
from flowsim.policies.batching import check_positive, fill

S_EDF = Flipping(
    key=lambda candidate: candidate.deadline_s,
    flips_at=lambda candidate: candidate.deadline_s - max(candidate.predicted_s, 0.0),
    flipped=lambda candidate: -candidate.deadline_s,
)
"""sign(slack) / deadline, largest first: those that can still make it by earliest deadline, then the hopeless by
latest deadline. slack = (deadline - now) - max(predicted time left, 0); zero slack counts as hopeless."""


@dataclass(frozen=True)
class FlowPrefill:
    """Slack-aware earliest deadline first with SLO-aware batching; cut=operator as in the paper, cut=block as released.

    Attributes:
        cut: where a running pass may be preempted: "operator" is what the paper describes (five checks per layer),
            "block" what the authors released (two).
        wake: "events" decides on arrival and completion only, as the paper does; "cuts" at every cut too.
        batch_tokens: most tokens of a batch; a longer prompt runs alone.
        reserve: share of its SLO that the head of a batch must have left after the batch, as predicted; a head
            with less time than that runs alone.
    """

    cut: Cut = "operator"
    wake: Wake = "events"
    batch_tokens: int = 2048
    reserve: float = 0.1

    def __post_init__(self) -> None:
        check_positive(self, "batch_tokens")
        if not 0 <= self.reserve <= 1:
            raise InputError("option reserve", found=self.reserve, expected="between 0 and 1")

    def choose(self, view: View) -> Pass | Execution | None:
        """The first in S-EDF order, with companions if it has time for them."""
        head = view.first(S_EDF)
        if not isinstance(head, Request):
            return head
        return Pass.whole(*self.form(view, head))

    def form(self, view: View, head: Request) -> list[Request]:
        """The batch that `head` leads."""
        time_left = head.deadline_s - view.now
        reserve = self.reserve * head.slo_s if self.reserve else 0.0
        if head.tokens > self.batch_tokens or time_left < reserve:
            return [head]
        return fill(view, S_EDF, head, self.batch_tokens, lambda tokens: time_left - view.predict(tokens) >= reserve)
