"""The definitions of the metrics, as tables of docs/metrics.md."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from flowsim.results.definitions.files import POPULATION, describe_metrics

WIDTH = 120


def population() -> Iterator[str]:
    """What all metrics have in common."""
    for place, paragraph in enumerate(POPULATION):
        yield from ([""] if place else [])
        yield from textwrap.wrap(paragraph, WIDTH)


def definitions() -> Iterator[str]:
    """A heading and a table for each file."""
    for place, (title, rows) in enumerate(describe_metrics().items()):
        yield from ([""] if place else [])
        yield from (f"## {title}", "", "| name | what it is | formula |", "| --- | --- | --- |")
        yield from (f"| {' | '.join(row)} |" for row in rows)
