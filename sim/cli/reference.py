"""The commands that need no trace: `flowsim tradeoff`, `models` and `metrics`."""

from __future__ import annotations

import click

from flowsim.cli.click_options import COSTS, check_costs, flags_named, with_options
from flowsim.cli.command import Command, say
from flowsim.errors import InputError


@click.command(cls=Command)
@click.option("--tokens", type=int, default=16384, show_default=True, help="Length of the long prompt.")
@with_options(*COSTS)
@click.pass_context
def tradeoff(
    context: click.Context, /, tokens: int, model: str, gpu: str, tp: int, cost: str | None, correct: bool
) -> None:
    """Show what chunks and cuts cost a long prompt, and how long they block a short one.

    FlowPrefill's paper describes a cut after every operator; its released code cuts after every block.

    \b
    Example:
      flowsim tradeoff --tokens 32768
    """
    check_costs(context)
    from flowsim.rendering.run_text import tradeoff_report
    from flowsim.rendering.screen import show
    from flowsim.runs.costs import load_cost
    from flowsim.runs.tradeoff import MOST_TOKENS, is_extrapolated
    from flowsim.runs.tradeoff import tradeoff as rows

    if not 1 <= tokens <= MOST_TOKENS:
        raise InputError("--tokens", found=tokens, expected=f"a whole number from 1 to {MOST_TOKENS} (2^20)")
    with flags_named():
        costs = load_cost(cost, model, gpu, tp, correct=correct)
    show(tradeoff_report(rows(costs, tokens)))
    if is_extrapolated(costs, tokens):
        say(f"prompts of {tokens:,} tokens reach beyond the measured sizes: extrapolated")


@click.command(cls=Command)
def models() -> None:
    """List the tables of costs: GPU, model, tensor-parallel degree, the kind of the table and its error.

    Then the GPUs of which a table can be modelled, with flowsim calibrate model.

    \b
    Example:
      flowsim models
    """
    from flowsim.calibration.costs.gpus import catalogue
    from flowsim.rendering.run_text import models_report
    from flowsim.rendering.screen import show
    from flowsim.runs.costs import describe_models

    show(models_report(describe_models()))
    click.echo(f"\nby datasheet, for flowsim calibrate model --gpu NAME: {', '.join(sorted(catalogue()))}")


@click.command()
def metrics() -> None:
    """Define every metric, entry of summary.json and column of the files that runs and studies leave.

    \b
    Example:
      flowsim metrics
    """
    from flowsim.rendering.run_text import definitions_report
    from flowsim.rendering.screen import show
    from flowsim.results.definitions.files import POPULATION, describe_metrics

    show(definitions_report(POPULATION, describe_metrics()))
