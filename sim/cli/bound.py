"""`flowsim bound`: how much any scheduler could attain."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import click

from flowsim.cli.click_options import check_costs, flags_named, stated, with_options
from flowsim.cli.command import Command, replaying
from flowsim.cli.run import TRACE_HELP


@click.command(
    cls=Command,
    help="Show how much of TRACE any scheduler could serve within its SLOs, knowing all that is to come: the "
    f"clairvoyant bound.\n\n{TRACE_HELP}\n\n\b\nExamples:\n  flowsim bound example --rate-scale 8\n"
    "  flowsim bound example --max-goodput .9",
)
@click.argument("trace")
@click.option(
    "--max-goodput",
    "target",
    metavar="TARGET",
    help="Find also the rate from which on no scheduler meets this target: 0.9, or by class (text=.99,search=.9).",
)
@with_options(besides=["bound", "concurrency", "until_s"])
@click.pass_context
def bound(context: click.Context, /, trace: str, target: str | None, **options: Any) -> None:
    """Show how much any scheduler could attain."""
    check_costs(context)
    from flowsim.rendering.screen import facts, show
    from flowsim.runs.bound import clairvoyant

    with flags_named(), replaying(quiet=False) as progress:
        found = replace(clairvoyant(trace, **stated(options)), progress=progress)
        said = found.both.facts()
        rate = [] if target is None else _max_goodput(trace, target, stated(options))
    load = f"{found.offered_load:.3g}: least device seconds of work that arrive per second at each instance"
    load = (
        load if math.isfinite(found.offered_load) else "none: all requests arrive at one instant, so there is no rate"
    )
    show(facts([*said, ("offered load", load), *rate]))


def _max_goodput(trace: str, target: str, options: dict[str, Any]) -> list[tuple[str, str]]:
    """The rate from which on no scheduler meets a target, in words."""
    from flowsim.runs.bound import ANY_POLICY
    from flowsim.runs.keywords import from_keywords
    from flowsim.studies.bound_rate import bound_rate_rps
    from flowsim.studies.point import Point
    from flowsim.studies.search import Search

    search = Search(target)
    rate_rps = bound_rate_rps(Point(from_keywords(trace, ANY_POLICY, options)[0]), ".", search)
    if math.isinf(rate_rps):
        return [("max goodput", f"the bound allows the target {search.target_text} at every rate tried")]
    return [("max goodput", f"< {rate_rps:.4g} req/s: no scheduler meets the target {search.target_text} at that rate")]
