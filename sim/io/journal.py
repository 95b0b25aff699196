"""An append-only file of JSON records, one per line, each with a checksum; it survives a kill at any moment.

An interruption can tear only the last line, which is dropped when the file is opened again.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from flowsim.errors import InputError
from flowsim.io.folders import check_ends

CHECKSUM = "crc32"
"""The first field of each line: the CRC-32 of the line as it would read without this field."""
BEGINNING = f'{{"{CHECKSUM}": '.encode()
Record = dict[str, Any]


class Journal:
    """The records of one file, read back and appended to; a context manager.

    Only the position of each record is needed to read it again, so that none has to stay in memory.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        check_ends(path)
        try:
            self._file: BinaryIO = self.path.open("a+b")
        except OSError as error:
            raise InputError(str(path), f"cannot be written ({error.strerror})") from error

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; records are safe without."""
        with suppress(OSError):  # part of a record for which there was no room
            self._file.close()

    def records(self) -> Iterator[tuple[int, Record]]:
        """The position and the fields of each record; drops a torn last line at the end.

        Raises:
            InputError: a line is not a record, or was changed; or the last one is not torn, but of something else.
        """
        self._file.seek(0)
        position = 0
        for number, line in enumerate(self._file, 1):
            if not line.endswith(b"\n"):
                _check_torn(line, f"{self.path}: line {number}")
                break
            yield position, _parsed(line, f"{self.path}: line {number}")
            position += len(line)
            self._file.seek(position)
        self._file.truncate(position)

    def read(self, position: int) -> Record:
        """The record at this position."""
        self._file.seek(position)
        return _parsed(self._file.readline(), str(self.path))

    def append(self, record: Mapping[str, Any]) -> int:
        """Write a record, which has at least one field; returns its position."""
        position = self._file.seek(0, os.SEEK_END)
        try:
            self._file.write(_line(record))
            self._file.flush()
        except OSError as error:
            raise InputError(str(self.path), f"cannot be written ({error.strerror})") from error
        return position


def read_records(path: str | Path) -> list[Record]:
    """The whole records of a journal that another process may be appending to. InputError: as `Journal.records`."""
    check_ends(path)
    lines = Path(path).read_bytes().split(b"\n")[:-1]
    return [_parsed(line, f"{path}: line {number}") for number, line in enumerate(lines, 1)]


def _line(record: Mapping[str, Any]) -> bytes:
    body = json.dumps(record, ensure_ascii=False).encode()
    return BEGINNING + f"{zlib.crc32(body)}, ".encode() + body[1:] + b"\n"


def _check_torn(line: bytes, where: str) -> None:
    """Refuse a last line without an end that does not begin as a record does: what it is may be of use."""
    if not (line.startswith(BEGINNING) or BEGINNING.startswith(line)):
        raise InputError(where, "is not a record of a journal")


def _parsed(line: bytes, where: str) -> Record:
    checksum, comma, fields = line.rstrip(b"\n").removeprefix(BEGINNING).partition(b", ")
    body = b"{" + fields
    try:
        record = json.loads(body)
        known = int(checksum)
    except (ValueError, RecursionError) as error:
        raise InputError(where, "is not a record of a journal") from error
    if not (line.startswith(BEGINNING) and comma):
        raise InputError(where, "is not a record of a journal")
    if zlib.crc32(body) != known:
        raise InputError(where, "was changed after it was written")
    return cast(Record, record)
