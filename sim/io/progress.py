"""Progress of long work on stderr: a bar on a terminal, otherwise a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flowsim.errors import printable

LINE_EVERY_S = 30.0
"""Least time between two lines where there is no terminal."""
Progress = Callable[..., None]
"""Called with (done, total) or (done, total, what is being done)."""


@contextmanager
def bar(what: str, *, quiet: bool = False) -> Iterator[Progress | None]:
    """A `Progress` function that moves a bar, or prints lines; None if `quiet`."""
    if quiet:
        yield None
        return
    if not sys.stderr.isatty():
        yield _lines(what)
        return
    from rich.console import Console  # slow to import, and only a terminal needs it
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(what, total=None)

        def advance(done: int, total: int, doing: str = what) -> None:
            bars.update(task, completed=done, total=total, description=printable(doing))

        yield advance


def _lines(what: str) -> Progress:
    """Print the progress, at most once every `LINE_EVERY_S`."""
    last_s = time.monotonic()

    def advance(done: int, total: int, doing: str = "") -> None:
        nonlocal last_s
        if time.monotonic() - last_s >= LINE_EVERY_S:
            last_s = time.monotonic()
            print(printable(f"{what}: {done} of {total}{doing and ', '}{doing}"), file=sys.stderr, flush=True)

    return advance
