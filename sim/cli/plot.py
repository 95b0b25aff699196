"""`flowsim plot`: the figures of results, and one chart of any columns."""

from __future__ import annotations

from typing import Any

import click

from flowsim.cli.command import Command, say
from flowsim.errors import InputError
from flowsim.io.counts import number_of

FLAGS = ("x", "y", "hue", "facet", "against", "width", "format", "out")


@click.command(cls=Command)
@click.argument("results")
@click.option("--x", metavar="COLUMN", help="On the horizontal axis.  [default: the first option that varies]")
@click.option("--y", metavar="COLUMN", help="On the vertical axis.  [default: attainment]")
@click.option("--hue", metavar="COLUMN", help="A line for each of its values.  [default: policy]")
@click.option("--facet", metavar="COLUMN", help="A panel for each of its values.")
@click.option("--against", metavar="SPEC", help="Show the difference of y to this policy's, paired by replication.")
@click.option("--width", metavar="WIDTH", help="column, page, or inches.  [default: page]")
@click.option(
    "--format", "formats", multiple=True, metavar="NAME", help="png, svg or pdf; may be repeated.  [default: png, svg]"
)
@click.option("--out", metavar="DIR", help="Folder of the figures.  [default: RESULTS]")
@click.option(
    "--select", "settings", multiple=True, metavar="NAME=VALUE", help="Only runs with this value of an option."
)
@click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors.")
def plot(
    results: str, out: str | None, settings: tuple[str, ...], formats: tuple[str, ...], quiet: bool, **columns: Any
) -> None:
    """Draw the figures of RESULTS, a folder that run, compare, sweep or capacity left.

    Of a study, one varied number gives lines with intervals against it (and, of attainment, a panel for each policy
    with a line for each class), two give a heat map for each policy. A capacity study over policies gives bars with
    ratios, a panel for each trace and GPU. Options that are not numbers give a set of figures for each value. A study
    that kept its requests also gives the distribution of TTFT. A run or a comparison gives attainment by class and the
    distribution of TTFT.

    With --x, --y, --hue, --facet, --against or --width it is one chart of any columns of the runs: options by their
    path, and figures (flowsim metrics). "family" is the policy without its options, "class" the class of requests: the
    figure of each class in place of that of all.

    \b
    Examples:
      flowsim plot results/rate --select slo.scale=1
      flowsim plot results/rate --x workload.rate_rps --y ttft_p99_s --width column --format pdf
      flowsim plot results/rate --facet class --width page
      flowsim plot results/rate --against fcfs
    """
    from flowsim.report import plot as drawing
    from flowsim.report.saved import Saved

    saved = Saved.read(results)
    given = saved.study if saved.kind == "study" else results
    if saved.kind == "study" and len(failed := saved.study.failed):
        say(f"left out: {number_of(len(failed), 'failed run')} ({', '.join(dict.fromkeys(failed['policy']))})", quiet)
    try:
        figures = drawing.plot(given, select=settings, formats=formats or drawing.DEFAULT_FORMATS, **columns)
        names = drawing.save(figures, out or results, formats or drawing.DEFAULT_FORMATS)
    except InputError as error:
        raise (error.at(f"--{error.where}") if error.where in FLAGS else error) from error
    for name in names:
        say(f"{out or results}/{name}", quiet)
