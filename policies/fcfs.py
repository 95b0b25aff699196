"""First come, first served: whole prompts, several short ones in a pass (DistServe's prefill scheduler)."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from flowsim.policies.parts.composed import Composed


@dataclass(frozen=True)
class FCFS(Composed):
    """Requests in order of arrival, batched up to a cap of tokens and of requests; the first that does not fit ends it.

    Source: `ContextStageFCFSScheduler` of DistServe (repository LLMServe/DistServe, commit 8024143) and its defaults.
    There a prompt longer than the cap of tokens would never run; here it runs alone.
    """

    batch_tokens: int = 4096
    batch_requests: int = 256
    _: KW_ONLY
    order: str = "fcfs"
    batching: str = "order"
