"""A pass as a policy names it (`Pass`) and as an instance executes it (`Execution`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

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
        """All tokens that are left of each of these requests."""
        return cls(tuple([(request, request.tokens) for request in requests]))


class Execution:
    """A pass that has been launched and has not completed: the running one, or a paused one.

    It is ranked like a request: `id`, `arrival_s`, `slo_s`, `deadline_s` and `class_name` are its head's; `tokens` and
    `predicted_s` are what is left of the whole batch when it was last stopped (for the running one: now).
    Only the engine changes it. `timeline` is what its device knows of its course: `duration_s`, `progress(elapsed_s)`.
    """

    __slots__ = (
        "arrival_s",
        "batch_tokens",
        "begun_s",
        "class_name",
        "deadline_s",
        "elapsed_s",
        "id",
        "parts",
        "passed",
        "predicted_s",
        "slo_s",
        "taken_s",
        "timeline",
        "tokens",
    )

    def __init__(self, parts: tuple[Part, ...], timeline: Any) -> None:
        head = parts[0][0]
        self.id = head.id
        self.arrival_s = head.arrival_s
        self.slo_s = head.slo_s
        self.deadline_s = head.deadline_s
        self.class_name = head.class_name
        self.parts = parts
        self.timeline = timeline
        self.batch_tokens = self.tokens = sum([tokens for _, tokens in parts])
        self.predicted_s = head.predicted_s
        self.elapsed_s = 0.0
        """How far it had got when it was last stopped, seconds of its timeline."""
        self.begun_s = 0.0
        """The moment at which it would have begun, had it never been stopped; where a GPU's speed varies, not kept."""
        self.taken_s = 0.0
        """How long it had run by then, where a GPU's speed varies."""
        self.passed = -1
        """Number of the cut at which it was last stopped."""

    @property
    def requests(self) -> Iterable[Request]:
        """Its members, head first."""
        return [request for request, _ in self.parts]

    def __repr__(self) -> str:
        """The execution in one line."""
        members = ", ".join(str(request.id) for request in self.requests)
        return f"Execution(requests {members}; {self.tokens} of {self.batch_tokens} tokens left)"
