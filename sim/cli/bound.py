"""`flowsim bound`: how much any scheduler could attain."""

from __future__ import annotations

from typing import Any

import click

from flowsim.cli.click_options import check_costs, flags_named, stated, with_options
from flowsim.cli.kit import Command
from flowsim.cli.run import TRACE_HELP


@click.command(
    cls=Command,
    help="Show how much of TRACE any scheduler could serve within its SLOs, knowing all that is to come: the "
    f"clairvoyant bound.\n\n{TRACE_HELP}\n\n\b\nExample:\n  flowsim bound example --rate-scale 8",
)
@click.argument("trace")
@with_options(besides=["bound"])
@click.pass_context
def bound(context: click.Context, /, trace: str, **options: Any) -> None:
    """Show how much any scheduler could attain."""
    check_costs(context)
    from flowsim.runs.bound import clairvoyant
    from flowsim.show.screen import facts, show

    with flags_named():
        found = clairvoyant(trace, **stated(options))
    load = f"{found.offered_load:.3g}: least device seconds of work that arrive per second at each instance"
    show(facts([*found.both.facts(), ("offered load", load)]))
