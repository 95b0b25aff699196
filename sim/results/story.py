"""What became of one request: what it waited for and when it ran."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from flowsim.rendering.format import seconds
from flowsim.rendering.html import story_html
from flowsim.rendering.reasons import REASONS, SERVABLE

TOLD = {
    "alone": "ran",
    "paused": "preempted",
    "between": "between its chunks",
    "blocked": "blocked",
    "earlier": "behind earlier deadlines",
    "later": "behind later deadlines",
    "mispredicted": "mispredicted, behind",
    "idle": "the device was idle",
    "frontend": "before the scheduler had it",
    "return": "way back of the first token",
}
MOST_TOLD = 8
"""Requests that a line of a story names."""


class Span(NamedTuple):
    """A stretch of a request's wait, as its story tells it.

    Attributes:
        began_s: from when, seconds.
        ended_s: until when.
        part: which of PARTS; its own passes are "alone", whatever they take.
        lasted_s: how long these passes ran, or the device was idle.
        requests: the other requests of these passes, in the order in which they first ran.
    """

    began_s: float
    ended_s: float
    part: str
    lasted_s: float
    requests: tuple[int, ...]


class Story(NamedTuple):
    """What became of one request.

    Attributes:
        request: its id.
        class_name: its class.
        tokens: tokens of its prompt.
        arrival_s: when it arrived, seconds.
        slo_s: its TTFT SLO; NaN for none.
        alone_s: how long it takes alone on a rested GPU.
        finished_s: when its first token was there; NaN for never.
        rejected: whether it was rejected.
        reason: one of REASONS if it is a counted miss; else None.
        servable: one of SERVABLE if it is, and this is known; else None.
        parts_s: seconds of each part of its wait, which they add up to.
        spans: what it waited for and when it ran, in order; decisions and hand-overs are left out.
    """

    request: int
    class_name: str
    tokens: int
    arrival_s: float
    slo_s: float
    alone_s: float
    finished_s: float
    rejected: bool
    reason: str | None
    servable: str | None
    parts_s: Mapping[str, float]
    spans: Sequence[Span]

    def to_dict(self) -> dict[str, Any]:
        """All of this as plain values, for JSON."""
        return self._asdict() | {"spans": [span._asdict() for span in self.spans]}

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Its times as people read them: when, how long, and what; one row per span between two for its ends."""
        due = "" if self.slo_s != self.slo_s else f", due at {self.arrival_s + self.slo_s:.3f} s"
        arrived = f"{self.class_name}: {self.tokens:,} tokens, at least {seconds(self.alone_s)} alone{due}"
        yield f"{self.arrival_s:.3f} s", "", f"arrived, {arrived}"
        for span in self.spans:
            yield f"{span.began_s:.3f} s", seconds(span.lasted_s), _told(span)
        yield _end(self)

    def facts(self) -> list[tuple[str, str]]:
        """Why it missed its SLO, if it did, and the parts of its wait."""
        parts = ", ".join(f"{name} {seconds(value)}" for name, value in self.parts_s.items() if value > 0)
        why = [] if self.reason is None else [("reason", REASONS[self.reason])]
        why += [] if self.servable is None else [("could be in time", SERVABLE[self.servable])]
        return [*why, ("parts", parts)]

    def _repr_html_(self) -> str:
        return story_html(f"request {self.request}", self.rows(), self.facts())


def _told(span: Span) -> str:
    if not span.requests:
        return TOLD[span.part]
    more = len(span.requests) - MOST_TOLD
    named = ", ".join(str(id) for id in span.requests[:MOST_TOLD]) + (f" and {more:,} more" if more > 0 else "")
    return f"{TOLD[span.part]}{' with' if span.part == 'alone' else ':'} {named}"


def _end(story: Story) -> tuple[str, str, str]:
    if story.rejected:
        return f"{story.arrival_s + sum(story.parts_s.values()):.3f} s", "", "rejected"
    if story.finished_s != story.finished_s:
        return f"{story.arrival_s + sum(story.parts_s.values()):.3f} s", "", "the replay ended without a first token"
    late_s = story.finished_s - story.arrival_s - story.slo_s
    judged = "" if late_s != late_s else f", {seconds(abs(late_s))} {'too late' if late_s > 0 else 'in time'}"
    return f"{story.finished_s:.3f} s", "", f"first token{judged}"
