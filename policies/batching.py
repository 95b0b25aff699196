"""What policies share: filling a batch from the queue, and checking their options."""

from __future__ import annotations

from collections.abc import Callable

from flowsim.core.order import Order
from flowsim.core.policy import View
from flowsim.core.request import Request
from flowsim.errors import InputError


def check_positive(policy: object, *names: str) -> None:
    """Raise `InputError` unless each named option of the policy is at least 1."""
    for name in names:
        if (value := getattr(policy, name)) < 1:
            raise InputError(f"option {name}", found=value, expected=">= 1")


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
