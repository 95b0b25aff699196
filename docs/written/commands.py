"""The commands, from the sections of the command line."""

from __future__ import annotations

from collections.abc import Iterator

import click

from flowsim.cli.main import SECTIONS


def by_section() -> Iterator[str]:
    """A heading and a table for each section: one row per command, and one per command of a group."""
    for place, (heading, commands) in enumerate(SECTIONS.items()):
        yield from ([""] if place else [])
        yield from (f"## {heading}", "", "| command | what it does |", "|---|---|")
        for command, line in commands.items():
            yield f"| `flowsim {command.name}` | {line} |"
            for name, inner in sorted(command.commands.items()) if isinstance(command, click.Group) else ():
                yield f"| `flowsim {command.name} {name}` | {inner.get_short_help_str(limit=400)} |"
