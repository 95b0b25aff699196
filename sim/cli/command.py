"""What all commands share: errors of one line, what was typed, and what is printed."""

from __future__ import annotations

import atexit
import gc
import io
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import click

from flowsim.errors import ChangedInputs, FailedRuns, InputError, InputWarning, printable
from flowsim.io.progress import Progress, bar
from flowsim.io.signals import WORDS, Terminated, end_at_once, raise_once, status_of

TYPED = click.core.ParameterSource.COMMANDLINE
PATHS = {"DIR": "a folder", "FILE": "a file"}
"""What the options are that have these metavars."""


class Command(click.Command):
    """A command that refuses an option given twice, of which click would take the last, and an empty path.

    Its help lists options by section.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments. InputError: an option with one value is given twice, or a file or folder is empty."""
        *_, given = self.make_parser(ctx).parse_args(args=list(args))
        for one in given:
            if isinstance(one, click.Option) and not (one.multiple or one.is_flag) and given.count(one) > 1:
                raise InputError(one.opts[0], "is given twice")
        rest = super().parse_args(ctx, args)
        for one in self.params:
            if one.metavar in PATHS and ctx.params.get(one.name or "") == "":
                raise InputError(one.opts[0], found="", expected=PATHS[one.metavar])
        return rest

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command's own options, then those of a run under the heading of their section."""
        sections: dict[str, list[tuple[str, str]]] = {"Options": []}
        for parameter in self.get_params(ctx):
            if isinstance(parameter, click.Option) and (record := parameter.get_help_record(ctx)):
                sections.setdefault(getattr(parameter, "section", "Options"), []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)


class SectionOption(click.Option):
    """An option that `--help` lists under a heading of its own."""

    def __init__(self, *args: Any, section: str, **options: Any) -> None:
        super().__init__(*args, **options)
        self.section = section


class Group(Command, click.Group):
    """A group of such commands."""

    command_class = Command

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the group's own options, then its commands."""
        super().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


class OneLine(Group):
    """A group whose every error is one line on stderr and exit status 2."""

    def __call__(self, *args: Any, **options: Any) -> NoReturn:
        """Run the command line and exit; what Python still does then is not interrupted with a traceback."""
        try:
            self.main(*args, **options)
        finally:
            end_at_once()

    def main(self, *args: Any, **options: Any) -> NoReturn:
        """Run the command line and exit."""
        options["standalone_mode"] = False
        raise_once()  # so that unfinished files are cleared away
        os.environ["MPLBACKEND"] = "agg"  # figures are only saved
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # what its encoding lacks, such as bars, is written as "?"
        atexit.register(gc.freeze)  # else Python looks for cycles in all that it knows, for seconds, before it ends
        try:
            with warnings_in_one_line():
                status = super().main(*args, **options)
            if sys.stdout is not None:
                sys.stdout.flush()
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.ctx.get_help() if error.ctx else "")
            sys.exit(2)
        except click.ClickException as error:
            _fail(error.format_message())
        except InputError as error:
            _fail(str(error))
        except (click.Abort, KeyboardInterrupt):
            _ended_by(signal.SIGINT)
        except Terminated as error:
            _ended_by(error.number)
        except BrokenPipeError:
            _give_up_printing()
            sys.exit(1)
        except OSError as error:
            if error.filename is not None:  # of a file that no reader expects to be missing or closed
                _fail(f"{error.filename}: {error.strerror}")
            _give_up_printing()
            _fail(f"cannot write: {error.strerror}")
        sys.exit(status if isinstance(status, int) else 0)


def _give_up_printing() -> None:
    """Close standard output, lest Python tries to write the rest when it ends."""
    with suppress(OSError):
        sys.stdout.close()


def _ended_by(number: signal.Signals) -> NoReturn:
    with suppress(OSError):  # the terminal is closed
        click.echo(f"flowsim: {WORDS[number]}", err=True)
    sys.exit(status_of(number))


def _fail(message: str) -> NoReturn:
    click.echo(printable(f"flowsim: error: {' '.join(message.split())}"), err=True)
    sys.exit(2)


def together(*options: Callable[..., Any]) -> Callable[..., Any]:
    """One decorator of several options, which are listed in this order."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def typed(context: click.Context, besides: Sequence[str] = ()) -> list[str]:
    """The options, other than those named in `besides`, that were typed on the command line."""
    named = [(parameter.name or "", parameter.opts[0]) for parameter in context.command.params]
    return [flag for name, flag in named if name not in besides and context.get_parameter_source(name) is TYPED]


@contextmanager
def warnings_in_one_line() -> Iterator[None]:
    """Say each of flowsim's own warnings inside once, in one line on stderr; reports tell of failed runs.

    They are said at the end or, of long work, while it goes on; see `working`. What is refused is told in one line,
    without them.
    """
    FOUND.clear()
    python_shows = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if not issubclass(category, InputWarning):
            python_shows(message, category, *place, **more)
        else:
            FOUND.setdefault(str(message), False)

    with warnings.catch_warnings():
        warnings.simplefilter("always", InputWarning)
        warnings.simplefilter("ignore", FailedRuns)
        warnings.showwarning = show
        try:
            yield
        except (InputError, click.ClickException):
            FOUND.clear()
            raise
        finally:
            _say_warnings()


FOUND: dict[str, bool] = {}
"""The warnings of the command that runs, and whether each has been said."""


def _say_warnings() -> None:
    for message, said in FOUND.items():
        if not said:
            click.echo(printable(f"flowsim: warning: {message}"), err=True)
            FOUND[message] = True


@contextmanager
def working(what: str, *, quiet: bool) -> Iterator[Progress | None]:
    """The progress of long work, None if `quiet`; at each of its steps, the warnings so far are said."""

    def advance(*step: Any) -> None:
        _say_warnings()
        progress(*step)  # type: ignore[misc]

    with bar(what, quiet=quiet) as progress:
        yield None if quiet else advance


@contextmanager
def pins_compared(strict: bool) -> Iterator[None]:
    """If `strict`, refuse what inside is not as a config pins it, with the line that would warn of it."""
    with warnings.catch_warnings():
        if strict:
            warnings.simplefilter("error", ChangedInputs)
        try:
            yield
        except ChangedInputs as warning:
            raise InputError("", str(warning)) from None


strict_option = click.option(
    "--strict", is_flag=True, help="Refuse to run what is not as the config pins it, rather than warn."
)


def replaying(quiet: bool) -> Any:
    """The progress of replaying."""
    return bar("replaying", quiet=quiet)


def say(text: str, quiet: bool = False) -> None:
    """Print a line, unless asked to be quiet."""
    if not quiet:
        click.echo(printable(text))


quiet_option = click.option("--quiet", "-q", is_flag=True, help="Print no report and no progress.")


def out_option(files: str) -> Callable[..., Any]:
    """The option of the folder in which these files are saved."""
    return click.option("--out", metavar="DIR", help=f"Save {files} in this folder, new or existing.")


trust_option = click.option(
    "--trust-policies", is_flag=True, help="Run also the code of policies that flowsim does not ship."
)
all_metrics_option = click.option(
    "--all-metrics", is_flag=True, help="Print also attained requests per second of other spans, and shares of time."
)
