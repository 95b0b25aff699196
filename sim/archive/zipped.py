"""Zip archives: written with the same bytes from the same files, and unpacked only if nothing in them can do harm."""

from __future__ import annotations

import hashlib
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from flowsim.errors import InputError
from flowsim.io.folders import check_ends, writing_file

MOST_FILES = 100_000
MOST_BYTES = 16 * 2**30
MOST_TIMES = 250
"""The most by which an archive, or a mebibyte if it is less, may grow when it is unpacked."""
AT_ONCE = 1 << 20
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The date of every file in an archive, so that the same files make the same bytes."""
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def pack(path: Path, files: Mapping[str, Path | bytes]) -> None:
    """Write an archive of files, or of their bytes, by their names in it. InputError: it cannot be written."""
    with writing_file(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(files.items()):
            if not _is_path(name):
                raise InputError(str(path), f"cannot hold a file of the name {name!r}", expected="letters that print")
            info = zipfile.ZipInfo(name, EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            with archive.open(info, "w", force_zip64=True) as target:
                for part in [content] if isinstance(content, bytes) else _parts(content):
                    target.write(part)


def unpack(path: Path, folder: Path) -> dict[str, str]:
    """Unpack an archive into an empty folder; SHA-256 of each file, by name.

    Raises:
        InputError: it cannot be read, is damaged, is too large, or has an entry that is not a plain file within it.
    """
    with _opened(path) as archive:
        infos = archive.infolist()
        _check_size(infos, path)
        for info in infos:
            if problem := _problem(info):
                raise InputError(str(path), f"has an entry {info.filename!r} that {problem}", expected="plain files")
        if len({info.filename for info in infos}) < len(infos):
            raise InputError(str(path), "has two entries of one name")
        return {info.filename: _extract(archive, info, folder) for info in infos}


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    check_ends(path)
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except OSError as error:
        raise InputError(str(path), f"cannot be unpacked ({error.strerror or error})") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(str(path), f"is not a whole zip archive ({' '.join(str(error).split())})") from error


def _check_size(infos: Sequence[zipfile.ZipInfo], path: Path) -> None:
    total = sum(info.file_size for info in infos)
    most = min(MOST_BYTES, MOST_TIMES * max(path.stat().st_size, 1 << 20))
    if len(infos) > MOST_FILES:
        raise InputError(str(path), f"has {len(infos):,} files", expected=f"<= {MOST_FILES:,}")
    if total > most:
        raise InputError(str(path), f"would take {total:,} bytes unpacked", expected=f"<= {most:,} for its size")


def _problem(info: zipfile.ZipInfo) -> str:
    """What is wrong with an entry; "" if nothing is."""
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG) or info.filename.endswith("/"):
        return "is a link, a folder or a device"
    if not _is_path(info.filename):
        return "would lie outside, or has a name that is not a path"
    if info.flag_bits & 1 or info.compress_type not in METHODS:
        return "is encrypted, or compressed in another way than deflate"
    return ""


def _is_path(name: str) -> bool:
    """Whether this is a path within a folder, on every system."""
    outside = any(part in ("", ".", "..") for part in name.split("/"))
    return not outside and name.isprintable() and not any(letter in name for letter in "\\:")


def _extract(archive: zipfile.ZipFile, info: zipfile.ZipInfo, folder: Path) -> str:
    place, digest = folder / PurePosixPath(info.filename), hashlib.sha256()
    place.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(info) as source, place.open("xb") as target:
        while part := source.read(AT_ONCE):
            digest.update(part)
            target.write(part)
    return digest.hexdigest()


def _parts(path: Path) -> Iterator[bytes]:
    file: BinaryIO
    with path.open("rb") as file:
        while part := file.read(AT_ONCE):
            yield part
