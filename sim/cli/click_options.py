"""The options of a run on the command line, made from their declaration in `flowsim.runs.options`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click
from msgspec import Struct

from flowsim.cli.command import SectionOption, together, typed
from flowsim.errors import InputError
from flowsim.io.schema import alternatives
from flowsim.runs.declaration import Option, declared
from flowsim.runs.keywords import NO_OPTIONS, renamed
from flowsim.runs.options import by_keyword

COSTS = ("model", "gpu", "tp", "cost", "correct")
SECTIONS: Mapping[str, str] = {"workload": "Workload", "slo": "SLOs", "server": "Server"}
"""The headings of `--help`, by section of a run."""


def with_options(*keywords: str, besides: Sequence[str] = (), **help_texts: str) -> Callable[..., Any]:
    """The options of these keywords; without any, all that a command line has but trace, policy and those `besides`.

    `help_texts` replaces what the declaration says, for a command that uses an option for something else.
    """
    known = [by_keyword()[name] for name in keywords] or [
        option
        for option in by_keyword().values()
        if option.flag and option.keyword not in ("trace", "policy", *besides)
    ]
    return together(*(click_option(option, help_texts.get(option.keyword)) for option in known))


def options_of(kind: type[Struct]) -> Callable[..., Any]:
    """The options that the fields of a struct declare, without those of structs in it."""
    return together(*(click_option(option) for option in declared(kind) if "." not in option.path))


def click_option(option: Option, help_text: str | None = None) -> Callable[..., Any]:
    """One option of a run as one of click's; its name there is its keyword."""
    text = help_text or option.help
    if option.default_text:
        text = f"{text}  [default: {option.default_text}]"
    shared: dict[str, Any] = {"cls": SectionOption, "section": _section(option)}
    if option.default is False:
        return click.option(option.flag, option.keyword, is_flag=True, help=text, **shared)
    if option.default is True or alternatives(option.type) == (bool,):
        both = f"{option.flag}/--no-{option.flag.removeprefix('--')}"
        known = option.default is not None
        return click.option(both, option.keyword, default=option.default, show_default=known, help=text, **shared)
    shared["type"] = option.number or str
    if option.several:
        text = f"{text}  [default: {', '.join(map(str, option.default))}]"
        return click.option(option.flag, option.keyword, multiple=True, metavar=option.metavar, help=text, **shared)
    return click.option(
        option.flag,
        option.keyword,
        default=option.default,
        show_default=option.default is not None,
        metavar=option.metavar or None,
        help=text,
        **shared,
    )


def _section(option: Option) -> str:
    """The heading under which `--help` lists an option: that of its command, of costs, or of a section of a run."""
    if option.keyword in COSTS:
        return "Costs"
    section = option.path.partition(".")[0]
    return SECTIONS.get(section, "Options" if section == "policy" else "Replay")


@contextmanager
def flags_named(more: Mapping[str, Option] = NO_OPTIONS) -> Iterator[None]:
    """Errors inside that are about an option of a run, or about one of `more`, by keyword, name its flag."""
    try:
        yield
    except InputError as error:
        raise renamed(error, lambda option: option.flag, more) from error


def check_costs(context: click.Context) -> None:
    """Raise InputError if costs are named by a folder and otherwise too."""
    twice = [flag for flag in typed(context) if flag in ("--model", "--gpu", "--tp")]
    if context.params["cost"] is not None and twice:
        raise InputError(", ".join(twice), "given together with --cost, whose table says it", expected="one of them")


def stated(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options by keyword that have a value."""
    return {name: value for name, value in options.items() if value is not None}
