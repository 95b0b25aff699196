"""The bytes of a trace file: plain, gzip or zstd, in blocks of whole lines."""

from __future__ import annotations

import contextlib
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from flowsim.errors import InputError

BLOCK_BYTES = 8 << 20
"""Bytes taken at a time, so that a long file never lies in memory whole."""
PIECE_BYTES = 1 << 14
"""Bytes decompressed at a time: so many may go unread before what is damaged."""
LONGEST = 4 * BLOCK_BYTES
"""Bytes that one line may have."""
GZIP, ZSTD, PARQUET = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1"


class Block(NamedTuple):
    """Some whole lines of a file, and the number of the first, from 1."""

    line: int
    text: bytes


def check_file(path: Path) -> None:
    """Raise `InputError` unless `path` is a regular file, or is missing, which opening it says better."""
    if path.exists() and not path.is_file():
        found = "a directory" if path.is_dir() else "no regular file"
        raise InputError(f"{path}: is {found}; allowed: a trace file")


def is_parquet(path: Path) -> bool:
    """Whether the file begins as Parquet does."""
    check_file(path)
    with _told(path), path.open("rb") as file:
        return file.read(4) == PARQUET


def blocks(path: Path, *, quotes: bool = False) -> Iterator[Block]:
    """The lines of a file in blocks; with `quotes`, no block ends inside a pair of double quotes.

    Raises InputError for what cannot be read, is damaged or cut off, or is not UTF-8.
    """
    check_file(path)
    line, held = 1, b""
    with _told(path), path.open("rb") as raw:
        stream = _decompressed(raw)
        while chunk := _read(path, stream, line + held.count(b"\n") - 1):
            held += chunk
            end = held.rfind(b"\n") + 1
            if not end or (quotes and held.count(b'"', 0, end) % 2):
                if len(held) > LONGEST:
                    raise InputError(f"{path}, line {line}: more than {LONGEST} bytes; allowed: one request a line")
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
        found = f"{kind} data damaged or cut off after line {lines}"
        raise InputError(f"{path}: {found} ({error}); allowed: a whole {kind} file") from None


def _checked(path: Path, line: int, text: bytes) -> Block:
    text = text.removeprefix(b"\xef\xbb\xbf") if line == 1 else text
    try:
        text.decode()
    except UnicodeDecodeError as error:
        found = f"byte 0x{text[error.start]:02x} is not UTF-8"
        where = line + text.count(b"\n", 0, error.start)
        allowed = "UTF-8 text, plain or compressed by gzip or zstd, or a Parquet file"
        raise InputError(f"{path}, line {where}: {found}; allowed: {allowed}") from None
    return Block(line, text)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; allowed: a trace file that can be read") from None
