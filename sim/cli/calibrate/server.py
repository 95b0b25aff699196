"""`flowsim calibrate server`: the serving stack of a real server, fitted from a log of it."""

from __future__ import annotations

from shlex import quote
from typing import Any

import click

from flowsim.cli.click_options import check_costs, flags_named, stated, with_options
from flowsim.cli.command import Command
from flowsim.runs.keywords import paths_of
from flowsim.runs.options import from_values

ANY_SLO_S = 1000.0
"""A request alone takes what it takes, whatever its SLO."""


@click.command(cls=Command)
@click.argument("log")
@click.option("--policy", default="fcfs", show_default=True, metavar="SPEC", help="The server's scheduler.")
@with_options("model", "gpu", "tp", "cost", "format", "drop_failed", "slots", "max_batched_tokens", "kv_tokens", "seed")
@click.option("--out", metavar="FILE", default="stack.yaml", show_default=True, help="The file that --stack takes.")
@click.pass_context
def server(context: click.Context, /, log: str, policy: str, out: str, **options: Any) -> None:
    """Fit the serving stack around a real server's GPU from LOG, a log of it (docs/servers.md).

    Of the requests that ran alone: a constant and a jitter, a factor of the device's times and host time per forward,
    each with a 95 % interval, as far as they can be told apart.

    \b
    Example:
      flowsim calibrate server bench.json --gpu h200 --model llama3-8b
      flowsim validate bench.json --gpu h200 --stack stack.yaml
    """
    check_costs(context)
    from flowsim.rendering.screen import facts, show
    from flowsim.traces.catalogue import load_trace
    from flowsim.validation.stack_fit import fit_stack

    with flags_named():
        values = paths_of({**stated(options), "policy": policy, "slo": ANY_SLO_S})
        trace = load_trace(log, options["format"], seed=options["seed"], drop_failed=options["drop_failed"])
        found = fit_stack(trace, from_values({"trace": log, **values}))
        found.save(out)
    for notice in trace.notices:
        click.echo(notice)
    show(facts(found.facts()))
    click.echo(f"saved the stack in {out}; use it with --stack {quote(out)}")
