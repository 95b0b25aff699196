"""The command `flowsim validate`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flowsim.errors import InputError

if TYPE_CHECKING:
    from flowsim.validation.evidence import Evidence
    from flowsim.validation.plan import Plan

TYPED = click.core.ParameterSource.COMMANDLINE


@click.command()
@click.argument("traces", metavar="TRACE", nargs=-1, required=True)
@click.option(
    "--policy",
    "policies",
    multiple=True,
    metavar="SPEC",
    help="Once for each policy.  [default: fcfs, chunked:2048, edf:cut=layer, flowprefill:cut=block, flowprefill]",
)
@click.option(
    "--load",
    "loads",
    type=float,
    multiple=True,
    metavar="SHARE",
    help="Rate as a share of each policy's simulated capacity; once for each.  [default: 0.5, 0.75, 0.9]",
)
@click.option("--rate-scale", type=float, metavar="FACTOR", help="Instead: multiply the trace's own rate.")
@click.option("--window", "window_s", type=float, metavar="S", help="Seconds of arrivals in each run.  [default: 60]")
@click.option("--start", "start_s", type=float, default=0.0, show_default=True, help="Where in the trace, seconds.")
@click.option("--repeats", type=int, default=2, show_default=True, help="Real runs of each case.")
@click.option("--quick", is_flag=True, help="About 3 minutes: three policies, load 0.75, 20 s, a coarse calibration.")
@click.option("--model", default="llama3-8b", show_default=True, help="A shipped model, or a file of its shape.")
@click.option("--gpu", metavar="NAME", help="Simulate with the table of this name.  [default: measure this GPU first]")
@click.option("--cost", metavar="DIR", help="Simulate with your own operator table.")
@click.option("--slo", metavar="MIX", help="TTFT SLOs, as for flowsim run.  [default: the paper's for the model]")
@click.option("--slo-scale", type=float, default=1.0, show_default=True, help="Multiply every SLO.")
@click.option("--format", metavar="NAME", help="Format of the trace.  [default: found by content]")
@click.option("--predictor", default="cubic", show_default=True, help="What policies believe, as for flowsim run.")
@click.option("--slots", type=int, default=128, show_default=True, help="Passes begun and not completed.")
@click.option("--max-batched-tokens", type=int, default=8192, show_default=True, help="Most tokens of one forward.")
@click.option(
    "--graph-tokens",
    type=int,
    default=0,
    show_default=True,
    help="Run forwards of one prompt of up to so many tokens (a multiple of 64) as recorded CUDA graphs.",
)
@click.option(
    "--kv-tokens",
    type=int,
    metavar="N",
    help="Tokens of KV cache; what does not fit is rejected.  [default: what the requests take]",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of weights, tokens and synthetic traces.")
@click.option("--device", default="cuda", show_default=True, help="cuda, or cpu (for trying the command out).")
@click.option("--out", metavar="DIR", default="validation", show_default=True, help="Folder of the evidence.")
@click.option("--accept", is_flag=True, help="Of evidence: hold later simulations to how far this one is off.")
@click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors.")
@click.pass_context
def validate(
    context: click.Context, /, traces: tuple[str, ...], policies: tuple[str, ...], loads: tuple[float, ...],
    window_s: float | None, quick: bool, gpu: str | None, cost: str | None, device: str, out: str, accept: bool,
    quiet: bool, **options: Any,
) -> None:  # fmt: skip
    """Really execute TRACE on this machine's GPU under several policies, and say how far the simulation is off.

    The same policy objects drive both. The model has random weights in its true shapes: timing does not depend on
    them. Needs torch (pip install 'flowsim[calibrate]') and a GPU that holds the whole model; no weights are loaded.
    Each policy is run at each load for the length of the window, twice: what two real runs differ by is the least
    that any simulation can be off by.

    DIR gets the evidence (evidence.json, a JSON file a case, the operator table), validation.html and figures. A run
    that has ended is kept: the same command goes on where it was interrupted, and more policies or loads can be added.
    With the folder of such evidence in place of TRACE, what was recorded is compared with the simulation as it is
    now; that needs no GPU, and of the options only --out, --accept and --quiet mean anything. The page of one folder
    goes into it, unless --out is given. A folder is of one machine, one table and one trace: of several such folders
    together, which make one table and one page, the page goes to DIR.

    \b
    Examples:
      flowsim validate example --quick
      flowsim validate trace.jsonl --policy fcfs --policy flowprefill --load 0.5 --load 0.9 --out evidence
      flowsim validate evidence
      flowsim validate monday tuesday --out both
    """
    from flowsim.io.progress import bar
    from flowsim.validation.validate import validate as run

    def say(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    if len(traces) > 1 or Path(traces[0]).is_dir():
        _check_folders(traces)
        if more := given(context, besides=("traces", "out", "accept", "quiet")):
            raise InputError(f"{', '.join(more)} given with evidence; allowed: --out, --accept and --quiet")
        page = _free(out, traces) if len(traces) > 1 or context.get_parameter_source("out") is TYPED else traces[0]
        _show(_opened(traces, accept, say), page, quiet)
        return
    if accept:
        raise InputError("--accept given with a trace; allowed: with folders of evidence")
    if gpu is not None and cost is not None:
        raise InputError("--gpu and --cost both given, allowed is one of them")
    if loads and options["rate_scale"] is not None:
        raise InputError("--load and --rate-scale both given, allowed is one of them")
    plan = _plan(traces[0], quick, policies, loads, window_s, options)
    with bar("measuring", quiet=quiet) as progress:
        made = run(plan, out, gpu=gpu, cost=cost, coarse=quick, device=device, say=say, progress=progress)
    _show([made], out, quiet)


def _plan(
    trace: str,
    quick: bool,
    policies: tuple[str, ...],
    loads: tuple[float, ...],
    window_s: float | None,
    options: dict[str, Any],
) -> Plan:
    """The plan that the options stand for; what was not given is the default, or that of --quick."""
    from flowsim.core.server import ServerOptions
    from flowsim.validation.plan import QUICK, Plan

    limits = {name: options.pop(name) for name in ("slots", "max_batched_tokens", "kv_tokens", "graph_tokens")}
    given: dict[str, Any] = {"policies": policies, "loads": loads, "window_s": window_s}
    given = {name: value for name, value in given.items() if value not in ((), None)}
    return Plan(trace, server=ServerOptions(**limits), **options, **{**(QUICK if quick else {}), **given})


def _is_evidence(folder: str) -> bool:
    return (Path(folder) / "evidence.json").is_file()


def _check_folders(folders: Sequence[str]) -> None:
    """Raise `InputError` unless all are folders of evidence, each once."""
    for place, folder in enumerate(folders):
        twice = Path(folder).resolve() in [Path(of).resolve() for of in folders[:place]]
        if not _is_evidence(folder) or twice:
            what = "it twice" if twice else "no evidence.json"
            raise InputError(f"{folder}: found {what}; allowed: one trace, or folders that flowsim validate wrote")


def _opened(folders: Sequence[str], accept: bool, say: Callable[[str], None]) -> list[Evidence]:
    """The evidence in these folders, accepted if asked for; says what is missing. InputError: one has no run."""
    from flowsim.validation.evidence import Evidence
    from flowsim.validation.validate import accept as keep

    evidence = [Evidence.load(folder) for folder in folders]
    for of in evidence:
        if not any(recorded.runs for recorded in of.recorded):
            raise InputError(f"{of.folder}: holds no real run; allowed: flowsim validate TRACE --out {of.folder} first")
        for slug in of.missing:
            say(f"{of.folder}: lacks runs/{slug}.json, so this case is left out")
        for recorded in of.recorded:
            if not recorded.runs:
                say(f"{of.folder}: runs/{recorded.case.slug}.json holds no real run, so this case is left out")
    return [keep(of.folder) for of in evidence] if accept else evidence


def _free(out: str, folders: Sequence[str]) -> str:
    """The folder for a page. InputError: it holds other evidence, and so another page."""
    own = len(folders) == 1 and Path(out).resolve() == Path(folders[0]).resolve()
    if _is_evidence(out) and not own:
        raise InputError(f"--out {out}: holds evidence of its own; allowed: another folder, for the page")
    return out


def _show(evidence: Sequence[Evidence], folder: str, quiet: bool) -> None:
    """Compare, write the page and the figures into this folder, and print the table."""
    from flowsim.show.screen import show
    from flowsim.validation.compared import compared
    from flowsim.validation.report import save_report, validation_report

    cases = compared(*evidence)
    save_report(evidence, cases, folder)
    if not quiet:
        show(validation_report(evidence, cases))
        click.echo(f"saved validation.html and figures in {folder}")


def given(context: click.Context, besides: Sequence[str] = ()) -> list[str]:
    """The options, but for those `besides`, that were given on the command line."""
    named = [(parameter.name or "", parameter.opts[0]) for parameter in context.command.params]
    return [opt for name, opt in named if name not in besides and context.get_parameter_source(name) is TYPED]
