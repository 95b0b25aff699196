"""First come, first served: whole prompts, several short ones in a pass (DistServe's prefill scheduler)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

from flowsim.core.passes import Pass
from flowsim.core.policy import View, Wake
from flowsim.core.request import Request
from flowsim.core.timeline import Cut
from flowsim.policies.batching import check_positive


@dataclass(frozen=True)
class FCFS:
    """Requests in order of arrival, batched up to a cap of tokens and of requests; the first that does not fit ends it.

    Source: `ContextStageFCFSScheduler` of DistServe (repository LLMServe/DistServe, commit 8024143) and its defaults.
    There a prompt longer than the cap of tokens would never run.

    Attributes:
        batch_tokens: most tokens of a batch; a longer prompt runs alone.
        batch_requests: most requests of a batch.
    """

    cut: ClassVar[Cut] = "none"
    wake: ClassVar[Wake] = "events"
    batch_tokens: int = 4096
    batch_requests: int = 256

    def __post_init__(self) -> None:
        check_positive(self, "batch_tokens", "batch_requests")

    def choose(self, view: View) -> Pass | None:
        """The longest prefix of the queue under both caps."""
        batch: list[Request] = []
        room, free = self.batch_tokens, view.free_tokens
        for request in islice(view.waiting, self.batch_requests):
            if (batch and request.tokens > room) or request.kv_tokens > free:
                break
            batch.append(request)
            room, free = room - request.tokens, free - request.kv_tokens
        return Pass.whole(*batch) if batch else None
