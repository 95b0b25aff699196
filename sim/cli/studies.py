"""The commands `flowsim sweep` and `flowsim capacity`."""

from __future__ import annotations

from contextlib import suppress
from shlex import quote
from typing import Any

import click

from flowsim.cli.click_options import options_of
from flowsim.cli.command import Command, pins_compared, quiet_option, say, strict_option, together, working
from flowsim.errors import InputError
from flowsim.io import documents
from flowsim.policies.registry import DEFAULT_POLICIES
from flowsim.runs.options import MAPPINGS, flat, options
from flowsim.studies.search import Search

workers_options = together(
    click.option("--workers", type=int, metavar="N", help="Processes on this machine.  [default: one per core]"),
    click.option("--dask", metavar="ADDRESS", help="Run on the workers of this Dask scheduler instead."),
)
cluster_options = together(
    workers_options,
    click.option(
        "--against",
        multiple=True,
        metavar="SPEC",
        help="Compare the other policies with this one, on the same arrivals; may be repeated.  "
        "[default: the first policy, if highest rates are searched]",
    ),
    quiet_option,
)
PATHS = ", ".join([*options(), "policy.OPTION", *(f"{path}.CLASS" for path in MAPPINGS)])
"""Every option of a run, as an axis of a study names it."""
SWEEP_HELP = f"""Run all points of STUDY, a YAML file, and print each configuration with its interval.

\b
A study says what all runs share, and the axes of a grid (or listed points):
  run:  {{trace: synthetic:qwen:2000}}
  axes:
    policy: [fcfs, chunked:2048, flowprefill]
    workload.rate_rps: {{from: 8, to: 20, step: 2}}
    seed: {{from: 0, to: 9}}

An axis is any option of a run, by its path: {PATHS}. "slo" alone stands for slo.mix. The config.yaml of a run is a
valid "run" section. "points" lists points one by one (a range in one stands for all its values); "capacity: {{target:
0.9}}" searches the highest rates at each point; "requests: true" keeps one row per request, a list these columns of it.

DIR gets runs.parquet (one row per run): the same bytes, whatever the number of workers. What has run is not run again;
a failed run is kept with its error, tried again the next time, and makes the exit status 1.

\b
Example:
  flowsim sweep studies/rate.yaml --out results/rate
"""


@click.command(cls=Command, help=SWEEP_HELP)
@click.argument("study")
@click.option("--out", metavar="DIR", required=True, help="Folder of the results. A study begun there goes on.")
@strict_option
@cluster_options
def sweep(
    study: str, out: str, strict: bool, workers: int | None, dask: str | None, against: tuple[str, ...], quiet: bool
) -> int:
    """Run all points of a study."""
    from flowsim.policies.registry import spelling
    from flowsim.studies.study import Study
    from flowsim.studies.sweep import sweep as run

    points = Study.read(study)
    if against:
        points.check()
        for name in against:
            spelling(name, points.policies)
    with pins_compared(strict), working("sweeping", quiet=quiet) as progress:
        runs = run(points, out, workers=workers, dask=dask, progress=progress)
    return _show(runs, out, against, quiet)


@click.command(cls=Command)
@click.argument("traces", metavar="TRACE...", nargs=-1, required=True)
@click.option(
    "--policy",
    "policies",
    multiple=True,
    metavar="SPEC",
    help=f"Once for each policy.  [default: {', '.join(DEFAULT_POLICIES)}]",
)
@click.option("--gpu", "gpus", multiple=True, metavar="NAME", help="Once for each GPU.  [default: h200]")
@options_of(Search)
@click.option(
    "--replications",
    type=int,
    default=10,
    show_default=True,
    help="Seeds of a synthetic trace, or windows of equal length of any other (fewer if one would have less than 30 "
    "requests). Each begins without a queue and with an "
    "empty prefix cache: short ones flatter a policy, and hide reuse.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="Any option of a run, as flowsim sweep --help lists them; a list makes an axis: --set slo.scale=[1,2]",
)
@click.option("--out", metavar="DIR", help="Save the results there; a search begun there goes on.")
@cluster_options
def capacity(
    traces: tuple[str, ...],
    policies: tuple[str, ...],
    gpus: tuple[str, ...],
    settings: tuple[str, ...],
    out: str | None,
    against: tuple[str, ...],
    quiet: bool,
    **search: Any,
) -> int:
    """Find the max goodput: the highest request rate that each policy serves on each TRACE, with intervals.

    TRACE is a file, 'example', or 'synthetic:PRESET:N' with N requests drawn anew for each replication. There are two
    rules, found by one search. attainment: the target share of requests meets its SLO. sustained: that, every request
    is served or rejected, and the queue empties in the last third of the run; a queue that only grows is refused,
    however many of the others are served in time. Every policy gets the same requests at the same rates. The first
    tenth of the requests is a warm-up (--set warmup=0.1).

    Attainment need not fall with the rate. The max goodput is the highest rate tried at which the rule holds: after
    a bracket is found, the next eight rates (up to 4.4 % above) are tried too, and the search goes on from where the
    rule holds again, if it does.

    The table says the highest rate by each rule, and what is lacking at the next one tried, in how many replications;
    at the highest sustained rate the late and the starved requests, and the use of the GPU. Below it, each policy is
    compared with the first, or those of --against, on the same arrivals.

    \b
    Examples:
      flowsim capacity synthetic:qwen:1000 --replications 5
      flowsim capacity trace.jsonl --policy fcfs --policy flowprefill --target text=.99,search=.9 --out results
      flowsim capacity synthetic:qwen:2000 trace.csv.gz --gpu h200 --gpu a100_sxm --against fcfs --against chunked:2048
      flowsim capacity trace.jsonl --set slo.scale=[0.5,1,2] --set workload.prefix_cache=ideal
    """
    from flowsim.policies.registry import spelling
    from flowsim.studies.capacity import capacity as find

    policies = policies or DEFAULT_POLICIES
    given: dict[str, Any] = {"gpu": list(gpus)} if gpus else {}
    for text in settings:
        for path, value in setting(text).items():
            if path in given:
                raise InputError(f"--set {path}", "is given twice")
            given[path] = value
    if clash := {"trace", "policy", *search, "out"} & set(given):
        raise InputError(f"--set {min(clash)}", expected="an option of a run other than trace and policy")
    for name in against:
        spelling(name, policies)
    with working("searching", quiet=quiet) as progress:
        runs = find(traces, policies, out=out, progress=progress, **search, **given)
    return _show(runs, out, against, quiet)


def setting(text: str) -> dict[str, Any]:
    """What one --set gives, by path. InputError: not NAME=VALUE, or an unknown option."""
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError("--set", found=text, expected="NAME=VALUE")
    with suppress(InputError):  # what is not YAML is plain text
        value = documents.parse(value, f"--set {name}")
    try:
        return flat({name: value})
    except InputError as error:
        raise error.within("--set") from None


def _show(runs: Any, out: str | None, against: tuple[str, ...], quiet: bool) -> int:
    """Print a study; the exit status."""
    if not quiet:
        from flowsim.rendering.screen import show
        from flowsim.studies.study_text import study_report

        show(study_report(runs, against))
        if out:
            say(f"saved runs.parquet and study.yaml in {out}; draw with flowsim plot {quote(out)}")
    return 1 if len(runs.failed) else 0
