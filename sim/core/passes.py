"""A pass as a policy names it (`Pass`) and as an instance executes it (`Execution`); a whole `Decision`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct

from flowsim.core.request import Request

Part = tuple[Request, int]
"""A member of a pass, and how many of its tokens the pass computes."""


class Pass(Struct, frozen=True):
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
    """What an instance and predictors ask about the progress of a pass."""

    @property
    def duration_s(self) -> float:
        """How long the whole pass takes, seconds."""

    @property
    def overhead_s(self) -> float:
        """How much of that is due to checks, seconds; 0 if unknown."""

    def progress(self, elapsed_s: float) -> tuple[int, float]:
        """After `elapsed_s`: tokens of the completed forwards, and seconds since the last of them ended."""


class Execution(Struct, frozen=True, eq=False):
    """A pass that has been launched and has not completed: the running one, or a paused one.

    It is ranked like a request: `id`, `arrival_s`, `slo_s`, `deadline_s`, `class_name`, `client`, `priority`,
    `input_length`, `output_length` and `predicted_whole_s` are its head's; `tokens` and `predicted_s` are what is left
    of the whole batch when it was last stopped (for the running one: now). It is frozen as a request is. `Execution.of`
    makes one.

    Attributes:
        parts: (request, tokens) for each member, head first.
        timeline: what its device knows about its progress.
        members: ids of the members, head first; `shares`: how many tokens of each the pass computes.
        batch_tokens: tokens of the whole pass.
        tokens: tokens left.
        predicted_s: predicted seconds left.
        elapsed_s: how far it had got when it was last stopped, seconds of its timeline.
        taken_s: how long it had run by then, seconds; differs from `elapsed_s` where a GPU's speed varies.
        began_s, ended_s: when its latest stretch of uninterrupted execution began and ended.
        passed: number of the cut at which it was last stopped; -1 before.
    """

    parts: tuple[Part, ...]
    timeline: PassTimeline
    members: tuple[int, ...]
    shares: tuple[int, ...]
    batch_tokens: int
    tokens: int
    id: int
    arrival_s: float
    slo_s: float
    deadline_s: float
    class_name: str
    predicted_s: float
    elapsed_s: float = 0.0
    taken_s: float = 0.0
    began_s: float = 0.0
    ended_s: float = 0.0
    passed: int = -1

    @classmethod
    def of(cls, parts: tuple[Part, ...], timeline: PassTimeline) -> Execution:
        """The execution of these parts, about to begin."""
        head = parts[0][0]
        members = tuple([request.id for request, _ in parts])
        shares = tuple([tokens for _, tokens in parts])
        tokens = sum(shares)
        return cls(
            parts,
            timeline,
            members,
            shares,
            tokens,
            tokens,
            head.id,
            head.arrival_s,
            head.slo_s,
            head.deadline_s,
            head.class_name,
            head.predicted_s,
        )

    @property
    def requests(self) -> Sequence[Request]:
        """Its members, head first."""
        return [request for request, _ in self.parts]

    @property
    def client(self) -> str:
        """The client of its head."""
        return self.parts[0][0].client

    @property
    def priority(self) -> int:
        """The priority of its head."""
        return self.parts[0][0].priority

    @property
    def input_length(self) -> int:
        """Tokens of the whole prompt of its head."""
        return self.parts[0][0].input_length

    @property
    def predicted_whole_s(self) -> float:
        """Predicted seconds of the whole prompt of its head."""
        return self.parts[0][0].predicted_whole_s

    @property
    def output_length(self) -> int:
        """Tokens that its head will generate."""
        return self.parts[0][0].output_length

    @property
    def cached(self) -> int:
        """Tokens that its head found in the prefix cache."""
        return self.parts[0][0].cached

    @property
    def kv_tokens(self) -> int:
        """Tokens of the KV blocks that its members hold, shared or not."""
        return sum([request.kv_tokens for request, _ in self.parts])

    def __repr__(self) -> str:
        """The execution in one line."""
        members = ", ".join(map(str, self.members))
        return f"Execution(requests {members}; {self.tokens} of {self.batch_tokens} tokens left)"


class Decision(NamedTuple):
    """What a policy decides when that is more than what runs.

    Attributes:
        run: a new `Pass`, a paused or the running `Execution`, or None for no change.
        reject: waiting requests that are turned away for good; they count as missed.
        wake_at: when the policy is asked again at the latest, seconds, after now; None for no timer. Each decision
            sets it anew, and one without it sets none. A policy that is not asked while a pass runs (`cut = "none"`),
            or only at its cuts, is asked at the next such moment.
    """

    run: Pass | Execution | None = None
    reject: Sequence[Request] = ()
    wake_at: float | None = None
