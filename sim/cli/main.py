"""The command line: `flowsim` and its commands."""

from __future__ import annotations

import click

from flowsim.cli.archive import bundle, reproduce
from flowsim.cli.bound import bound
from flowsim.cli.calibrate import calibrate
from flowsim.cli.explain import explain
from flowsim.cli.facts import metrics, models, tradeoff
from flowsim.cli.kit import OneLine
from flowsim.cli.policies import policies
from flowsim.cli.run import compare, run
from flowsim.cli.studies import capacity, plot, sweep
from flowsim.cli.traces import traces
from flowsim.cli.validate import validate

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


@click.group(cls=OneLine, context_settings=CONTEXT)
@click.version_option(package_name="flowsim", message="flowsim %(version)s")
def main() -> None:
    """Which prefill scheduler serves more requests within their TTFT SLO?

    flowsim replays a trace of LLM requests on a simulated prefill instance, with the costs of a model measured on
    a real GPU, under a scheduling policy. Start with:

    \b
      flowsim run example
      flowsim compare example --policy fcfs --policy chunked:2048 --policy flowprefill
    """


COMMANDS = (
    traces,
    run,
    compare,
    explain,
    bound,
    tradeoff,
    calibrate,
    models,
    policies,
    metrics,
    sweep,
    capacity,
    plot,
    validate,
    bundle,
    reproduce,
)
for command in COMMANDS:
    main.add_command(command)
