"""`flowsim doctor`: what is installed, and what is missing for what."""

from __future__ import annotations

import click

from flowsim.cli.command import Command


@click.command(cls=Command)
def doctor() -> int:
    """Say which versions, libraries, GPU, tables and policies are here, and what is missing for what.

    The exit status is 1 if flowsim cannot work as it is installed.

    \b
    Example:
      flowsim doctor
    """
    from flowsim.rendering.screen import facts, show
    from flowsim.runs.doctor import doctor as look

    findings = look()
    show(facts((one.name, one.found) for one in findings))
    for one in findings:
        if one.remedy:
            click.echo(f"missing {'for flowsim' if one.needed else one.name}: {one.remedy}")
    return int(any(one.needed and one.remedy for one in findings))
