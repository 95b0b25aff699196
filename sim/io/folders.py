"""Writing outputs whole or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from flowsim.errors import InputError


def followed(folder: str | Path) -> Path:
    """Where a folder is or would be: absolute, and where a link points to, be anything there or not."""
    return Path(os.path.realpath(folder))


def check_writable(folder: str | Path) -> None:
    """Raise `InputError` now if `writing` this folder would fail later."""
    named, path = Path(folder), followed(folder)
    if path.exists() and not path.is_dir():
        raise InputError(f"{named}: is a file, allowed is a folder, new or existing")
    parent = path if path.exists() else _nearest(path)
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(f"{named}: cannot be written ({parent} is not a writable folder)")
    try:  # /proc, say, counts as writable and yet takes nothing
        Path(tempfile.mkdtemp(prefix=".flowsim-", dir=parent)).rmdir()
    except OSError as error:
        raise InputError(f"{named}: cannot be written ({error.strerror})") from error


@contextmanager
def writing(folder: str | Path) -> Iterator[Path]:
    """A temporary folder whose files replace those of the same names in `folder` once the block has succeeded.

    If the block fails, `folder` is as it was.

    Raises:
        InputError: the folder cannot be written.
    """
    check_writable(folder)
    path, target = Path(folder), followed(folder)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=".flowsim-", dir=target if target.exists() else target.parent))
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error
    try:
        stage.chmod(0o755)
        yield stage
        _move(stage, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)


@contextmanager
def alone(folder: str | Path) -> Iterator[None]:
    """Have a folder, new or existing, to oneself: by a lock on it, which the system drops when the process ends.

    A new folder is made, and is gone afterwards if nothing was put into it.

    Raises:
        InputError: another process has it, or it cannot be made.
    """
    path = followed(folder)
    made = [new for new in (path, *path.parents) if not new.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        place = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror})") from error
    try:
        _lock(place, str(folder))
        yield
    finally:
        for new in made:
            with suppress(OSError):  # something is in it
                new.rmdir()
        os.close(place)


def _lock(place: int, name: str) -> None:
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(
            f"{name}: another command is at work here; allowed: another folder, or once it ends"
        ) from error
    except OSError:  # a file system that cannot lock folders
        return


def _move(stage: Path, path: Path) -> None:
    if not path.exists():
        stage.rename(followed(path))
        return
    files = [(file, path / file.relative_to(stage)) for file in sorted(stage.rglob("*"))]
    for file, place in files:
        if place.exists() and place.is_dir() != file.is_dir():
            raise InputError(f"{place}: is in the way of a {'folder' if file.is_dir() else 'file'} of that name")
    for file, place in files:
        place.mkdir(exist_ok=True) if file.is_dir() else file.replace(place)


def _nearest(path: Path) -> Path:
    return next(parent for parent in path.parents if parent.exists())
