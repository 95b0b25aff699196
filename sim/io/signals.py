"""What SIGINT (Ctrl-C), SIGTERM and SIGHUP (of a closed terminal) do: end the command, in one line, as shells expect.

While modules are imported and once the command is done, there is nothing to clear away, and the process ends at once.
In between the signal is raised as an exception, which no policy catches as one of its own; a second one ends at once,
as does one that is raised where Python drops exceptions: in finalisers and callbacks of the collector.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager, suppress

TYPE_CHECKING = False  # typing takes long to import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType
    from typing import Final, NoReturn

WORDS: Final = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
"""What is said of each signal."""
if hasattr(signal, "SIGHUP"):  # not on Windows
    WORDS[signal.SIGHUP] = "hung up"


class Interrupted(KeyboardInterrupt):
    """SIGINT has come."""


class Terminated(BaseException):
    """SIGTERM or SIGHUP has come: `number`. Like KeyboardInterrupt, it is not an Exception."""

    def __init__(self, number: int = signal.SIGTERM) -> None:
        super().__init__()
        self.number = signal.Signals(number)


def is_of_signal(error: BaseException) -> bool:
    """Whether a signal has raised it, and not the code that ran then; outside of commands Python raises for Ctrl-C."""
    pythons = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return isinstance(error, (KeyboardInterrupt if pythons else Interrupted, Terminated))


def status_of(number: signal.Signals) -> int:
    """The exit status of a process that a signal ended."""
    return 128 + number


def end_at_once() -> None:
    """From now on a signal ends the process at once."""
    _handle(_end)


def raise_once() -> None:
    """The next signal is raised: Interrupted, or Terminated."""
    sys.unraisablehook = _dropped
    _handle(_raise)


def ignore_interrupts() -> None:
    """Leave Ctrl-C, in a worker, to its parent: a KeyboardInterrupt is then of the code that runs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def no_interrupts() -> Iterator[None]:
    """Keep Ctrl-C from threads and processes that are started meanwhile; one that comes is raised afterwards."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _handle(handler: Callable[[int, FrameType | None], NoReturn]) -> None:
    for number in WORDS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as in the background of a shell
            signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    with suppress(OSError):  # the terminal is closed
        os.write(2, f"flowsim: {WORDS[signal.Signals(number)]}\n".encode())
    os._exit(status_of(signal.Signals(number)))


def _raise(number: int, frame: FrameType | None) -> NoReturn:
    end_at_once()
    raise Interrupted if number == signal.SIGINT else Terminated(number)


def _dropped(dropped: sys.UnraisableHookArgs) -> None:
    if isinstance(dropped.exc_value, Interrupted):
        _end(signal.SIGINT, None)
    if isinstance(dropped.exc_value, Terminated):
        _end(dropped.exc_value.number, None)
    sys.__unraisablehook__(dropped)
