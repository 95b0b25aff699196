"""Progress of long work, on a terminal's stderr only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[..., None]
"""Called with (done, all) or (done, all, what is being done)."""


@contextmanager
def bar(what: str, *, quiet: bool = False) -> Iterator[Progress | None]:
    """A function to be called as `Progress` says, which moves a bar; None if nobody would see it."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(what, total=None)

        def advance(done: int, total: int, doing: str = what) -> None:
            bars.update(task, completed=done, total=total, description=doing)

        yield advance
