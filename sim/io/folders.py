"""Outputs, folders and files: written whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from flowsim.errors import InputError

Stamp = tuple[tuple[int, int, int], ...]
"""As `stamp_of` returns it."""


def path_of(value: object, where: str) -> Path:
    """The path that a caller in Python names. InputError, about the argument `where`: it is neither text nor a path."""
    if not isinstance(value, str | Path):
        raise InputError(where, found=value, expected="text or a Path")
    return Path(value)


def followed(folder: str | Path) -> Path:
    """The absolute path of a folder, links followed, whether it exists or not."""
    return Path(os.path.realpath(folder))


def exists(path: str | Path) -> bool:
    """Whether there is a file or folder of this name.

    Raises:
        InputError: the system refuses to look: the name is too long, links go round in a circle, or a folder is closed.
    """
    try:
        Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise InputError(str(path), f"cannot be read ({error.strerror})") from error
    except ValueError as error:  # a null character
        raise InputError(str(path), f"cannot be read ({error})") from error
    return True


def check_ends(path: str | Path, expected: str = "") -> None:
    """Raise `InputError` if this is neither a file nor a folder nor missing: reading a pipe or a device may not end."""
    if exists(path) and not (Path(path).is_file() or Path(path).is_dir()):
        raise InputError(str(path), "is a pipe or a device", expected=expected or "a file")


def leads_somewhere(name: str | Path) -> bool:
    """Whether a name, which may stand for something else than a file, is that of an existing file or folder."""
    try:
        return exists(name)
    except InputError:
        return False


def stamp_of(name: str | Path | None) -> Stamp:
    """When the file of this name, or those in the folder, were written: what was read of them is kept until then."""
    place = Path(name) if name else None
    if place is None or not leads_somewhere(place):
        return ()
    states = [path.stat() for path in (sorted(filter(leads_somewhere, place.iterdir())) if place.is_dir() else [place])]
    return tuple((state.st_mtime_ns, state.st_size, state.st_ino) for state in states)


def check_writable(folder: str | Path) -> None:
    """Raise `InputError` now if `writing` this folder would fail later, or if its name is empty."""
    if str(folder) == "":
        raise InputError("out", found="", expected="a folder")
    named, path = path_of(folder, "out"), followed(folder)
    try:
        if path.exists() and not path.is_dir():
            raise InputError(str(named), "is a file", expected="a folder, new or existing")
        parent = path if path.exists() else _nearest(path)
        if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
            raise InputError(str(named), f"cannot be written ({parent} is not a writable folder)")
        for part in path.relative_to(parent).parts:  # none of them may be too long
            (parent / part).exists()
        # /proc counts as writable but accepts nothing
        Path(tempfile.mkdtemp(prefix=".flowsim-", dir=parent)).rmdir()
    except OSError as error:
        raise InputError(str(named), f"cannot be written ({error.strerror})") from error


@contextmanager
def writing(folder: str | Path) -> Iterator[Path]:
    """A temporary folder whose files replace those of the same names in `folder` when the block succeeds.

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
        raise InputError(str(path), f"cannot be written ({error.strerror})") from error
    try:
        stage.chmod(0o755)
        yield stage
        _move(stage, path)
    except OSError as error:
        raise InputError(str(path), f"cannot be written ({error.strerror})") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)


@contextmanager
def writing_file(path: str | Path) -> Iterator[Path]:
    """A temporary path, with the same suffix, whose file replaces `path` when the block succeeds.

    If the block fails, `path` is as it was.

    Raises:
        InputError: the file cannot be written.
    """
    target = Path(path)
    partial = target.with_name(f".{target.stem}.{os.getpid()}.partial{target.suffix}")
    try:
        yield partial
        partial.replace(target)
    except OSError as error:
        raise InputError(str(target), f"cannot be written ({error.strerror})") from error
    finally:
        with suppress(OSError):
            partial.unlink()


def _move(stage: Path, path: Path) -> None:
    if not path.exists():
        stage.rename(followed(path))
        return
    files = [(file, path / file.relative_to(stage)) for file in sorted(stage.rglob("*"))]
    for file, place in files:
        if place.exists() and place.is_dir() != file.is_dir():
            raise InputError(str(place), f"is in the way of a {'folder' if file.is_dir() else 'file'} of that name")
    for file, place in files:
        place.mkdir(exist_ok=True) if file.is_dir() else file.replace(place)


def _nearest(path: Path) -> Path:
    return next(parent for parent in path.parents if parent.exists())
