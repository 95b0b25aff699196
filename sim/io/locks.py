"""Locks: one process at a time in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from flowsim.errors import InputError
from flowsim.io.folders import followed


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
        with _held(_lock_file(path), str(folder)):
            yield
    finally:
        for new in created:
            with suppress(OSError):  # not empty
                new.rmdir()


def _lock_file(path: Path) -> Path:
    """Beside the folder, which may be replaced while it is locked; inside it if its parent cannot be written."""
    return path.parent / f".{path.name}.lock" if os.access(path.parent, os.W_OK) else path / ".lock"


@contextmanager
def _held(file: Path, name: str) -> Iterator[None]:
    lock = FileLock(file, blocking=False)
    try:
        lock.acquire()
    except Timeout as error:
        problem = "is in use by another command; use another folder, or wait until it ends"
        raise InputError(name, problem) from error
    except OSError as error:
        raise InputError(name, f"cannot be locked ({error.strerror})") from error
    try:
        yield
    finally:
        with suppress(OSError):  # Windows does not remove what is open
            file.unlink()
        lock.release()
