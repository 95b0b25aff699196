"""A pass as a policy names it (`Pass`) and as an instance executes it (`Execution`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from flowsim.core.request import Request

Part = tuple[Request, int]
"""A member of a pass, and how many of its tokens the pass computes."""


class Pass(NamedTuple):
    """What a policy wants executed next: which requests, and how many tokens of each.

    Attributes:
        parts: (request, tokens) for each member; the first is the head, which stands for the whole batch in every
            order. Tokens are at most `request.tokens`.
    """

    parts: tuple[Part, ...]

    @classmethod
    def whole(cls, *requests: Request) -> Pass:
        """All remaining tokens of each of these requests."""
        return cls(tuple([(request, request.tokens) for request in requests]))


class PassTimeline(Protocol):
    """What an instance and predictors ask about the course of a pass."""

    @property
    def duration_s(self) -> float:
        """How long the whole pass takes, seconds."""

    @property
    def overhead_s(self) -> float:
        """How much of that is due to checks, seconds; 0 if unknown."""

    def progress(self, elapsed_s: float) -> tuple[int, float]:
        """After `elapsed_s`: tokens of the completed forwards, and seconds since the last of them ended."""


class Execution:
    """A pass that has been launched and has not completed: the running one, or a paused one.

    It is ranked like a request: `id`, `arrival_s`, `slo_s`, `deadline_s`, `class_name`, `priority` and `client` are its
    head's; `tokens` and `predicted_s` are what is left of the whole batch when it was last stopped (for the running
    one: now).
    Only the engine changes it.

    Attributes:
        parts: (request, tokens) for each member, head first.
        members: ids of the members, head first; `shares`: how many tokens of each the pass computes.
        timeline: what its device knows about its course.
        batch_tokens: tokens of the whole pass.
        tokens: tokens left.
        predicted_s: predicted seconds left.
        elapsed_s: how far it had got when it was last stopped, seconds of its timeline.
        taken_s: how long it had run by then, seconds; differs from `elapsed_s` where a GPU's speed varies.
        began_s, ended_s: when its latest stretch of uninterrupted execution began and ended.
        passed: number of the cut at which it was last stopped; -1 before.
    """

    __slots__ = (
        "arrival_s",
        "batch_tokens",
        "began_s",
        "class_name",
        "client",
        "deadline_s",
        "elapsed_s",
        "ended_s",
        "id",
        "members",
        "parts",
        "passed",
        "predicted_s",
        "priority",
        "shares",
        "slo_s",
        "taken_s",
        "timeline",
        "tokens",
    )

    def __init__(self, parts: tuple[Part, ...], timeline: PassTimeline) -> None:
        head = parts[0][0]
        self.id = head.id
        self.arrival_s = head.arrival_s
        self.slo_s = head.slo_s
        self.deadline_s = head.deadline_s
        self.class_name = head.class_name
        self.priority = head.priority
        self.client = head.client
        self.parts = parts
        self.members = tuple([request.id for request, _ in parts])
        self.shares = tuple([tokens for _, tokens in parts])
        self.timeline = timeline
        self.batch_tokens = self.tokens = sum(self.shares)
        self.predicted_s = head.predicted_s
        self.elapsed_s = self.taken_s = self.began_s = self.ended_s = 0.0
        self.passed = -1

    @property
    def requests(self) -> Sequence[Request]:
        """Its members, head first."""
        return [request for request, _ in self.parts]

    def __repr__(self) -> str:
        """The execution in one line."""
        members = ", ".join(map(str, self.members))
        return f"Execution(requests {members}; {self.tokens} of {self.batch_tokens} tokens left)"
