"""Outputs, folders and files: written whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from flowsim.errors import InputError

Stamp = tuple[tuple[int, int, int], ...]
"""As `stamp_of` returns it."""
MAIN_FILES = {
    "summary.json": b'{\n  "policy": ',
    "comparison.csv": b"policy,attainment,",
    "provenance.yaml": b"schema_version: ",
    "evidence.json": b'{\n "schema_version": ',
    "arena.json": b'{\n "ranking": ',
    "runs.parquet": b"PAR1",
}
"""The main file of each kind of folder that flowsim writes, and what stands near its beginning."""
OF_RUNS, OF_STUDIES = ("summary.json", "comparison.csv"), ("runs.jsonl", "runs.parquet")
"""Files that tell the folder of a run or a comparison, and those that tell the folder of a study: it is never both."""
FREE = "another folder"
NEAR = 4096
"""Bytes."""


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


def check_replaceable(folder: str | Path, names: Iterable[str], read: str = "") -> None:
    """Raise `InputError` if files of these names must not be written into a folder.

    Args:
        folder: new or existing.
        names: of files. Those that are there are replaced only if the main file among them is one that flowsim wrote.
        read: the input, which must not be replaced either.
    """
    places = [Path(folder, name) for name in names]
    there = [place for place in places if os.path.lexists(place) and not place.is_dir()]
    main = next((place for place in places if place.name in MAIN_FILES), None)
    if main is None:
        return
    if main.name in OF_RUNS and (study := next(filter(exists, (Path(folder, name) for name in OF_STUDIES)), None)):
        raise InputError(str(folder), f"holds a study ({study.name})", expected=FREE)
    if there and not _is_own(main):
        alone = "flowsim did not write it" if main in there else f"there is no {main.name} of flowsim beside it"
        raise InputError(str(main if main in there else there[0]), f"would be replaced, but {alone}", expected=FREE)
    if leads_somewhere(read) and any(place.samefile(read) for place in there):
        raise InputError(read, "is read, and would be replaced", expected=FREE)


def _is_own(main: Path) -> bool:
    if not main.is_file():
        return False
    with main.open("rb") as file:
        return MAIN_FILES[main.name] in file.read(NEAR)


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
    files = [(file, path / file.relative_to(stage)) for file in sorted(stage.rglob("*"), key=_main_first)]
    for file, place in files:
        if place.exists() and place.is_dir() != file.is_dir():
            raise InputError(str(place), f"is in the way of a {'folder' if file.is_dir() else 'file'} of that name")
    for inner in (stage, *filter(Path.is_dir, (file for file, _ in files))):
        check_replaceable(path / inner.relative_to(stage), [file.name for file in sorted(inner.iterdir())])
    for file, place in files:
        place.mkdir(exist_ok=True) if file.is_dir() else file.replace(place)


def _main_first(file: Path) -> tuple[bool, bool, Path]:
    """The order in which files are moved: after a kill in between, what is there is flowsim's own."""
    return not file.is_dir(), file.name not in MAIN_FILES, file


def _nearest(path: Path) -> Path:
    return next(parent for parent in path.parents if parent.exists())
