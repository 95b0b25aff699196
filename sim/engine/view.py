"""What a policy sees of an instance."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Protocol

from flowsim.core.order import Order
from flowsim.core.passes import Execution
from flowsim.core.predictor import Predictor
from flowsim.core.queues import UNBOUNDED
from flowsim.core.request import Request
from flowsim.engine.device import Clock
from flowsim.engine.kv import KVCache
from flowsim.engine.waiting import Waiting
from flowsim.errors import InputError


class Viewed(Protocol):
    """The parts of an instance that a view reads."""

    number: int
    clock: Clock
    predictor: Predictor
    kv: KVCache
    waiting: Waiting
    running: Execution | None
    free_slots: int

    @property
    def attained(self) -> Mapping[str, int]:
        """By class: how many requests with an SLO had their first token in time."""

    @property
    def missed(self) -> Mapping[str, int]:
        """By class: how many requests with an SLO were late or rejected."""

    @property
    def started(self) -> Mapping[int, Request]:
        """Requests partly computed, by id."""

    @property
    def paused(self) -> Mapping[int, Execution]:
        """Passes stopped at a cut, by the id of their head."""


class InstanceView:
    """What a policy sees of an instance: see `flowsim.core.policy.View`."""

    __slots__ = ("_instance", "_now")

    def __init__(self, instance: Viewed) -> None:
        self._instance = instance
        self._now = 0.0

    def at(self, now: float) -> InstanceView:
        """The same, at this time, seconds."""
        self._now = now
        return self

    @property
    def instance(self) -> int:
        """The number of this instance."""
        return self._instance.number

    @property
    def now(self) -> float:
        """The time, seconds."""
        return self._now

    @property
    def waiting(self) -> Collection[Request]:
        """Requests of which nothing is computed yet, in order of arrival."""
        return self._instance.waiting.requests.values()

    @property
    def started(self) -> Collection[Request]:
        """Requests partly computed by completed passes."""
        return self._instance.started.values()

    @property
    def paused(self) -> Collection[Execution]:
        """Passes stopped at a cut."""
        return self._instance.paused.values()

    @property
    def running(self) -> Execution | None:
        """The pass that is being executed."""
        return self._instance.running

    @property
    def free_tokens(self) -> int:
        """Tokens for which KV blocks are free."""
        return self._instance.kv.free_tokens

    @property
    def free_slots(self) -> int:
        """Passes that may still be launched before one completes."""
        return self._instance.free_slots

    @property
    def attained(self) -> Mapping[str, int]:
        """By class: how many requests have had their first token in time."""
        return MappingProxyType(self._instance.attained)

    @property
    def missed(self) -> Mapping[str, int]:
        """By class: how many requests were late or rejected."""
        return MappingProxyType(self._instance.missed)

    def fits(self, request: Request) -> bool:
        """Whether a pass with this request could be launched now."""
        instance = self._instance
        room = request.id in instance.started or request.kv_tokens <= instance.kv.free_tokens
        return room and instance.free_slots > 0

    def first(self, order: Order, besides: Collection[Request] = ()) -> Request | Execution | None:
        """The best of all in this order; a waiting one only if it fits."""
        instance, now = self._instance, self._now
        best: Request | Execution | None = instance.running
        rank = None if best is None else order.rank(best, now)
        if instance.paused or instance.started:
            started = instance.started.values() if instance.free_slots else ()
            for candidate in (*instance.paused.values(), *started):
                other = order.rank(candidate, now)
                if rank is None or other < rank:
                    best, rank = candidate, other
        queue = instance.waiting.queue(order)
        head = queue.after(now, None, UNBOUNDED)
        while besides and head in besides:
            head = queue.after(now, head, UNBOUNDED)
        if head is None or (rank is not None and rank < order.rank(head, now)):
            return best
        return head if instance.free_slots and head.kv_tokens <= instance.kv.free_tokens else best

    def next_waiting(self, order: Order, last: Request | None = None, max_tokens: int = UNBOUNDED) -> Request | None:
        """The first waiting request after `last` in this order that has at most `max_tokens` tokens."""
        return self._instance.waiting.queue(order).after(self._now, last, max_tokens)

    def ranked(self, order: Order) -> Iterable[Request]:
        """All that wait, in this order."""
        return self._instance.waiting.queue(order).ranked(self._now)

    def predict(self, tokens: int, context: int = 0) -> float:
        """Predicted seconds of a prompt of `tokens` alone, on top of `context`. InputError: one of them is negative."""
        if tokens < 0 or context < 0:
            raise InputError("predict", f"was asked for {tokens} tokens on top of {context}", expected=">= 0 of both")
        return self._instance.predictor.predict(tokens, context)
