"""The text of a trace file, plain, gzip or zstd, read some whole lines at a time."""

from __future__ import annotations

import contextlib
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from flowsim.errors import InputError
from flowsim.io.folders import exists

BLOCK_BYTES = 8 << 20
"""Bytes held at a time, so that a long file is never in memory as a whole."""
PIECE_BYTES = 1 << 14
"""Bytes decompressed at a time: at most this many before damaged data go unread."""
MOST_TIMES = 100
"""The most by which a file, or `LEAST_BYTES` if it is less, may grow when it is decompressed."""
LEAST_BYTES = 1 << 16
LONGEST = 4 * BLOCK_BYTES
"""Most bytes in one line."""
NEWLINE = b"\n"
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
"""How a text in UTF-16 begins."""
GZIP, ZSTD, PARQUET = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1"


class LineBlock(NamedTuple):
    """Consecutive whole lines of a file."""

    first: int
    """Number of the first of them, from 1."""
    text: bytes


def check_file(path: Path) -> None:
    """Raise `InputError` if `path` exists but is not a regular file; opening a missing one gives the better error."""
    if not exists(path) or path.is_file():
        return
    config = path / "config.yaml"
    again = f", or {config}, which repeats the run" if exists(config) else ""
    problem = "is a folder" if path.is_dir() else "is not a regular file"
    raise InputError(str(path), problem, expected=f"a trace file{again}")


def check_unpacked(path: Path, read: int) -> None:
    """Raise `InputError` if a file of its size may not grow to this many bytes: it is made to take all memory."""
    most = MOST_TIMES * max(path.stat().st_size, LEAST_BYTES)
    if read > most:
        raise InputError(str(path), f"unpacks to more than {most:,} bytes", expected="<= that for its size")


def is_parquet(path: Path) -> bool:
    """Whether the file starts with the magic bytes of Parquet."""
    check_file(path)
    with _reading(path), path.open("rb") as file:
        return file.read(4) == PARQUET


def read_lines(path: Path, *, quotes: bool = False) -> Iterator[LineBlock]:
    """The lines of a text file, decompressed, many at a time; with `quotes`, never split inside double quotes.

    Raises:
        InputError: the file cannot be read, is damaged or cut off, is not UTF-8, or has a line that is too long.
    """
    check_file(path)
    line, held = 1, b""
    with _reading(path), path.open("rb") as raw:
        stream = _decompressed(raw)
        read = 0
        while chunk := _read(path, stream, line + held.count(b"\n") - 1):
            held, read = held + chunk, read + len(chunk)
            check_unpacked(path, read)
            end = held.rfind(b"\n") + 1
            if not end or (quotes and held.count(b'"', 0, end) % 2):
                if len(held) > LONGEST:
                    raise InputError(
                        f"{path}: line {line}", f"has more than {LONGEST} bytes", expected="one request per line"
                    )
                continue
            yield _checked(path, line, held[:end])
            line += held.count(b"\n", 0, end)
            held = held[end:]
    if held:
        yield _checked(path, line, held)


def _decompressed(raw: IO[bytes]) -> IO[bytes]:
    magic = cast(Any, raw).peek(4)[:4]
    if magic[:2] == GZIP:
        return cast("IO[bytes]", gzip.GzipFile(fileobj=raw))
    if magic == ZSTD:
        import pyarrow as pa

        return cast("IO[bytes]", pa.CompressedInputStream(raw, "zstd"))
    return raw


def _read(path: Path, stream: IO[bytes], lines: int) -> bytes:
    held = bytearray()
    try:
        while len(held) < BLOCK_BYTES and (piece := cast(Any, stream).read1(min(PIECE_BYTES, BLOCK_BYTES))):
            held += piece
        return bytes(held)
    except (EOFError, zlib.error, gzip.BadGzipFile, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        kind = "gzip" if isinstance(cast(Any, stream), gzip.GzipFile) else "zstd"
        lines += held.count(b"\n")
        raise InputError(str(path), f"{kind} data damaged or cut off after line {lines} ({error})") from None


def _checked(path: Path, line: int, text: bytes) -> LineBlock:
    text = text.removeprefix(b"\xef\xbb\xbf") if line == 1 else text
    if line == 1 and text[:2] in UTF_16:
        raise InputError(str(path), "is text in UTF-16", expected="text in UTF-8")
    try:
        text.decode()
    except UnicodeDecodeError as error:
        where = f"{path}: line {line + text.count(NEWLINE, 0, error.start)}"
        found = f"byte 0x{text[error.start]:02x} is not UTF-8"
        raise InputError(where, found, expected="text in UTF-8, plain, gzip or zstd, or a Parquet file") from None
    return LineBlock(line, text)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(str(path), f"cannot be read ({error.strerror})") from None
