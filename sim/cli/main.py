"""The command line: `flowsim` and its commands."""

from __future__ import annotations

from collections.abc import Mapping

import click

from flowsim.cli.archive import bundle, reproduce
from flowsim.cli.arena import arena
from flowsim.cli.bound import bound
from flowsim.cli.calibrate.commands import calibrate
from flowsim.cli.command import OneLine
from flowsim.cli.doctor import doctor
from flowsim.cli.explain import explain
from flowsim.cli.plot import plot
from flowsim.cli.policies import policies
from flowsim.cli.reference import metrics, models, tradeoff
from flowsim.cli.run import compare, run
from flowsim.cli.show import show
from flowsim.cli.studies import capacity, sweep
from flowsim.cli.traces import traces
from flowsim.cli.validate import validate

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


SECTIONS: Mapping[str, Mapping[click.Command, str]] = {
    "Replay a trace": {
        run: "Replay a trace under one policy.",
        compare: "Replay a trace under several policies, side by side.",
        show: "Show results again: text, a page, a timeline.",
        explain: "Say why each request missed its SLO.",
        bound: "Bound what any scheduler could attain.",
    },
    "Studies": {
        sweep: "Run a grid of runs.",
        capacity: "Find the max goodput of each policy.",
        arena: "Rank all policies, and one of your own.",
        plot: "Draw figures of results, or any columns of a study.",
        bundle: "Pack results with all that made them.",
        reproduce: "Run a bundle again and compare the bytes.",
    },
    "What goes in": {
        traces: "Describe, convert, cut, mix, synthesize and fetch traces.",
        policies: "List and explain policies, or begin one of your own.",
        models: "List the tables of costs by GPU and model.",
        metrics: "Define every metric and column.",
        tradeoff: "Show what chunks and cuts cost a long prompt.",
        doctor: "Say what is installed and what is missing.",
    },
    "On a GPU": {
        calibrate: "Measure a table of costs on this machine's GPU.",
        validate: "Run a trace on the GPU and compare the simulation.",
    },
}
"""Every command with its line, by the heading under which `flowsim --help` lists it."""


class Main(OneLine):
    """The group of all commands, listed by section."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands of each section."""
        for heading, commands in SECTIONS.items():
            with formatter.section(heading):
                formatter.write_dl([(command.name or "", line) for command, line in commands.items()], col_max=12)


@click.group(cls=Main, context_settings=CONTEXT)
@click.version_option(package_name="flowsim", message="flowsim %(version)s")
def main() -> None:
    """Which prefill scheduler serves more requests within their TTFT SLO?

    flowsim replays a trace of LLM requests on a simulated prefill instance, with the costs of a model measured on
    a real GPU, under a scheduling policy. Start with:

    \b
      flowsim run example
      flowsim compare example --policy fcfs --policy chunked:2048 --policy flowprefill
    """


for section in SECTIONS.values():
    for command in section:
        main.add_command(command)
