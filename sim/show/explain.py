"""Why requests missed their SLOs, on the screen: reasons by class, how even the waiting is; or one request's story."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flowsim.io.counts import number_of
from flowsim.show.format import percent, seconds
from flowsim.show.reasons import REASONS
from flowsim.show.screen import facts, table

TOLD = {
    "alone": "ran",
    "paused": "preempted",
    "blocked": "blocked",
    "earlier": "behind earlier deadlines",
    "later": "behind later deadlines",
}
MOST_TOLD = 8
"""Requests that a line of a story names."""


class Even(Protocol):
    """How evenly waiting is spread (`flowsim.results.explain.Fairness`)."""

    @property
    def longest(self) -> int | None:
        """Who waited longest."""

    @property
    def longest_s(self) -> float | None:
        """How long."""

    @property
    def worst_class(self) -> str | None:
        """The class with the lowest attainment."""

    @property
    def jain(self) -> float | None:
        """Jain's index over slowdown."""

    @property
    def clients(self) -> Mapping[str, float]:
        """The mean slowdown of each client."""


class Span(Protocol):
    """A stretch of a request's wait (`flowsim.results.explain.Span`)."""

    @property
    def began_s(self) -> float:
        """From when."""

    @property
    def part(self) -> str:
        """Which part of the TTFT."""

    @property
    def lasted_s(self) -> float:
        """How long passes ran."""

    @property
    def requests(self) -> Sequence[int]:
        """Whose passes."""


class Story(Protocol):
    """What became of one request (`flowsim.results.explain.Story`)."""

    @property
    def request(self) -> int:
        """Its id."""

    @property
    def class_name(self) -> str:
        """Its class."""

    @property
    def tokens(self) -> int:
        """Tokens of its prompt."""

    @property
    def arrival_s(self) -> float:
        """When it arrived."""

    @property
    def slo_s(self) -> float:
        """Its TTFT SLO."""

    @property
    def alone_s(self) -> float:
        """The least TTFT that it could have alone."""

    @property
    def finished_s(self) -> float:
        """When its first token was there."""

    @property
    def rejected(self) -> bool:
        """Whether it was rejected."""

    @property
    def reason(self) -> str | None:
        """Why it missed its SLO."""

    @property
    def parts_s(self) -> Mapping[str, float]:
        """The parts of its wait."""

    @property
    def spans(self) -> Sequence[Span]:
        """What it waited for and when it ran."""


def explanation_report(
    policy: str, requests: int, by_class: Mapping[str, Mapping[str, int]], attained: float | None, even: Even
) -> RenderableType:
    """One screen about the misses among `requests` counted requests, of which the share `attained` met their SLO."""
    missed = sum(sum(counts.values()) for counts in by_class.values())
    head = [("policy", policy), ("missed", f"{missed:,} of {number_of(requests, 'request')}")]
    head.append(("attained", percent(attained)))
    misses: list[RenderableType] = [Text(), _misses(by_class)] if missed else []
    return Group(facts(head), *misses, Text(), facts(_fairness(even)))


def story_report(story: Story) -> RenderableType:
    """One request in time."""
    made = table("time")
    made.add_column("lasted", justify="right")
    made.add_column(f"request {story.request}", overflow="fold")
    due = "" if story.slo_s != story.slo_s else f", due at {story.arrival_s + story.slo_s:.3f} s"
    arrived = f"{story.class_name}: {story.tokens:,} tokens, at least {seconds(story.alone_s)} alone{due}"
    made.add_row(f"{story.arrival_s:.3f} s", "", f"arrived, {arrived}")
    for span in story.spans:
        made.add_row(f"{span.began_s:.3f} s", seconds(span.lasted_s), _told(span))
    made.add_row(*_end(story))
    parts = ", ".join(f"{name} {seconds(value)}" for name, value in story.parts_s.items() if value > 0)
    why = [] if story.reason is None else [("reason", REASONS[story.reason])]
    return Group(made, Text(), facts([*why, ("parts", parts)]))


def _misses(by_class: Mapping[str, Mapping[str, int]]) -> Table:
    """One row per reason that there is, one column per class."""
    made = table("missed", *by_class, "all")
    for reason, told in REASONS.items():
        counts = [of[reason] for of in by_class.values()]
        if sum(counts):
            made.add_row(told, *(f"{count:,}" for count in (*counts, sum(counts))))
    return made


def _fairness(even: Even) -> Iterator[tuple[str, str]]:
    if even.longest_s is not None:
        yield "longest wait", f"{seconds(even.longest_s)}: request {even.longest}"
    if even.worst_class is not None:
        yield "worst class", even.worst_class
    if even.jain is not None:
        yield "Jain's index", f"{even.jain:.3f} over slowdown: TTFT / the least TTFT alone"
    for client, slowdown in even.clients.items():
        yield f"client {client}", f"slowed down {slowdown:.3g} times on average"


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
