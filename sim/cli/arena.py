"""`flowsim arena`: every policy on every traffic, load and SLO mix, ranked."""

from __future__ import annotations

from typing import Any

import click

from flowsim.cli.command import Command, quiet_option, say, working
from flowsim.cli.studies import setting, workers_options
from flowsim.errors import InputError


@click.command(cls=Command)
@click.option(
    "--policy",
    "policies",
    multiple=True,
    metavar="SPEC",
    help="A policy of your own, or a variant of ours, that competes too (MODULE:CLASS); once for each.",
)
@click.option("--only", is_flag=True, help="Only the policies of --policy compete (and flowprefill).")
@click.option(
    "--trace",
    "traces",
    multiple=True,
    metavar="NAME=PATH",
    help="Traffic from a file; once for each. A NAME of ours (qwen, conversation, code, mooncake, bursts) replaces it.",
)
@click.option("--requests", type=int, metavar="N", help="Requests of each traffic.  [default: 10000; 500 if --quick]")
@click.option("--quick", is_flag=True, help="A rough answer: 500 requests of each traffic.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="An option of all runs, as flowsim sweep --help lists them: --set gpu=h100 --set predictor=noisy:0.2",
)
@click.option("--out", metavar="DIR", help="Save the page and the tables there; an arena begun there goes on.")
@workers_options
@quiet_option
def arena(
    policies: tuple[str, ...],
    traces: tuple[str, ...],
    settings: tuple[str, ...],
    out: str | None,
    quiet: bool,
    **how: Any,
) -> int:
    """Run every policy on every traffic, load and SLO mix, and rank them.

    The score is the mean share of the clairvoyant bound (see flowsim bound) over all cells: five kinds of traffic,
    drawn from what flowsim knows of production traces, at four loads from 0.7 to 1.4 of what the device can do at best,
    under three SLO mixes. Differences are paired by request.

    DIR gets arena.html (the page), ranking.csv, arena.parquet and arena.csv (one row per cell and policy), and
    arena.png; arena.json, with which flowsim show DIR shows it again; and runs.parquet and study.yaml, as flowsim sweep
    writes them. The bytes do not depend on the number of workers, but for those of decision_costs.csv, which are
    measured on this machine, and of what repeats them.

    \b
    Examples:
      flowsim arena --quick
      flowsim arena --out arena --policy my_policy:MyPolicy
      flowsim arena --only --policy edf --policy llf --requests 1000 --trace mine=trace.jsonl
    """
    from flowsim.arena.arena_text import arena_report
    from flowsim.arena.compete import compete
    from flowsim.rendering.screen import show

    base: dict[str, Any] = {}
    for text in settings:
        base |= setting(text)
    with working("competing", quiet=quiet) as progress:
        found = compete(policies, traces=dict(map(_named, traces)), out=out, progress=progress, **how, **base)
    if out:
        found.save(out)
    if not quiet:
        show(arena_report(found))
        if out:
            say(f"saved arena.html, ranking.csv, arena.parquet, arena.csv and arena.png in {out}")
    return 1 if found.failed else 0


def _named(text: str) -> tuple[str, str]:
    """The name and the path of one --trace. InputError: not NAME=PATH."""
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise InputError("--trace", found=text, expected="NAME=PATH")
    return name, path
