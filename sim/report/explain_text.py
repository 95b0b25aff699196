"""Why requests missed their SLOs, on the screen: reasons by class, how evenly they waited; or one request's story."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flowsim.io.counts import number_of, percent
from flowsim.rendering.format import seconds
from flowsim.rendering.reasons import REASONS, SERVABLE, reason_rows
from flowsim.rendering.run_text import head_facts
from flowsim.rendering.screen import facts, table
from flowsim.rendering.summary_text import uncounted_facts
from flowsim.results.explain import Explanation
from flowsim.results.fairness import Fairness
from flowsim.results.story import Story


def explanation_report(why: Explanation) -> RenderableType:
    """One screen about the misses of a run."""
    summary, missed = why.result.summary, len(why.missed)
    attained = [
        ("missed", f"{missed:,} of {number_of(summary['counted'], 'request')}"),
        ("attained", percent(summary["attainment"])),
        *uncounted_facts(summary),
    ]
    misses: list[RenderableType] = [Text(), _by_class("missed", why.by_class, REASONS)] if missed else []
    if missed and why.servable_by_class is not None:
        misses += [Text(), _by_class("could be in time", why.servable_by_class, SERVABLE)]
    return Group(_head(why, attained), *misses, Text(), facts(_fairness(why.fairness)))


def request_report(why: Explanation, request: int) -> RenderableType:
    """One screen about one request of a run. InputError: there is no such request."""
    return Group(_head(why), Text(), story_report(why.story(request)))


def story_report(story: Story) -> RenderableType:
    """One request in time."""
    made = table("time")
    made.add_column("lasted", justify="right")
    made.add_column(f"request {story.request}", overflow="fold")
    for row in story.rows():
        made.add_row(*row)
    return Group(made, Text(), facts(story.facts()))


def _head(why: Explanation, more: Iterable[tuple[str, str]] = ()) -> Table:
    return facts([*head_facts(why.result.summary, [("policy", why.result.policy)]), *more])


def _by_class(title: str, by_class: Mapping[str, Mapping[str, int]], told_of: Mapping[str, str]) -> Table:
    """One row for each of `told_of` that there is, one column per class."""
    made = table(title, *by_class, "all")
    for row in reason_rows(by_class, told_of):
        made.add_row(*row)
    return made


def _fairness(fairness: Fairness) -> Iterator[tuple[str, str]]:
    if fairness.longest_s is not None:
        yield "longest TTFT", f"{seconds(fairness.longest_s)}: request {fairness.longest}"
    if fairness.starved:
        yield "starved", f"{number_of(fairness.starved, 'request')}: no first token within 10 SLOs"
    if fairness.worst_class is not None:
        yield "worst class", fairness.worst_class
    if fairness.jain is not None:
        yield "Jain's index", f"{fairness.jain:.3f} over slowdown: TTFT / the time alone"
    for client, slowdown in fairness.clients.items():
        yield f"client {client}", f"slowed down {slowdown:.3g} times on average"
