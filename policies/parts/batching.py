"""The batchings by name: which waiting requests share the forward pass of the one that goes next.

A batching is a function of the policy's limits, the view and the head: a waiting or started request that goes next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Protocol

from flowsim.core.order import Order
from flowsim.core.passes import Pass
from flowsim.core.policy import View
from flowsim.core.request import Request
from flowsim.errors import InputError


class BatchLimits(Protocol):
    """What a batching asks of a policy: its order, and the options that bound a batch."""

    @property
    def ranking(self) -> Order:
        """The order of the requests."""

    @property
    def batch_tokens(self) -> int:
        """Most tokens of a batch; a longer prompt runs alone."""

    @property
    def batch_requests(self) -> int:
        """Most requests of a batch."""

    @property
    def reserve(self) -> float:
        """The share of its SLO that the head of a batch must have left after the batch, as predicted."""


Batching = Callable[[BatchLimits, View, Request], Pass]


def alone(limits: BatchLimits, view: View, head: Request) -> Pass:
    """The head alone."""
    return Pass.whole(head)


def in_order(limits: BatchLimits, view: View, head: Request) -> Pass:
    """The following requests up to the first that does not fit (DistServe's `ContextStageFCFSScheduler`)."""
    batch, room, free = [head], limits.batch_tokens - head.tokens, view.free_tokens - head.kv_tokens
    last: Request | None = head
    while len(batch) < limits.batch_requests:
        last = view.next_waiting(limits.ranking, last)
        if last is None or last.tokens > room or last.kv_tokens > free:
            break
        batch.append(last)
        room, free = room - last.tokens, free - last.kv_tokens
    return Pass.whole(*batch)


def filled(limits: BatchLimits, view: View, head: Request) -> Pass:
    """Every following request that still fits."""
    return Pass.whole(*fill(view, limits.ranking, head, limits.batch_tokens))


def slo_aware(limits: BatchLimits, view: View, head: Request) -> Pass:
    """Every following request that still fits, as long as the head keeps a reserve of its SLO.

    Source: `form` in the released FlowPrefill code. A head that has less time left than its reserve runs alone.
    """
    time_left = head.deadline_s - view.now
    reserve = limits.reserve * head.slo_s if limits.reserve else 0.0
    if head.tokens > limits.batch_tokens or time_left < reserve:
        return Pass.whole(head)
    in_time: Callable[[int], bool] = lambda tokens: time_left - view.predict(tokens) >= reserve  # noqa: E731
    return Pass.whole(*fill(view, limits.ranking, head, limits.batch_tokens, in_time))


BATCHINGS: Mapping[str, Batching] = {
    "none": alone,
    "order": in_order,
    "fill": filled,
    "slo": slo_aware,
}


def check_positive(policy: object, *names: str) -> None:
    """Raise `InputError` unless each named option of the policy is at least 1."""
    for name in names:
        if (value := getattr(policy, name)) < 1:
            raise InputError(f"option {name}", found=value, expected=">= 1")


def chunk(view: View, budget: int, queue: Iterable[Request]) -> Pass | None:
    """One step of chunked prefill: the prompts that have begun, then those of this queue, until the budget is spent.

    The last one taken may be cut short. The first one without KV blocks ends the step.
    """
    parts: list[tuple[Request, int]] = []
    room, free = budget, view.free_tokens
    for request in chain(view.started, queue):
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


def fill(
    view: View, order: Order, head: Request, cap: int, accept: Callable[[int], bool] = lambda tokens: True
) -> list[Request]:
    """A batch: `head`, then in this order every later waiting request that still fits.

    Those longer than the room left under `cap` tokens, or without KV blocks, are skipped; the first fitting one
    whose batch would have a number of tokens that `accept` refuses ends the filling. Source: `form` in the
    released FlowPrefill code.
    """
    batch, tokens, free = [head], head.tokens, view.free_tokens - head.kv_tokens
    last: Request | None = head
    while (last := view.next_waiting(order, last, min(cap - tokens, free))) is not None:
        if last.kv_tokens > free:  # cached tokens take blocks too
            continue
        if not accept(tokens + last.tokens):
            break
        batch.append(last)
        tokens, free = tokens + last.tokens, free - last.kv_tokens
    return batch
