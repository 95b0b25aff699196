"""Strict priorities of the trace, and within them by arrival or by size."""

from __future__ import annotations

from dataclasses import dataclass

from flowsim.policies.parts.composed import Composed


@dataclass(frozen=True, kw_only=True)
class Priority(Composed):
    """The smallest priority value goes first, then the earliest arrival, batched up to the first that does not fit.

    Key: (priority, arrival), smallest first. Source: the code of vLLM v1, `policy=priority`. There
    what runs keeps its place in each step and prompts share a token budget; here a pass takes whole prompts. There a
    request of greater value also gives way when KV blocks run out; here none begins without its blocks.
    """

    order: str = "priority"
    batching: str = "order"


@dataclass(frozen=True, kw_only=True)
class WSPT(Composed):
    """The smallest priority value goes first, then the fewest tokens left, batched up to the first that does not fit.

    Key: (strict priority, (1 + jump) / n), largest first: n the tokens left after those cached, jump a weight that the
    sender may add. Source: the code of Dynamo's KV router, policy.rs (`wspt`, Smith's rule of 1956). There the larger
    strict priority goes first, the key is fixed as a request is queued, and the queue is the router's, ahead of all
    instances. Here a smaller priority goes first, as with `priority`, tokens cached later count, and jump is 0: traces
    have none.
    """

    order: str = "wspt"
    batching: str = "order"
