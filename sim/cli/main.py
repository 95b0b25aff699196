"""The command line: `flowsim run`, `compare` and the rest."""

from __future__ import annotations

import atexit
import gc
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import click

from flowsim.cli.calibrate import calibrate
from flowsim.cli.studies import capacity, plot, sweep
from flowsim.cli.traces import traces
from flowsim.cli.validate import given, validate
from flowsim.errors import InputError

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
TRACE_HELP = (
    "TRACE is a file (flowsim, Qwen-Bailian, Mooncake, Azure, BurstGPT, vidur; see flowsim traces) or 'example'."
)

TERMINATED = 143
"""The exit status of a process that SIGTERM ended."""


class OneLine(click.Group):
    """A group whose every error is one line on stderr and exit status 2."""

    def main(self, *args: Any, **options: Any) -> NoReturn:
        """Run the command line and exit."""
        options["standalone_mode"] = False
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))  # so that unfinished files are cleared away
        atexit.register(gc.freeze)  # else Python looks for cycles in all that it knows, for seconds, before it ends
        try:
            status = super().main(*args, **options)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.ctx.get_help() if error.ctx else "")
            sys.exit(2)
        except click.ClickException as error:
            _fail(error.format_message())
        except InputError as error:
            _fail(str(error))
        except (click.Abort, KeyboardInterrupt):
            click.echo("flowsim: interrupted", err=True)
            sys.exit(130)
        except SystemExit as end:
            if end.code == TERMINATED:
                click.echo("flowsim: terminated", err=True)
            raise
        except BrokenPipeError:
            sys.stderr.close()
            sys.exit(1)
        sys.exit(status if isinstance(status, int) else 0)


def _fail(message: str) -> NoReturn:
    click.echo(f"flowsim: error: {' '.join(message.split())}", err=True)
    sys.exit(2)


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


main.add_command(traces)


