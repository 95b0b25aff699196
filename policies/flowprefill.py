"""FlowPrefill (arXiv 2602.16603): S-EDF with SLO-aware batching, preempting at operator boundaries.

Semantics follow the released code (repository HSIEHCHIACHI/FlowPrefill, commit 1ca0fec), `step` and `form`, but for
one thing that the engine does for every policy: events of one instant, or that come while the scheduler is busy, are
decided on together, not one after another.
"""

from __future__ import annotations

from dataclasses import dataclass

from flowsim.core.operators import Cut
from flowsim.policies.parts.composed import Composed


@dataclass(frozen=True, kw_only=True)
class FlowPrefill(Composed):
    """Slack-aware earliest deadline first with SLO-aware batching; cut=operator as in the paper, cut=block as released.

    The paper describes five checks per layer (cut=operator) and decisions on arrival and completion only; the authors
    released two checks (cut=block).
    """

    cut: Cut = "operator"
    order: str = "sedf"
    batching: str = "slo"
    batch_tokens: int = 2048


@dataclass(frozen=True, kw_only=True)
class SuspendBound(FlowPrefill):
    """FlowPrefill whose paused passes go before all others once they have been paused for 50 ms.

    After vLLM's pull request 44794, of which a description was read, not its code: there, a suspended prefill resumes
    at its next step after `preemption_max_suspend_ms`, 50 by default, whatever decodes wait. Here no decode waits, so
    the bound is on how long earlier deadlines may keep a pass paused; a timer wakes the scheduler, and the resumed pass
    may be preempted again. Any policy of parts takes the same bound as its option `suspend`.
    """

    suspend: float = 0.05
