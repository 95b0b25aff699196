"""Strict priorities of the trace."""

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
