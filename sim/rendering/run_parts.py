"""The parts that only the page of a run has: a stretch of it as a Gantt chart, and the stories of its requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from msgspec import Struct

from flowsim.rendering.page import Facts, PagePart, Table

STORY = "story"
"""The event by which a page is asked for the story of a request; it sends the request's key."""


class Bar(Struct, frozen=True, array_like=True):
    """A stretch of time in a row: from when to when, seconds; "waiting", "running" or "paused"; what to say of it."""

    began_s: float
    ended_s: float
    state: str
    text: str
    colour: int = 0


class GanttRow(Struct, frozen=True):
    """A row of a Gantt chart, of an instance or of a request.

    Attributes:
        name: at its left.
        bars: in order.
        due_s: when the request is due; None for an instance, or without an SLO.
        missed: why the request missed its SLO; "" if it did not.
        story: the key of the request's story; "" if there is none.
    """

    name: str
    bars: Sequence[Bar]
    due_s: float | None = None
    missed: str = ""
    story: str = ""


class GanttView(Struct, frozen=True):
    """What a Gantt chart shows of one policy: the rows of its instances and requests, and what is left out of them."""

    name: str
    instances: Sequence[GanttRow]
    requests: Sequence[GanttRow]
    note: str = ""


class Gantt(PagePart, frozen=True):
    """Who ran and who waited from `from_s` to `to_s`, seconds, of each of several policies on the same requests.

    Attributes:
        classes: the classes, by the number of their colour.
    """

    scripts: ClassVar[Sequence[str]] = ("gantt.js",)
    from_s: float
    to_s: float
    classes: Sequence[str]
    views: Sequence[GanttView]


class RequestStory(Struct, frozen=True):
    """The story of a request: its title, what happened when, and the facts."""

    title: str
    table: Table
    facts: Facts


class Stories(PagePart, frozen=True):
    """Stories by their keys, of which one is shown: the first, until the page is asked for another by `STORY`."""

    scripts: ClassVar[Sequence[str]] = ("stories.js",)
    stories: Mapping[str, RequestStory]
