"""Why requests missed their SLOs, on the screen: reasons by class, how evenly they waited; or one request's story."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flowsim.io.counts import number_of
from flowsim.results.explain import Explanation, Span, Story
from flowsim.results.fairness import Fairness
from flowsim.show.format import percent, seconds
from flowsim.show.reasons import REASONS, SERVABLE, reason_rows
from flowsim.show.screen import facts, table

TOLD = {
    "alone": "ran",
    "paused": "preempted",
    "between": "between its chunks",
    "blocked": "blocked",
    "earlier": "behind earlier deadlines",
    "later": "behind later deadlines",
    "mispredicted": "mispredicted, behind",
}
MOST_TOLD = 8
"""Requests that a line of a story names."""


def explanation_report(why: Explanation) -> RenderableType:
    """One screen about the misses of a run."""
    summary, missed = why.result.summary, len(why.missed)
    head = [("policy", why.result.policy), ("missed", f"{missed:,} of {number_of(summary['counted'], 'request')}")]
    head.append(("attained", percent(summary["attainment"])))
    misses: list[RenderableType] = [Text(), _by_class("missed", why.by_class, REASONS)] if missed else []
    if missed and why.servable_by_class is not None:
        misses += [Text(), _by_class("could be in time", why.servable_by_class, SERVABLE)]
    return Group(facts(head), *misses, Text(), facts(_fairness(why.fairness)))


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
    why += [] if story.servable is None else [("could be in time", SERVABLE[story.servable])]
    return Group(made, Text(), facts([*why, ("parts", parts)]))


def _by_class(title: str, by_class: Mapping[str, Mapping[str, int]], told_of: Mapping[str, str]) -> Table:
    """One row for each of `told_of` that there is, one column per class."""
    made = table(title, *by_class, "all")
    for row in reason_rows(by_class, told_of):
        made.add_row(*row)
    return made


def _fairness(fairness: Fairness) -> Iterator[tuple[str, str]]:
    if fairness.longest_s is not None:
        yield "longest wait", f"{seconds(fairness.longest_s)}: request {fairness.longest}"
    if fairness.starved:
        yield "starved", f"{number_of(fairness.starved, 'request')}: no first token within 10 SLOs"
    if fairness.worst_class is not None:
        yield "worst class", fairness.worst_class
    if fairness.jain is not None:
        yield "Jain's index", f"{fairness.jain:.3f} over slowdown: TTFT / the time alone"
    for client, slowdown in fairness.clients.items():
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