def replay_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that `run` and `compare` share."""
    options = [
        click.option("--model", default="llama3-8b", show_default=True, help="Model whose costs and SLOs are used."),
        click.option("--gpu", default="h200", show_default=True, help="GPU on which the costs were measured."),
        click.option("--tp", type=int, default=1, show_default=True, help="Tensor-parallel degree."),
        click.option("--cost", metavar="DIR", help="Operator table of your own (from flowsim calibrate)."),
        click.option(
            "--slo",
            metavar="MIX",
            help="TTFT SLOs: seconds for all (0.5), by class (text=0.25,search=4,*=1), a model's preset "
            "(qwen2.5-14b), or a YAML file.  [default: the paper's for the model]",
        ),
        click.option("--slo-scale", type=float, default=1.0, show_default=True, help="Multiply every SLO."),
        click.option("--rate-scale", type=float, default=1.0, show_default=True, help="Multiply the request rate."),
        click.option("--limit", type=int, metavar="N", help="Only the first N requests."),
        click.option("--window", metavar="FROM:TO", help="Only requests that arrive from FROM to TO, seconds."),
        click.option("--format", metavar="NAME", help="Format of the trace.  [default: found by content]"),
        click.option(
            "--mix", metavar="SHARES", help="Other shares of the classes: text=.5,search=.5 (the rest as in the trace)."
        ),
        click.option(
            "--prefix-cache",
            default="none",
            show_default=True,
            metavar="CACHE",
            help="Prefix blocks served from a cache: none, ideal (forgets nothing) or lru:BLOCKS.",
        ),
        click.option("--new-tokens", is_flag=True, help="Later turns of text keep only their new tokens (the paper)."),
        click.option(
            "--predictor",
            default="cubic",
            show_default=True,
            metavar="NAME",
            help="What the policy believes of the cost: exact, cubic (the paper's), biased:FACTOR, noisy:SIGMA.",
        ),
        click.option("--instances", type=int, default=1, show_default=True, help="Prefill instances, all alike."),
        click.option("--router", default="round-robin", show_default=True, help="round-robin or least-work."),
        click.option("--slots", type=int, default=128, show_default=True, help="Passes begun and not completed."),
        click.option(
            "--max-batched-tokens", type=int, default=8192, show_default=True, help="Most tokens of one forward."
        ),
        click.option(
            "--graph-tokens",
            type=int,
            default=0,
            show_default=True,
            help="Forwards of one prompt of up to so many tokens (a multiple of 64) run as recorded CUDA graphs.",
        ),
        click.option("--kv-tokens", type=int, metavar="N", help="Tokens of KV cache.  [default: what the GPU holds]"),
        click.option("--until", "until_s", type=float, metavar="S", help="Stop S seconds after the first arrival."),
        click.option(
            "--warmup", type=float, default=0.0, help="Leave this share of the requests, the first, out of the figures."
        ),
        click.option("--seed", type=int, default=0, show_default=True, help="Seed of all randomness."),
        click.option("--out", metavar="DIR", help="Save the results there."),
        click.option("--quiet", "-q", is_flag=True, help="Print no report and no progress."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@main.command(
    help=f"Replay TRACE under one policy and print what came of it.\n\n{TRACE_HELP} The config.yaml that --out "
    "leaves may stand in its place: it runs the same again.\n\n\b\nExamples:\n  flowsim run example\n"
    "  flowsim run trace.jsonl --policy chunked:2048 --rate-scale 2\n"
    "  flowsim run trace.csv.gz --slo 0.5 --policy flowprefill:cut=layer,batch_tokens=4096 --out results\n"
    "  flowsim run trace.jsonl --policy my_module:MyPolicy"
)
@click.argument("trace")
@click.option("--policy", default="flowprefill", show_default=True, metavar="SPEC", help="See flowsim policies.")
@replay_options
@click.pass_context
def run(context: click.Context, /, trace: str, policy: str, out: str | None, quiet: bool, **options: Any) -> None:
    """Replay a trace under one policy."""
    _check_costs(context)
    from flowsim.io.folders import check_writable
    from flowsim.runs.config import read_config
    from flowsim.runs.run import run as replay

    if out:
        check_writable(out)
    if trace.endswith((".yaml", ".yml")):
        if changed := given(context, besides=("trace", "out", "quiet")):
            raise InputError(f"{trace} says all of the run; leave out {', '.join(changed)}")
        arguments = read_config(trace)
    else:
        arguments = {"trace": trace, "policy": policy, **_arguments(options)}
    with _progress(quiet) as progress:
        result = replay(**arguments, progress=progress)
    if not quiet:
        from flowsim.show.text import run_report

        _print(run_report(result.summary))
    if out:
        result.save(out)
        _say(quiet, f"saved summary.json, requests.parquet and config.yaml in {out}")


@main.command(
    help=f"Replay TRACE under several policies and print them side by side.\n\n{TRACE_HELP} With --out also a "
    "figure (attainment by class, TTFT distribution), a table, and each policy's own results.\n\n\b\nExample:\n"
    "  flowsim compare example --policy fcfs --policy chunked:2048 --policy flowprefill --out results"
)
@click.argument("trace")
@click.option(
    "--policy",
    "policies",
    multiple=True,
    metavar="SPEC",
    help="Once for each policy.  [default: fcfs, chunked:2048, flowprefill]",
)
@replay_options
@click.pass_context
def compare(
    context: click.Context, /, trace: str, policies: tuple[str, ...], out: str | None, quiet: bool, **options: Any
) -> None:
    """Replay a trace under several policies."""
    _check_costs(context)
    from flowsim.io.folders import check_writable
    from flowsim.runs.compare import compare as compare_all

    if out:
        check_writable(out)
    with _progress(quiet) as progress:
        chosen = policies or ("fcfs", "chunked:2048", "flowprefill")
        comparison = compare_all(trace, chosen, **_arguments(options), progress=progress)
    if not quiet:
        from flowsim.show.text import compare_report

        _print(compare_report({name: result.summary for name, result in comparison.results.items()}))
    if out:
        comparison.save(out)
        _say(quiet, f"saved comparison.png, comparison.csv and a folder for each policy in {out}")


@main.command()
@click.option("--tokens", type=int, default=16384, show_default=True, help="Length of the long prompt.")
@click.option("--model", default="llama3-8b", show_default=True, help="Model whose costs are used.")
@click.option("--gpu", default="h200", show_default=True, help="GPU on which the costs were measured.")
@click.option("--tp", type=int, default=1, show_default=True, help="Tensor-parallel degree.")
@click.option("--cost", metavar="DIR", help="Operator table of your own (from flowsim calibrate).")
@click.pass_context
def tradeoff(context: click.Context, /, tokens: int, model: str, gpu: str, tp: int, cost: str | None) -> None:
    """Show what chunks and cuts cost a long prompt, and how long they block a short one.

    \b
    Example:
      flowsim tradeoff --tokens 32768
    """
    _check_costs(context)
    from flowsim.runs.run import load_cost
    from flowsim.runs.tradeoff import is_extrapolated
    from flowsim.runs.tradeoff import tradeoff as rows
    from flowsim.show.text import tradeoff_report

    if tokens < 1:
        raise InputError(f"--tokens is {tokens}, allowed is 1 or more")
    costs = load_cost(cost, model, gpu, tp)
    _print(tradeoff_report(rows(costs, tokens)))
    if is_extrapolated(costs, tokens):
        click.echo(f"prompts of {tokens:,} tokens reach beyond the measured sizes: extrapolated")


main.add_command(calibrate)


@main.command()
def policies() -> None:
    """List the policies, what each does, and its options.

    \b
    Example:
      flowsim policies
    """
    from rich.table import Table

    from flowsim.policies.registry import describe_policies

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("policy", "what it does", "options and their defaults"):
        table.add_column(column, overflow="fold")
    for name, what, options in describe_policies():
        table.add_row(name, what, options)
    _print(table)
    click.echo("\nWrite NAME:OPTION=VALUE,... or, for one of your own, MODULE:CLASS:OPTION=VALUE,...")


for command in (sweep, capacity, plot, validate):
    main.add_command(command)


def _arguments(options: dict[str, Any]) -> dict[str, Any]:
    """The keyword arguments of `flowsim.run` that the shared options stand for."""
    from flowsim.core.server import ServerOptions
    from flowsim.runs.run import parse_window

    names = {"instances", "router", "slots", "max_batched_tokens", "kv_tokens", "graph_tokens"}
    server = ServerOptions(**{name: options[name] for name in names})
    rest = {name: value for name, value in options.items() if name not in names}
    return {**rest, "window": parse_window("--window", options["window"]), "server": server}


def _check_costs(context: click.Context) -> None:
    """InputError if costs are named by a folder and otherwise too."""
    twice = [option for option in given(context) if option in ("--model", "--gpu", "--tp")]
    if context.params["cost"] is not None and twice:
        raise InputError(f"{', '.join(twice)} given with --cost, whose table says it; allowed: one of them")
    if context.params["cost"] == "":
        raise InputError("--cost is empty, allowed is the folder of a table")


def _progress(quiet: bool) -> Any:
    from flowsim.io.progress import bar

    return bar("replaying", quiet=quiet)


def _print(what: Any) -> None:
    from flowsim.show.screen import show

    show(what)


def _say(quiet: bool, text: str) -> None:
    if not quiet:
        click.echo(text)


if __name__ == "__main__":
    main()
