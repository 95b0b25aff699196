"""The command line `flowsim traces`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flowsim.errors import InputError

if TYPE_CHECKING:
    from flowsim.traces.trace import Trace


@click.group()
def traces() -> None:
    """Describe, convert, cut, combine, synthesize and fetch traces.

    A trace is a file (flowsim, Qwen-Bailian, Mooncake, Azure, BurstGPT or vidur; JSON lines, CSV or Parquet; plain,
    gzip or zstd; found by content) or 'example'.

    \b
    Examples:
      flowsim traces info trace.csv.gz
      flowsim traces synth azure-conversation --requests 20000 --rate 8 --out synthetic.jsonl
      flowsim traces info synthetic.jsonl --against trace.csv.gz
    """


def reading(command: Callable[..., None]) -> Callable[..., None]:
    """The options of commands that read a trace."""
    options = [
        click.option(
            "--format",
            metavar="NAME",
            help="Format of the file, or its fields: arrival_s=FIELD,input_length=FIELD,... (or arrival_ms, "
            "arrival_date; output_length, class).  [default: found by content]",
        ),
        click.option(
            "--spread/--no-spread", default=True, show_default=True, help="Spread coarse time stamps over their ticks."
        ),
        click.option("--seed", type=int, default=0, show_default=True, help="Seed of all randomness."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def writing(command: Callable[..., None]) -> Callable[..., None]:
    """The options of commands that write a trace."""
    out = click.option("--out", metavar="FILE", required=True, help=".jsonl, .csv (.gz, .zst) or .parquet.")
    to = click.option("--to", default="flowsim", show_default=True, metavar="FORMAT", help="Format to write.")
    return out(to(command))


def _load(trace: str, options: dict[str, Any]) -> Trace:
    from flowsim.traces.catalogue import load_trace

    source, target = Path(trace), Path(options.get("out") or "")
    if target.is_file() and source.exists() and target.samefile(source):
        raise InputError(f"{target} is the trace that is read; allowed: another file to write to")
    return load_trace(trace, options["format"], spread=options["spread"], seed=options["seed"])


def _write(trace: Trace, options: dict[str, Any]) -> None:
    lost = trace.write(options["out"], options["to"])
    click.echo(f"wrote {options['out']}: {len(trace):,} requests, {trace.span_s:,.6g} s")
    for notice in trace.notices:
        click.echo(f"  {notice}")
    for what in lost:
        click.echo(f"  the format {options['to']} cannot hold {what}")


@traces.command()
@click.argument("trace")
@click.option("--against", metavar="TRACE", help="Another trace, from which the distances are told.")
@click.option("--figure", metavar="FILE", help="Draw rate over time and lengths (.png, .pdf or .svg).")
@reading
def info(trace: str, against: str | None, figure: str | None, **options: Any) -> None:
    """Tell what TRACE looks like: rate, burstiness, lengths by class, prefix reuse.

    \b
    Examples:
      flowsim traces info trace.csv.gz --figure trace.png
      flowsim traces info synthetic.jsonl --against trace.csv.gz
    """
    from flowsim.show.trace_text import check_figure, distances_report, info_report, save_figure
    from flowsim.traces import statistics

    if figure is not None:
        check_figure(figure)
    loaded = _load(trace, options)
    _print(info_report(statistics.info(loaded)))
    if against is not None:
        real = _load(against, {**options, "format": None})
        _print(distances_report(statistics.distances(loaded, real), real.name))
    if figure is not None:
        save_figure(loaded, figure)
        click.echo(f"drew {figure}")


@traces.command()
@click.argument("trace")
@writing
@reading
@click.pass_context
def convert(context: click.Context, /, trace: str, **options: Any) -> None:
    """Write TRACE in another format; says what that format cannot hold.

    Coarse time stamps stay as they are for --to mooncake, whose reader spreads them; for any other they are spread.

    \b
    Example:
      flowsim traces convert mooncake.jsonl.gz --out mooncake.parquet
    """
    from flowsim.traces.formats import find_format

    if context.get_parameter_source("spread") is click.core.ParameterSource.DEFAULT:
        options["spread"] = not find_format(options["to"]).ticks
    _write(_load(trace, options), options)


@traces.command("slice")
@click.argument("trace")
@click.argument("window", metavar="FROM:TO")
@writing
@reading
def slice_(trace: str, window: str, **options: Any) -> None:
    """Keep the requests of TRACE that arrive from FROM to TO, seconds; either may be left out.

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
        raise InputError(f"{window!r}: allowed is FROM:TO in seconds")
    _write(_load(trace, options).window(start_s, end_s), options)


@traces.command()
@click.argument("trace")
@click.argument("factor", type=float)
@writing
@reading
def scale(trace: str, factor: float, **options: Any) -> None:
    """Write TRACE at FACTOR times its rate: every gap is divided by it.

    \b
    Example:
      flowsim traces scale trace.csv.gz 2 --out twice.jsonl
    """
    _write(_load(trace, options).scaled(factor), options)


