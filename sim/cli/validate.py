"""The command `flowsim validate`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click
from msgspec import structs

from flowsim.cli.click_options import click_option, flags_named, options_of, stated, with_options
from flowsim.cli.command import TYPED, Command, together, trust_option, typed
from flowsim.errors import InputError
from flowsim.runs.declaration import declared
from flowsim.runs.keywords import paths_of
from flowsim.runs.options import by_keyword, from_values
from flowsim.validation.plan import QUICK, Plan

if TYPE_CHECKING:
    from flowsim.traces.trace import Trace
    from flowsim.validation.evidence import Evidence

LIMITS = ("slots", "max_batched_tokens", "graph_tokens", "kv_tokens")
SHARED = (
    "tp",
    "slo",
    "slo_scale",
    "format",
    "spread",
    "drop_failed",
    "predictor",
    *LIMITS,
    "concurrency",
    "instances",
    "stack",
    "seed",
)
HELP = {
    "kv_tokens": "Tokens of KV cache; prompts that do not fit are rejected.",
    "seed": "Seed of weights, tokens and synthetic traces.",
}
OF_A_GPU = ("quick", "loads", "rate_scale", "duration_s", "start_s", "repeats", "device", "accept", "trust_policies")
"""Options that mean nothing with the log of a server."""
PLANNED = {one.keyword: one for one in declared(Plan) if "." not in one.path}
TABLES = (
    structs.replace(
        by_keyword()["gpu"],
        default=None,
        help="Simulate with the table of this name.",
        default_text="measure this GPU first",
    ),
    structs.replace(by_keyword()["cost"], help="Simulate with your own operator table."),
)


@click.command(cls=Command)
@click.argument("traces", metavar="TRACE", nargs=-1, required=True)
@options_of(Plan)
@click.option("--quick", is_flag=True, help="About 3 minutes: three policies, load 0.75, 20 s, a coarse calibration.")
@with_options("model", model="A shipped model, or a file of its shape.")
@together(*map(click_option, TABLES))
@with_options(*SHARED, **HELP)
@click.option("--device", default="cuda", show_default=True, help="cuda, or cpu (for trying the command out).")
@click.option("--out", metavar="DIR", default="validation", show_default=True, help="Folder of the evidence.")
@click.option("--accept", is_flag=True, help="With evidence: hold later simulations to the differences of this one.")
@trust_option
@click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors.")
@click.pass_context
def validate(
    context: click.Context, /, traces: tuple[str, ...], quick: bool, gpu: str | None, cost: str | None, device: str,
    out: str, accept: bool, trust_policies: bool, quiet: bool, **options: Any,
) -> None:  # fmt: skip
    """Run TRACE on this machine's GPU under several policies, and report how far the simulation differs.

    The same policy objects drive both. The model has random weights in its true shapes: timing does not depend on
    them. Needs torch (pip install 'flowsim[calibrate]') and a GPU that holds the whole model; no weights are loaded.
    Each policy is run at each load for the same duration, twice: no simulation can be expected to differ from
    a real run by less than a second real run does.

    DIR gets the evidence (evidence.json, one JSON file per case and the events of its runs, the operator table),
    validation.html and figures. A run that has ended is kept: the same command goes on where it was interrupted, and
    more policies or loads can be added.
    With the folder of such evidence in place of TRACE, what was recorded is compared with the simulation as it is
    now; that needs no GPU, and of the options only --out, --accept, --trust-policies and --quiet mean anything. Code of
    policies that flowsim does not ship is run only with --trust-policies. The page of one folder goes into it, unless
    --out is given. A folder is of one machine, one table and one trace: of several such folders
    together, which make one table and one page, the page goes to DIR.

    With the log of a real server in place of TRACE (docs/servers.md), what it measured is compared with a simulation of
    its requests under each policy, on the table that --gpu or --cost names; that needs no GPU either.

    \b
    Examples:
      flowsim validate example --quick
      flowsim validate trace.jsonl --policy fcfs --policy flowprefill --load 0.5 --load 0.9 --out evidence
      flowsim validate evidence
      flowsim validate monday tuesday --out both
      flowsim validate bench.json --policy fcfs --gpu h200 --stack stack.yaml
    """
    from flowsim.io.progress import bar
    from flowsim.validation.validate import validate as run

    def say(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    if len(traces) > 1 or Path(traces[0]).is_dir():
        _check_folders(traces)
        if more := typed(context, besides=("traces", "out", "accept", "trust_policies", "quiet")):
            expected = "--out, --accept, --trust-policies and --quiet only"
            raise InputError(", ".join(more), "given with evidence", expected=expected)
        page = _free(out, traces) if len(traces) > 1 or context.get_parameter_source("out") is TYPED else traces[0]
        _show(_opened(traces, accept, trust_policies, say), page, quiet)
        return
    if accept or trust_policies:
        flag = "--accept" if accept else "--trust-policies"
        raise InputError(flag, "given with a trace", expected="folders of evidence")
    if (log := _log(traces[0], options)) is not None:
        _check_no_gpu_asked(context)
        _beside_server(log, options, gpu, cost, out, quiet)
        return
    if gpu is not None and cost is not None:
        raise InputError("--gpu", "given together with --cost", expected="one of them")
    plan = _planned(context, traces[0], options, QUICK if quick else {})
    with flags_named(PLANNED), bar("measuring", quiet=quiet) as progress:
        made = run(plan, out, gpu=gpu, cost=cost, coarse=quick, device=device, say=say, progress=progress)
    _show([made], out, quiet)


def _check_no_gpu_asked(context: click.Context) -> None:
    """Raise `InputError` if an option was typed that means nothing for the log of a server."""
    if more := [name for name in OF_A_GPU if context.get_parameter_source(name) is TYPED]:
        flags = ", ".join(f"--{name.removesuffix('_s').removesuffix('s').replace('_', '-')}" for name in more)
        raise InputError(flags, "given with the log of a server", expected="a trace, or no such option")


def _planned(context: click.Context, trace: str, options: dict[str, Any], chosen: Mapping[str, Any]) -> Plan:
    """What is to run: what was typed, and else what is `chosen`."""
    if options["loads"] and options["rate_scale"] is not None:
        raise InputError("--load", "given together with --rate-scale", expected="one of them")
    left = {name for name in chosen if context.get_parameter_source(name) is not TYPED}
    planned = {name: options.pop(name) for name in PLANNED}
    given = {name: value for name, value in planned.items() if name not in left and value not in ((), None)}
    with flags_named(PLANNED):
        return Plan(from_values({"trace": trace, **paths_of(stated(options))}), **{**chosen, **given})


def _is_evidence(folder: str) -> bool:
    return (Path(folder) / "evidence.json").is_file()


def _check_folders(folders: Sequence[str]) -> None:
    """Raise `InputError` unless all are folders of evidence, each once."""
    for place, folder in enumerate(folders):
        twice = Path(folder).resolve() in [Path(other).resolve() for other in folders[:place]]
        if not _is_evidence(folder) or twice:
            what = "is given twice" if twice else "has no evidence.json"
            raise InputError(folder, what, expected="one trace, or folders that flowsim validate wrote")


def _opened(folders: Sequence[str], accept: bool, trusted: bool, say: Callable[[str], None]) -> list[Evidence]:
    """The evidence in these folders, accepted if asked for; says what is missing. InputError: one has no run."""
    from flowsim.validation.evidence import Evidence
    from flowsim.validation.validate import accept as keep

    evidence = [Evidence.load(folder, trust_policies=trusted) for folder in folders]
    for one in evidence:
        if not any(recorded.runs for recorded in one.recorded):
            raise InputError(
                one.folder, "holds no run", expected=f"flowsim validate TRACE --out {quote(str(one.folder))} first"
            )
        for slug in one.missing:
            say(f"{one.folder}: lacks runs/{slug}.json, so this case is left out")
        for recorded in one.recorded:
            if not recorded.runs:
                say(f"{one.folder}: runs/{recorded.case.slug}.json holds no run, so this case is left out")
    return [keep(one.folder, trust_policies=trusted) for one in evidence] if accept else evidence


def _free(out: str, folders: Sequence[str]) -> str:
    """The folder for a page. InputError: it holds other evidence, and so another page."""
    own = len(folders) == 1 and Path(out).resolve() == Path(folders[0]).resolve()
    if _is_evidence(out) and not own:
        raise InputError(f"--out {out}", "holds evidence of its own", expected="another folder for the page")
    return out


def _show(evidence: Sequence[Evidence], folder: str, quiet: bool) -> None:
    """Compare, write the page and the figures into this folder, and print the table."""
    from flowsim.rendering.screen import show
    from flowsim.report.gantt import real_gantt
    from flowsim.validation.compared import compared_cases
    from flowsim.validation.report import save_report, validation_report

    cases = compared_cases(*evidence)
    save_report(evidence, cases, folder, list(map(real_gantt, cases)))
    if not quiet:
        show(validation_report(evidence, cases))
        click.echo(f"saved validation.html and figures in {folder}")


def _log(name: str, options: Mapping[str, Any]) -> Trace | None:
    """The trace in this file, if a server measured its TTFTs."""
    from flowsim.traces.catalogue import load_trace

    if not Path(name).is_file():
        return None
    how = {key: options[key] for key in ("spread", "drop_failed", "seed")}
    trace = load_trace(name, options["format"], **how)
    return trace if trace.has("ttft_s") else None


def _beside_server(
    log: Trace, options: dict[str, Any], gpu: str | None, cost: str | None, out: str, quiet: bool
) -> None:
    """Compare a log with its simulation, write the page and print the tables."""
    from flowsim.rendering.run_text import head_facts
    from flowsim.rendering.screen import facts, show, table
    from flowsim.validation.server_comparison import compare_server

    if (gpu is None) == (cost is None):
        problem = "is missing" if gpu is None else "given together with --cost"
        raise InputError("--gpu", problem, expected="--gpu or --cost, whose table the simulation uses")
    policies = options["policies"] or ("fcfs",)
    with flags_named(PLANNED):
        known = {name: value for name, value in options.items() if name not in PLANNED}
        values = paths_of(stated({**known, "gpu": gpu, "cost": cost}))
        found = compare_server(log, from_values({"trace": log.source, **values}), policies)
        page = found.save(_free(out, ()))
    if quiet:
        return
    show(facts(head_facts(next(iter(found.simulated.values())).summary)))
    for notice in found.replay_notices:
        click.echo(notice)
    for part in found.tables():
        click.echo(f"\n{part.title}")
        made = table(*part.header)
        for row in part.rows:
            made.add_row(*row)
        show(made)
    for policy in found.simulated:
        click.echo(f"\nWhere {policy} differs")
        show(facts(found.places(policy)))
    click.echo(f"\nsaved {page}")
