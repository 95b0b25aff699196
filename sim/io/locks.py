"""Locks: one process at a time in a folder, or at a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from flowsim.errors import InputError
from flowsim.io.folders import followed

FOREVER_S = -1.0
"""Wait until the lock is free."""


@contextmanager
def locked(folder: str | Path) -> Iterator[None]:
    """Keep other processes out of a folder, new or existing; the system drops the lock when the process ends.

    A new folder is created, and removed at the end if it is still empty.

    Raises:
        InputError: another process holds the lock, or the folder cannot be created.
    """
    path = followed(folder)
    created = [new for new in (path, *path.parents) if not new.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(str(folder), f"cannot be written ({error.strerror})") from error
    try:
        with ExitStack() as held:
            try:
                held.enter_context(locked_file(_lock_file(path)))
            except TimeoutError as error:
                problem = "is in use by another command; use another folder, or wait until it ends"
                raise InputError(str(folder), problem) from error
            yield
    finally:
        for new in created:
            with suppress(OSError):  # not empty
                new.rmdir()


def _lock_file(path: Path) -> Path:
    """Beside the folder, which may be replaced while it is locked; inside it if its parent cannot be written."""
    return path.parent / f".{path.name}.lock" if os.access(path.parent, os.W_OK) else path / ".lock"


@contextmanager
def locked_file(file: Path, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the lock that this file stands for; the file exists only while somebody holds the lock or waits for it.

    Where the file system cannot lock, nobody is kept out.

    Args:
        file: the lock file, in an existing folder.
        wait_s: how long to wait for the lock, in seconds.

    Raises:
        TimeoutError: somebody else held the lock all the time.
    """
    from filelock import FileLock  # here, because importing it takes a quarter of the time of importing flowsim

    lock = FileLock(file)
    try:
        lock.acquire(timeout=wait_s)
    except TimeoutError:
        raise
    except OSError:
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError):  # Windows does not remove what is open
            file.unlink()
        lock.release()
