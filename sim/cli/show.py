"""`flowsim show`: a saved result as text, JSON, a page or a timeline."""

from __future__ import annotations

import click

from flowsim.cli.command import Command, all_metrics_option, pins_compared, quiet_option, replaying, say, trust_option
from flowsim.errors import InputError

BOUNDS = ("window", "worst")
"""The options that an error may be about."""


@click.command(cls=Command)
@click.argument("result")
@click.option("--html", metavar="FILE", help="Write a page that needs no other file and no network.")
@click.option("--timeline", metavar="FILE", help="Write a timeline that ui.perfetto.dev and chrome://tracing open.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--window", metavar="A:B", help="Of a timeline: only from A to B, in seconds.")
@click.option(
    "--worst",
    type=int,
    metavar="N",
    help="Of a timeline: only the N requests that miss their SLO by most, or meet it by least.",
)
@click.option(
    "--against", multiple=True, metavar="SPEC", help="Compare the other policies with this one; may be repeated."
)
@all_metrics_option
@trust_option
@quiet_option
def show(
    result: str,
    html: str | None,
    timeline: str | None,
    as_json: bool,
    window: str | None,
    worst: int | None,
    against: tuple[str, ...],
    all_metrics: bool,
    trust_policies: bool,
    quiet: bool,
) -> None:
    """Show RESULT again: as text, as JSON, as a page or as a timeline.

    RESULT is the folder that run, compare, sweep, capacity, arena or validate wrote with --out. Without an option it is
    printed as that command did. A page shows distributions, what was there at a time, and of a run or comparison the
    worst seconds and why requests missed their SLO; a timeline shows every pass, preemption and decision. Both replay a
    run for what happened in it, and refuse one that no longer comes out as it was saved.

    \b
    Examples:
      flowsim show results
      flowsim show results --html results.html
      flowsim show results --timeline worst.json --worst 20
      flowsim show results --json | jq .attainment
    """
    from flowsim.rendering import screen
    from flowsim.report.pages import save_page
    from flowsim.report.saved import Saved
    from flowsim.report.saved_text import saved_json, saved_reports
    from flowsim.report.timeline import save_timeline

    if (window is not None or worst is not None) and timeline is None:
        raise InputError("--window" if window else "--worst", "is given without --timeline", expected="both")
    window_s = None if window is None else _window(window)
    saved = Saved.read(result, trust_policies=trust_policies)
    if as_json:
        click.echo(saved_json(saved).decode())
    elif not (quiet or html or timeline):
        for report in list(saved_reports(saved, against, all_metrics)):  # whole, or an error alone
            screen.show(report)
    with pins_compared(strict=False), replaying(quiet) as progress:
        shown = saved.replayed(progress) if timeline else []
        if html:
            save_page(saved, html, progress=progress)
            say(f"saved {html}", quiet)
    if timeline:
        try:
            save_timeline(shown, timeline, window_s=window_s, worst=worst)
        except InputError as error:
            raise (error.at(f"--{error.where}") if error.where in BOUNDS else error) from error
        say(f"saved {timeline}; open it in ui.perfetto.dev or chrome://tracing", quiet)


def _window(text: str) -> tuple[float, float]:
    """From when to when, seconds. InputError: it is not A:B."""
    first, colon, last = text.partition(":")
    try:
        return (float(first) if first else 0.0, float(last) if last else float("inf")) if colon else _refused(text)
    except ValueError:
        return _refused(text)


def _refused(text: str) -> tuple[float, float]:
    raise InputError("--window", found=text, expected="A:B, in seconds")