@traces.command()
@click.argument("trace", nargs=-1, required=True)
@writing
@reading
def merge(trace: tuple[str, ...], **options: Any) -> None:
    """Write the requests of all TRACEs as one, each at its own time from the start.

    \b
    Example:
      flowsim traces merge chat.jsonl code.csv --out both.jsonl
    """
    from flowsim.traces.combine import merge as merged

    _write(merged([_load(one, options) for one in trace]), options)


@traces.command()
@click.argument("trace")
@click.option("--requests", type=int, metavar="N", help="Draw N requests without replacement.  [default: all]")
@click.option(
    "--mix", metavar="SHARES", help="Other shares of the classes: text=.5,search=.5 (the rest as in the trace)."
)
@writing
@reading
def sample(trace: str, requests: int | None, mix: str | None, **options: Any) -> None:
    """Draw requests of TRACE at random, or change its mix of classes.

    With --mix the arrival times stay, and as few requests as possible are replaced: those of classes with too many,
    by requests drawn from the classes with too few.

    \b
    Examples:
      flowsim traces sample trace.jsonl --requests 1000 --out some.jsonl
      flowsim traces sample trace.jsonl --mix text=.5,search=.5 --out mixed.jsonl
    """
    from flowsim.traces.combine import parse_mix
    from flowsim.traces.commands import sample as sampled

    shares = None if mix is None else parse_mix(mix)
    _write(sampled(_load(trace, options), requests, shares, options["seed"]), options)


@traces.command()
@click.argument("source")
@click.option("--requests", type=int, metavar="N", help="Requests.  [presets only; default: 1000]")
@click.option(
    "--rate", "rate_rps", type=float, help="Mean requests per second, before --profile. [default: as imitated]"
)
@click.option("--arrivals", metavar="PROCESS", help="poisson, gamma:CV or weibull:CV.  [presets only]")
@click.option(
    "--profile",
    help="How the rate moves: constant, ramp:FROM:TO, daily:SWING, step:AT=FACTOR,... (factors of the rate).  "
    "[presets only; default: constant]",
)
@click.option("--duration", "duration_s", type=float, help="Seconds.  [clients only; default: 600]")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all randomness.")
@writing
def synth(source: str, out: str, to: str, **options: Any) -> None:
    """Make a synthetic trace of SOURCE: a preset (see flowsim traces list) or a file of ServeGen clients.

    \b
    Examples:
      flowsim traces synth qwen-a --requests 5000 --rate 10 --out synthetic.jsonl
      flowsim traces synth azure-conversation --arrivals gamma:2 --profile ramp:0.5:2 --out rising.jsonl.zst
    """
    from flowsim.traces.commands import synth as made

    trace = made(source, **options)
    _write(trace, {"out": out, "to": to})
    click.echo(f"  {trace.source}")


@traces.command()
@click.argument("name")
@click.option("--out", metavar="FILE", help="Where the trace goes.  [default: NAME.jsonl.zst]")
@click.option("--url", metavar="URL", help="Another address of it; with --sha256, of any trace.")
@click.option("--sha256", metavar="HASH", help="SHA-256 of the file at another address.")
def pull(name: str, out: str | None, url: str | None, sha256: str | None) -> None:
    """Fetch a published trace by NAME (see flowsim traces list), check it and convert it.

    An interrupted download goes on where it was. A file that is there already is neither fetched again nor checked.

    \b
    Example:
      flowsim traces pull azure-conversation-2023 --out azure.jsonl.zst
    """
    from flowsim.traces.pull import PUBLISHED, target_of
    from flowsim.traces.pull import pull as fetched

    there = target_of(name, out).exists()
    trace = fetched(name, out, url=url, sha256=sha256)
    click.echo(f"{trace.source}: {len(trace):,} requests, {trace.span_s:,.6g} s")
    if there:
        click.echo("  was there already: not fetched, and not checked to be what is published")
    for notice in trace.notices:
        click.echo(f"  {notice}")
    if not there and (known := PUBLISHED.get(name)) is not None:
        click.echo(f"  licence: {known.licence}\n  please cite: {known.citation}")


@traces.command("list")
def list_() -> None:
    """List the built-in traces, the presets of synth, the formats, and what pull can fetch.

    \b
    Example:
      flowsim traces list
    """
    from flowsim.show.screen import table as new_table
    from flowsim.traces.commands import list as rows

    table = new_table("kind")
    table.add_column("name", no_wrap=True)
    table.add_column("what", overflow="fold")
    for row in rows():
        table.add_row(*row)
    _print(table)


def _print(what: Any) -> None:
    from flowsim.cli.main import _print as shown

    shown(what)
