"""Queues by prompt length: the short prompts before the long ones, with promotion (vLLM Ascend) or a window (LAPS)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import ClassVar

from flowsim.core.operators import Cut
from flowsim.core.order import Fixed, Order
from flowsim.core.passes import Decision, Pass
from flowsim.core.policy import View, Wake
from flowsim.core.request import Request
from flowsim.errors import InputError
from flowsim.policies.parts.batching import check_positive, chunk


@dataclass(frozen=True)
class Lanes:
    """Chunked prefill that begins short prompts before long ones; a long one that has waited for too long goes first.

    Source: the code of vLLM Ascend, `short_request_first_scheduler.py` (commit 182b75e). Three lanes, each in order of
    arrival: what has begun ("immediate"), then prompts of at most `threshold` tokens, then longer ones; but long ones
    that have waited for `promote` seconds go before short ones. Prompts cached in part have their whole length. There
    promotion is off by default (here: promote=inf); 2 s is the example of its documentation.

    Attributes:
        budget: tokens of one step.
        threshold: most tokens of a short prompt.
        promote: seconds after which a long prompt goes before short ones.
    """

    cut: ClassVar[Cut] = "none"
    wake: ClassVar[Wake] = "events"
    budget: int = 2048
    threshold: int = 256
    promote: float = 2.0

    def __post_init__(self) -> None:
        check_positive(self, "budget")
        if not self.promote >= 0:
            raise InputError("option promote", found=self.promote, expected=">= 0 seconds")

    @cached_property
    def short_first(self) -> Order:
        """Short prompts, then long ones."""
        return Fixed(lambda candidate: candidate.input_length > self.threshold)

    @cached_property
    def long_first(self) -> Order:
        """Long prompts, then short ones."""
        return Fixed(lambda candidate: candidate.input_length <= self.threshold)

    def choose(self, view: View) -> Pass | None:
        """The next step."""
        return chunk(view, self.budget, self._queue(view))

    def _queue(self, view: View) -> Iterator[Request]:
        """Long prompts that have waited for too long, short ones, the other long ones."""
        promoted: set[int] = set()
        for request in view.ranked(self.long_first):
            if request.input_length <= self.threshold or view.now < request.arrival_s + self.promote:
                break
            promoted.add(request.id)
            yield request
        for request in view.ranked(self.short_first):
            if request.id not in promoted:
                yield request


@dataclass(frozen=True)
class LAPS:
    """Short prompts wait until they fill a batch or a window has passed; meanwhile long ones run, each alone.

    After LAPS (arXiv 2601.11589), of which the abstract and a summary were read: two queues by the tokens to compute,
    each in order of arrival. Short prompts run as one batch as soon as `depth` of them wait or the first has waited for
    `window` seconds; else the first long one runs, and if there is none, nothing. The paper adapts both numbers to the
    traffic and groups short prompts by the shapes of CUDA graphs; here they are fixed, and those given are flowsim's.
    Which queue goes first when both could is not in the abstract: here the short one does, and long ones may starve.

    Attributes:
        threshold: most tokens of a short prompt.
        window: seconds that the first short prompt waits for others.
        depth: short prompts of a full batch.
    """

    cut: ClassVar[Cut] = "none"
    wake: ClassVar[Wake] = "events"
    threshold: int = 256
    window: float = 0.01
    depth: int = 8

    def __post_init__(self) -> None:
        check_positive(self, "depth")
        if not self.window >= 0:
            raise InputError("option window", found=self.window, expected=">= 0 seconds")

    @cached_property
    def short_first(self) -> Order:
        """Short prompts, then long ones."""
        return Fixed(lambda candidate: candidate.tokens > self.threshold)

    @cached_property
    def long_first(self) -> Order:
        """Long prompts, then short ones."""
        return Fixed(lambda candidate: candidate.tokens <= self.threshold)

    def choose(self, view: View) -> Pass | Decision | None:
        """A batch of short prompts that is due, the first long prompt, or when the next batch is due."""
        batch = self._batch(view)
        due_s = batch[0].arrival_s + self.window if batch else 0.0
        if batch and (len(batch) == self.depth or view.now >= due_s):
            return Pass.whole(*batch)
        first = view.next_waiting(self.long_first)
        if first is not None and first.tokens > self.threshold and view.fits(first):
            return Pass.whole(first)
        return Decision(wake_at=due_s) if batch else None

    def _batch(self, view: View) -> list[Request]:
        """The first short prompts, up to `depth` and to those for which KV blocks are free."""
        batch: list[Request] = []
        free = view.free_tokens
        for request in islice(view.ranked(self.short_first), self.depth):
            if request.tokens > self.threshold or request.kv_tokens > free:
                break
            batch.append(request)
            free -= request.kv_tokens
        return batch
