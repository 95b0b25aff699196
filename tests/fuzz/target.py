"""What must hold for a trace file with any content; run by the fuzzer and by the test that replays its corpus."""

from __future__ import annotations

import csv
import io
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from flowsim.errors import InputError
from flowsim.traces import FORMATS, Trace, read_trace, statistics, write_trace
from flowsim.traces.reading import reader
from flowsim.traces.servegen import synthesize_clients

PACKED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1")


def check(content: bytes, folder: Path) -> None:
    """Raise AssertionError, or whatever reading raises other than InputError, unless all of this holds.

    The file is read, or rejected in one line that names it; the bulk reader and the row reader agree; every line
    that is not blank is a request; the trace can be described; and what is written of it can be read again.
    """
    path = folder / "input"
    path.write_bytes(content)
    names = list(FORMATS)
    for format in (None, names[zlib.crc32(content) % len(names)]):
        one, other = (_outcome(path, format, bulk_from) for bulk_from in (0, 1 << 60))
        assert isinstance(one, str) == isinstance(other, str), (one, other)
        if isinstance(one, str) or isinstance(other, str):
            assert one == other
            assert one.startswith(str(path)) and "\n" not in one, one
            continue
        _same(one, other)
        if not content.startswith(PACKED):
            assert len(one) == _rows(content), (len(one), _rows(content))
        statistics.info(one)
        write_trace(one, folder / "again.jsonl")
        _same(one, read_trace(folder / "again.jsonl"))
        assert len(read_trace(path, format)) == len(one)
    if b"clients" in content:
        _clients(path)


def _outcome(path: Path, format: str | None, bulk_from: int) -> Trace | str:
    before, reader.BULK_FROM_BYTES = reader.BULK_FROM_BYTES, bulk_from
    try:
        return read_trace(path, format, spread=False)
    except InputError as error:
        return str(error)
    finally:
        reader.BULK_FROM_BYTES = before


def _clients(path: Path) -> None:
    try:
        synthesize_clients(path, 1.0)
    except InputError as error:
        assert str(error).startswith(str(path)) and "\n" not in str(error), error


def _columns(trace: Trace) -> Iterator[tuple[str, np.ndarray]]:
    for name in ("arrival_s", "input_length", "output_length"):
        yield name, getattr(trace, name)
    for part in (trace.blocks, trace.chats):
        if part is not None:
            yield from ((name, np.asarray(value)) for name, value in vars(part).items())


def _same(one: Trace, other: Trace) -> None:
    mine, theirs = dict(_columns(one)), dict(_columns(other))
    assert mine.keys() == theirs.keys()
    for name in mine:
        assert np.array_equal(mine[name], theirs[name]), name
    names = [[(*trace.class_names, None)[code] for code in trace.class_code] for trace in (one, other)]
    assert names[0] == names[1]


def _rows(content: bytes) -> int:
    """The number of requests in a text, counted independently of the readers."""
    text = content.removeprefix(b"\xef\xbb\xbf").decode()
    if text.lstrip()[0] in "{[":
        return sum(not line.isspace() for line in text.split("\n") if line)
    lines = io.StringIO(text[len(text) - len(text.lstrip()) :], newline="")
    return sum(bool(row) for row in csv.reader(lines)) - 1
