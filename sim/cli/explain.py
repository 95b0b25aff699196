"""`flowsim explain`: why requests missed their SLOs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from flowsim.cli.click_options import check_costs, with_options
from flowsim.cli.command import Command, pins_compared, replaying, say
from flowsim.cli.run import TRACE_HELP, options_named, wanted_run
from flowsim.errors import InputError
from flowsim.io.folders import exists
from flowsim.rendering.figure_file import check_figure_file, save_figure


@click.command(
    cls=Command,
    help="Replay TRACE under one policy and say why each request that missed its SLO did: one reason for each, by "
    f"class; or tell the story of one request.\n\n{TRACE_HELP} The folder of a saved run, or its config.yaml, may be "
    "given in its place.\n\n\b\nExamples:\n  flowsim explain example --rate-scale 8\n"
    "  flowsim explain example --rate-scale 8 --policy fcfs --request 57\n"
    "  flowsim explain example --rate-scale 8 --policy fcfs --figure why.png",
)
@click.argument("trace")
@with_options("policy")
@click.option("--request", type=int, metavar="ID", help="Tell the story of this request: its row in the trace, from 0.")
@click.option("--figure", metavar="FILE", help="Draw the reasons by class (.png, .pdf or .svg).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_options(besides=["bound"])
@click.pass_context
def explain(
    context: click.Context,
    /,
    trace: str,
    policy: str,
    request: int | None,
    figure: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Say why requests missed their SLOs."""
    check_costs(context)
    if figure is not None:
        check_figure_file(figure)
        if request is not None:
            raise InputError("--figure", "is of all misses", expected="no --request")
    from flowsim.rendering.screen import show
    from flowsim.report.explain_text import explanation_report, request_report
    from flowsim.report.saved_text import json_of
    from flowsim.results.explain import explain as explain_run
    from flowsim.runs.run import run as replay

    config = Path(trace, "config.yaml")
    trace = str(config) if exists(config) else trace
    wanted = wanted_run(context, trace, policy, options, besides=("request", "figure", "as_json"))
    with options_named(trace), pins_compared(strict=False), replaying(quiet=as_json) as progress:
        result = replay(wanted, events=True, progress=progress)
    why = explain_run(result)
    try:
        story = None if request is None else why.story(request)
    except InputError as error:
        raise error.at("--request") from error
    if as_json:
        click.echo(json_of(why.to_dict() if story is None else story.to_dict()).decode())
    else:
        show(explanation_report(why) if request is None else request_report(why, request))
    if figure is not None:
        save_figure(why.plot(), figure)
        say(f"drew {figure}", as_json)
