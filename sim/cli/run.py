"""The commands that replay one trace: `flowsim run` and `flowsim compare`.

The options of a run are declared in `flowsim.runs.options`; `with_options` makes them options of a command.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from flowsim.cli.click_options import check_costs, flags_named, stated, with_options
from flowsim.cli.command import (
    Command,
    all_metrics_option,
    out_option,
    pins_compared,
    quiet_option,
    replaying,
    say,
    strict_option,
    typed,
)
from flowsim.errors import InputError
from flowsim.policies.registry import DEFAULT_POLICIES

if TYPE_CHECKING:
    from flowsim.runs.options import RunOptions

TRACE_HELP = (
    "TRACE is a file (flowsim, Qwen-Bailian, Mooncake, Azure, BurstGPT, vidur; see flowsim traces), 'example', or "
    "'synthetic:PRESET:N'."
)


def is_config(trace: str) -> bool:
    """Whether what is given in place of a trace is a config.yaml."""
    return trace.endswith((".yaml", ".yml"))


@contextmanager
def options_named(trace: str) -> Iterator[None]:
    """Errors inside that are about an option name its flag or, of a config.yaml, the file and the line."""
    from flowsim.runs.keywords import renamed
    from flowsim.runs.options_file import place_of

    try:
        yield
    except InputError as error:
        raise renamed(error, lambda of: place_of(trace, of.path) if is_config(trace) else of.flag) from error


def wanted_run(
    context: click.Context, trace: str, policy: str, options: dict[str, Any], besides: Sequence[str]
) -> RunOptions:
    """The run that was typed, or that the config.yaml given in place of a trace holds.

    Raises:
        InputError: options of a run are typed with a config.yaml; those named in `besides` are none.
    """
    from flowsim.runs.keywords import from_keywords
    from flowsim.runs.options_file import read_options

    if is_config(trace):
        if changed := typed(context, besides=("trace", *besides)):
            raise InputError(trace, f"holds every option of the run; leave out {', '.join(changed)}")
        return read_options(trace)
    with flags_named():
        return from_keywords(trace, policy, stated(options))[0]


@click.command(
    cls=Command,
    help=f"Replay TRACE under one policy and print the result.\n\n{TRACE_HELP} The config.yaml that --out writes may "
    "be given in its place: it repeats the run, and says if a trace, table, policy or version "
    "has changed since.\n\n\b\nExamples:\n  flowsim run example\n"
    "  flowsim run trace.jsonl --policy chunked:2048 --rate-scale 2\n"
    "  flowsim run trace.csv.gz --slo 0.5 --policy flowprefill:cut=layer,batch_tokens=4096 --out results\n"
    "  flowsim run trace.jsonl --policy my_module:MyPolicy",
)
@click.argument("trace")
@with_options("policy")
@with_options()
@out_option("summary.json, requests.parquet (one row per request) and config.yaml")
@all_metrics_option
@strict_option
@quiet_option
@click.pass_context
def run(
    context: click.Context,
    /,
    trace: str,
    policy: str,
    out: str | None,
    all_metrics: bool,
    strict: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Replay a trace under one policy."""
    check_costs(context)
    from flowsim.io.folders import check_replaceable, check_writable
    from flowsim.results.result import FILES
    from flowsim.runs.run import run as replay

    if out:
        check_writable(out)
        check_replaceable(out, FILES, read=trace)
    with pins_compared(strict):
        wanted = wanted_run(context, trace, policy, options, besides=("out", "all_metrics", "strict", "quiet"))
    with options_named(trace), pins_compared(strict), replaying(quiet) as progress:
        result = replay(wanted, progress=progress)
        full = result.full_summary if out or not quiet else None  # a bound takes time, too
    if full and not quiet:
        from flowsim.rendering.run_text import run_report
        from flowsim.rendering.screen import show

        show(run_report(full, all_metrics))
    if out:
        result.save(out)
        say(f"saved summary.json, requests.parquet and config.yaml in {out}", quiet)


@click.command(
    cls=Command,
    help=f"Replay TRACE under several policies and print them side by side.\n\n{TRACE_HELP} With --out also a "
    "figure (attainment by class, TTFT distribution), a table, and each policy's own results.\n\n\b\nExample:\n"
    "  flowsim compare example --policy fcfs --policy chunked:2048 --policy flowprefill --out results",
)
@click.argument("trace")
@click.option(
    "--policy",
    "policies",
    multiple=True,
    metavar="SPEC",
    help=f"Once for each policy.  [default: {', '.join(DEFAULT_POLICIES)}]",
)
@click.option(
    "--against",
    metavar="SPEC",
    help="Compare the other policies with this one, paired by request.  [default: the first policy]",
)
@with_options()
@out_option("comparison.png, comparison.csv and, in a folder per policy, the files of its run")
@all_metrics_option
@quiet_option
@click.pass_context
def compare(
    context: click.Context,
    /,
    trace: str,
    policies: tuple[str, ...],
    against: str | None,
    out: str | None,
    all_metrics: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Replay a trace under several policies."""
    check_costs(context)
    from flowsim.policies.registry import spelling
    from flowsim.runs.compare import check_folder
    from flowsim.runs.compare import compare as compare_all

    policies = policies or DEFAULT_POLICIES
    if out:
        check_folder(out, policies)
    if against:
        spelling(against, policies, within="comparison")
    with flags_named(), replaying(quiet) as progress:
        comparison = compare_all(trace, policies, **stated(options), progress=progress)
        stating = comparison.results.items() if out or not quiet else ()
        full = {name: result.full_summary for name, result in stating}  # a bound takes time, too
    if not quiet:
        from flowsim.rendering.differences_text import differences_report
        from flowsim.rendering.run_text import compare_report
        from flowsim.rendering.screen import show

        show(compare_report(full, all_metrics))
        if len(policies) > 1:
            show("")
            show(differences_report(comparison.differences(against).to_dict("records"), comparison.alike))
    if out:
        comparison.save(out)
        say(f"saved comparison.png, comparison.csv and a folder for each policy in {out}", quiet)
