"""The command line `flowsim traces`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from flowsim.cli.command import Group
from flowsim.errors import InputError
from flowsim.io.counts import number_of
from flowsim.traces import commands, statistics
from flowsim.traces.catalogue import load_trace
from flowsim.traces.combine import merged, parse_mix
from flowsim.traces.formats import find_format
from flowsim.traces.published import PUBLISHED, target_of
from flowsim.traces.trace import Trace
from flowsim.traces.writers import write_trace


@click.group(cls=Group)
def traces() -> None:
    """Describe, convert, cut, combine, synthesize and fetch traces.

    A trace is 'example' or a file: in the format of flowsim, Qwen-Bailian, Mooncake, Azure, BurstGPT or vidur; JSON
    lines, CSV or Parquet; plain, gzip or zstd. The format is detected from the content. --out is the one file that a
    command writes: the new trace, whole or not at all, in flowsim's format unless --to names another.

    \b
    Examples:
      flowsim traces info trace.csv.gz
      flowsim traces synth azure-conversation --requests 20000 --rate 8 --out synthetic.jsonl
      flowsim traces info synthetic.jsonl --against trace.csv.gz
    """


def reading(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of commands that read a trace."""
    options = [
        click.option(
            "--format",
            metavar="NAME",
            help="Format of the file, or its fields: arrival_s=FIELD,input_length=FIELD,... (or arrival_ms, "
            "arrival_date; output_length, class, slo_s, priority, client; measured: ttft_s, latency_s, or _ms).  "
            "[default: detected from the content]",
        ),
        click.option(
            "--spread/--no-spread",
            default=True,
            show_default=True,
            help="Spread coarse time stamps, such as whole seconds, at random.",
        ),
        click.option(
            "--drop-failed", is_flag=True, help="Drop requests that failed on the real server (without tokens)."
        ),
        click.option("--seed", type=int, default=0, show_default=True, help="Seed of all random numbers."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def writing_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of commands that write a trace."""
    out = click.option(
        "--out", metavar="FILE", required=True, help="The new trace: .jsonl, .csv (.gz, .zst) or .parquet."
    )
    to = click.option("--to", default="flowsim", show_default=True, metavar="FORMAT", help="Format to write.")
    return out(to(command))


def _load(trace: str, options: dict[str, Any]) -> Trace:
    source, target = Path(trace), Path(options.get("out") or "")
    if target.is_file() and source.exists() and target.samefile(source):
        raise InputError(str(target), "is the trace to read", expected="another file to write to")
    reading = {name: options[name] for name in ("spread", "seed", "drop_failed")}
    return load_trace(trace, options["format"], **reading)


def _write(trace: Trace, options: dict[str, Any]) -> None:
    lost = write_trace(trace, options["out"], options["to"])
    click.echo(f"wrote {options['out']}: {number_of(len(trace), 'request')}, {trace.span_s:,.6g} s")
    for notice in trace.notices:
        click.echo(f"  {notice}")
    for what in lost:
        click.echo(f"  the format {options['to']} cannot hold {what}")


@traces.command()
@click.argument("trace")
@click.option("--against", metavar="TRACE", help="Another trace to compare with.")
@click.option("--figure", metavar="FILE", help="Draw rate over time and lengths (.png, .pdf or .svg).")
@reading
def info(trace: str, against: str | None, figure: str | None, **options: Any) -> None:
    """Show what TRACE looks like: rate, burstiness, lengths by class, prefix reuse.

    \b
    Examples:
      flowsim traces info trace.csv.gz --figure trace.png
      flowsim traces info synthetic.jsonl --against trace.csv.gz
    """
    from flowsim.rendering.figure_file import check_figure_file, save_figure
    from flowsim.rendering.screen import show  # rich and matplotlib are slow to import
    from flowsim.rendering.trace_figures import trace_figure as drawn
    from flowsim.rendering.trace_text import distances_report, info_report

    if figure is not None:
        check_figure_file(figure)
    loaded = _load(trace, options)
    show(info_report(statistics.info(loaded)))
    if against is not None:
        real = _load(against, {**options, "format": None})
        show(distances_report(statistics.trace_distances(loaded, real), real.name))
    if figure is not None:
        save_figure(drawn(loaded), figure)
        click.echo(f"drew {figure}")


@traces.command()
@click.argument("trace")
@writing_options
@reading
@click.pass_context
def convert(context: click.Context, /, trace: str, **options: Any) -> None:
    """Write TRACE in another format, and say what that format cannot hold.

    Coarse time stamps are kept for --to mooncake, whose reader spreads them, and spread for any other format.

    \b
    Example:
      flowsim traces convert mooncake.jsonl.gz --out mooncake.parquet
    """
    if context.get_parameter_source("spread") is click.core.ParameterSource.DEFAULT:
        options["spread"] = not find_format(options["to"]).coarse
    _write(_load(trace, options), options)


@traces.command("slice")
@click.argument("trace")
@click.argument("window", metavar="FROM:TO")
@writing_options
@reading
def slice_(trace: str, window: str, **options: Any) -> None:
    """Write the requests of TRACE that arrive from second FROM to TO; either may be omitted.

    \b
    Example:
      flowsim traces slice trace.csv.gz 600:1200 --out part.jsonl
    """
    start, colon, end = window.partition(":")
    try:
        start_s, end_s = float(start or 0), float(end or "inf")
    except ValueError:
        colon = ""
    if not colon:
        raise InputError("window", found=window, expected="FROM:TO in seconds")
    _write(_load(trace, options).window(start_s, end_s), options)


@traces.command()
@click.argument("trace")
@click.argument("factor", type=float)
@writing_options
@reading
def scale(trace: str, factor: float, **options: Any) -> None:
    """Write TRACE at FACTOR times its rate: every gap is divided by FACTOR.

    \b
    Example:
      flowsim traces scale trace.csv.gz 2 --out twice.jsonl
    """
    _write(_load(trace, options).scaled(factor), options)


@traces.command()
@click.argument("trace", nargs=-1, required=True)
@click.option(
    "--by-date/--together",
    "by_date",
    default=None,
    help="Place the traces by their dates, or let all start together.  [default: by date if all dates are known]",
)
@writing_options
@reading
def merge(trace: tuple[str, ...], by_date: bool | None, **options: Any) -> None:
    """Write the requests of all TRACEs as one trace, each at its own arrival time.

    \b
    Examples:
      flowsim traces merge chat.jsonl code.csv --out both.jsonl
      flowsim traces merge 2023.csv 2024.csv --together --out both.jsonl
    """
    _write(merged([_load(one, options) for one in trace], by_date=by_date), options)


@traces.command()
@click.argument("trace")
@click.option("--requests", type=int, metavar="N", help="Draw N requests without replacement.  [default: all]")
@click.option(
    "--mix", metavar="SHARES", help="New shares of classes: text=.5,search=.5 (the others keep their proportions)."
)
@writing_options
@reading
def sample(trace: str, requests: int | None, mix: str | None, **options: Any) -> None:
    """Draw requests of TRACE at random, or change its mix of classes.

    With --mix the arrival times stay, and as few requests as possible are replaced: those of classes with too many
    requests, by requests drawn from classes with too few.

    \b
    Examples:
      flowsim traces sample trace.jsonl --requests 1000 --out some.jsonl
      flowsim traces sample trace.jsonl --mix text=.5,search=.5 --out mixed.jsonl
    """
    shares = None if mix is None else parse_mix(mix)
    _write(commands.sample(_load(trace, options), requests, shares, options["seed"]), options)


@traces.command()
@click.argument("source")
@click.option("--requests", type=int, metavar="N", help="Number of requests.  [presets only; default: 1000]")
@click.option(
    "--rate", "rate_rps", type=float, help="Mean requests per second, before --profile.  [default: as in the source]"
)
@click.option("--arrivals", metavar="PROCESS", help="poisson, gamma:CV or weibull:CV.  [presets only]")
@click.option(
    "--profile",
    help="Rate over time: constant, ramp:FROM:TO, daily:SWING, step:AT=FACTOR,... (factors of --rate).  "
    "[presets only; default: constant]",
)
@click.option("--duration", "duration_s", type=float, help="Length in seconds.  [clients only; default: 600]")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all random numbers.")
@writing_options
def synth(source: str, out: str, to: str, **options: Any) -> None:
    """Write a synthetic trace from SOURCE: a preset (see flowsim traces list) or a file of ServeGen clients.

    \b
    Examples:
      flowsim traces synth qwen-a --requests 5000 --rate 10 --out synthetic.jsonl
      flowsim traces synth azure-conversation --arrivals gamma:2 --profile ramp:0.5:2 --out rising.jsonl.zst
    """
    try:
        trace = commands.synth(source, **options)
    except InputError as error:
        flag = {"rate_rps": "rate", "duration_s": "duration"}.get(error.where, error.where)
        raise (error.at(f"--{flag}") if error.where in options else error) from error
    _write(trace, {"out": out, "to": to})
    click.echo(f"  {trace.source}")


@traces.command()
@click.argument("name")
@click.option("--out", metavar="FILE", help="File to write.  [default: NAME.jsonl.zst]")
@click.option("--url", metavar="URL", help="Another address of the trace; with --sha256, of any trace.")
@click.option("--sha256", metavar="HASH", help="SHA-256 of the file at another address.")
def pull(name: str, out: str | None, url: str | None, sha256: str | None) -> None:
    """Fetch a published trace by NAME (see flowsim traces list), check it and convert it.

    An interrupted download is resumed. A file that exists already is neither fetched again nor checked.

    \b
    Example:
      flowsim traces pull azure-conversation-2023 --out azure.jsonl.zst
    """
    existed = target_of(name, out).exists()
    trace = commands.pull(name, out, url=url, sha256=sha256)
    click.echo(f"{trace.source}: {number_of(len(trace), 'request')}, {trace.span_s:,.6g} s")
    if existed:
        click.echo("  existed already: neither fetched nor checked against the published hash")
    for notice in trace.notices:
        click.echo(f"  {notice}")
    if not existed and (known := PUBLISHED.get(name)) is not None:
        click.echo(f"  licence: {known.licence}\n  please cite: {known.citation}")


@traces.command("list")
def list_() -> None:
    """List the built-in traces, the presets of synth, what pull can fetch, and the formats.

    \b
    Example:
      flowsim traces list
    """
    from flowsim.rendering.screen import show  # rich is slow to import
    from flowsim.rendering.trace_text import list_report

    show(list_report(commands.list()))
