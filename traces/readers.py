"""Readers of trace files: one `Format` each, found by content, plain or gzipped."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from flowsim.errors import InputError, unknown
from flowsim.traces.columns import (
    CLASS,
    LENGTH,
    LENGTH_OR_0,
    Bools,
    Floats,
    Ints,
    bad_lengths,
    bad_lengths_or_0,
    bad_seconds,
    encode,
)
from flowsim.traces.formats import CLOCKS, FORMATS, Format
from flowsim.traces.trace import Trace

Lines: TypeAlias = Iterator[tuple[int, str]]
"""The lines of a file, each with its number from 1."""
Rows: TypeAlias = Iterator[tuple[int, dict[str, Any]]]
"""The fields of each row, with the number of its line."""
BATCH = 65536  # rows converted at a time, so that a long file never exists as Python objects


def read_trace(path: str | Path, format: str | None = None, *, spread: bool = True, seed: int = 0) -> Trace:
    """The trace in this file, plain or gzipped, in the named format or the one that its first row fits.

    Mooncake's time stamps sit on ticks of about 3 s. With `spread`, the requests of a tick are spread over it
    uniformly at random from `seed`, in the order of the file. Raises InputError in one line that names file,
    line, field, what was found and what is allowed.
    """
    path = Path(path)
    if format is not None and format not in FORMATS:
        raise unknown("trace format", format, FORMATS)
    lines = _lines(path)
    first = _first(path, lines)
    kind = _detected(path, *first) if format is None else FORMATS[format]
    trace = _assembled(path, kind, chain([first], lines))
    return _spread(trace, seed) if spread and kind.ticks else trace


def detect_format(path: str | Path) -> Format:
    """The format that this file's first row fits; InputError lists the known ones when none does."""
    path = Path(path)
    return _detected(path, *_first(path, _lines(path)))


def _first(path: Path, lines: Lines) -> tuple[int, str]:
    first = next((line for line in lines if not line[1].isspace()), None)
    if first is None:
        raise InputError(f"{path}: the file is empty; allowed: one request a line")
    return first


def _lines(path: Path) -> Lines:
    number = 0
    try:
        if path.exists() and not path.is_file():
            found = "a directory" if path.is_dir() else "no regular file"
            raise InputError(f"{path}: is {found}; allowed: a trace file")
        with path.open("rb") as file:
            zipped = file.peek(2)[:2] == b"\x1f\x8b"
            stream = io.BufferedReader(cast(Any, gzip.GzipFile(fileobj=file))) if zipped else file
            for number, line in enumerate(stream, 1):
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        found = f"byte 0x{error.object[error.start]:02x} is not UTF-8"
        raise InputError(f"{path}, line {number}: {found}; allowed: UTF-8 text, plain or gzipped") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        found = f"gzip data damaged or cut off after line {number}"
        raise InputError(f"{path}: {found} ({error}); allowed: a whole gzip file") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; allowed: a trace file that can be read") from None


def _detected(path: Path, line: int, text: str) -> Format:
    layout = "jsonl" if text.lstrip()[0] in "{[" else "csv"
    header = _object(path, line, text) if layout == "jsonl" else text.strip().split(",")
    fields = {name.strip('"') for name in header}
    for kind in FORMATS.values():
        if kind.layout == layout and fields.issuperset(kind.signature):
            return kind
    known = (f"{kind.name} ({kind.layout}: {', '.join(kind.signature)})" for kind in FORMATS.values())
    found = f"the {layout} fields {_shown(', '.join(header))} fit no known format"
    raise InputError(f"{path}, line {line}: {found}; allowed: {'; '.join(known)}")


def _jsonl_rows(path: Path, lines: Lines, kind: Format) -> Rows:
    for line, text in lines:
        if not text.isspace():
            yield line, _object(path, line, text)


def _object(path: Path, line: int, text: str) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        found = f"{_shown(text.strip())} is not JSON ({getattr(error, 'msg', 'too large')})"
        raise InputError(f"{path}, line {line}: {found}; allowed: one JSON object a line") from None
    if not isinstance(row, dict):
        raise InputError(f"{path}, line {line}: found {_shown(row)}; allowed: one JSON object a line")
    return row


def _csv_rows(path: Path, lines: Lines, kind: Format) -> Rows:
    start, first = next(lines)
    reader = csv.reader(chain([first], (text for _, text in lines)), strict=True)
    try:
        header = next(reader)
        for name in (kind.arrival, kind.input_length):
            if name not in header:
                raise _missing(path, start, name, header, kind)
        for row in reader:
            line = start - 1 + reader.line_num
            if row and len(row) != len(header):
                allowed = f"{len(header)}, as the header has"
                raise InputError(f"{path}, line {line}: {len(row)} fields; allowed: {allowed}")
            if row:
                yield line, dict(zip(header, row, strict=True))
    except csv.Error as error:
        line = start - 1 + reader.line_num
        raise InputError(f"{path}, line {line}: not CSV ({error}); allowed: fields between commas") from None


def _missing(path: Path, line: int, field: str, found: Iterable[str], kind: Format) -> InputError:
    has = _shown(", ".join(found))
    return InputError(f"{path}, line {line}: no field {field!r} among {has}; the format {kind.name} needs it")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _values(path: Path, rows: Rows, kind: Format) -> Iterator[tuple[int, Any, Any, Any, Any]]:
    """Line number, arrival, input length, output length and class of each row, not converted yet."""
    for line, row in rows:
        try:
            output = row.get(kind.output_length)
            lengths = row[kind.input_length], 0 if output is None else output
            yield line, row[kind.arrival], *lengths, row.get(cast(str, kind.class_name))
        except KeyError as error:
            raise _missing(path, line, error.args[0], row, kind) from None


def _assembled(path: Path, kind: Format, lines: Lines) -> Trace:
    rows = (_jsonl_rows if kind.layout == "jsonl" else _csv_rows)(path, lines, kind)
    values = _values(path, rows, kind)
    codes: dict[str, int] = {}
    converters = _converters(kind, codes)
    parts: list[list[NDArray[Any]]] = []
    while batch := list(islice(values, BATCH)):
        numbers, *columns = zip(*batch, strict=True)
        parts.append([c.column(path, numbers, column) for c, column in zip(converters, columns, strict=True)])
    if not parts:
        raise InputError(f"{path}: the file has no request; allowed: one request a line")
    arrival, inputs, outputs, classes = (np.concatenate(column) for column in zip(*parts, strict=True))
    arrival_s, notices = _seconds(arrival, kind)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    about = {"name": path.name.removesuffix(".gz").rsplit(".", 1)[0], "source": str(path), "sha256": digest}
    return Trace.from_columns(arrival_s, inputs, outputs, classes, tuple(codes), notices=notices, **about)


@dataclass(frozen=True)
class _Converter:
    """Turns one field of many rows into an array; says which row it was when one does not convert."""

    field: str
    convert: Callable[[Sequence[Any]], NDArray[Any]]
    allowed: str

    def column(self, path: Path, lines: Sequence[int], values: Sequence[Any]) -> NDArray[Any]:
        if (array := self._tried(values)) is not None:
            return array
        pairs = zip(lines, values, strict=True)
        line, value = next(pair for pair in pairs if self._tried(pair[1:]) is None)
        raise InputError(f"{path}, line {line}: {self.field} is {_shown(value)}; allowed: {self.allowed}")

    def _tried(self, values: Sequence[Any]) -> NDArray[Any] | None:
        try:
            return self.convert(values)
        except (ValueError, TypeError, OverflowError):
            return None


def _converters(kind: Format, codes: dict[str, int]) -> tuple[_Converter, ...]:
    """Converters of arrival, input length, output length and class, whose numbers are in `codes`."""
    numbers = _json_numbers if kind.layout == "jsonl" else _csv_numbers

    def times(values: Sequence[Any]) -> NDArray[Any]:
        return _dates(values) if kind.clock == "date" else _good(numbers(values), bad_seconds)

    def lengths(values: Sequence[Any], bad: Callable[[Floats], Bools]) -> Ints:
        return _good(numbers(values), bad).astype(np.int64)

    return (
        _Converter(kind.arrival, times, CLOCKS[kind.clock]),
        _Converter(kind.input_length, lambda values: lengths(values, bad_lengths), LENGTH),
        _Converter(kind.output_length, lambda values: lengths(values, bad_lengths_or_0), LENGTH_OR_0),
        _Converter(str(kind.class_name), lambda values: encode(values, codes), CLASS),
    )


def _json_numbers(values: Sequence[Any]) -> Floats:
    if not set(map(type, values)) <= {int, float}:  # true is an int to NumPy, and "1" converts
        raise TypeError
    return np.array(values, dtype=np.float64)


def _csv_numbers(values: Sequence[str]) -> Floats:
    return np.array(values, dtype=np.float64)


def _good(array: Floats, bad: Callable[[Floats], Bools]) -> Floats:
    if bad(array).any():
        raise ValueError
    return array


_DATE = re.compile(r"((?:19|20)\d\d-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d{1,9})?)(?:Z|\+00:00)?", re.ASCII)


def _dates(values: Sequence[str]) -> Ints:
    """Nanoseconds since 1970: float seconds would not hold a date to 100 ns."""
    matches = [_DATE.fullmatch(value) for value in values]
    if None in matches:
        raise ValueError
    dates = np.array([match[1] for match in matches if match], dtype="datetime64[ns]")
    return dates.astype(np.int64)


def _seconds(arrival: NDArray[Any], kind: Format) -> tuple[Floats, tuple[str, ...]]:
    if kind.clock != "date":
        return arrival / {"s": 1.0, "ms": 1000.0}[kind.clock], ()
    first = arrival.min()
    return (arrival - first) / 1e9, (f"second 0 is {np.datetime64(int(first), 'ns')} UTC",)


def _spread(trace: Trace, seed: int) -> Trace:
    """The trace with each tick's requests spread over the tick, when its time stamps sit on ticks."""
    starts, tick_of = np.unique(trace.arrival_s, return_inverse=True)
    if not 3 <= starts.size <= len(trace) / 2:
        return trace
    tick = float(np.median(np.diff(starts)))
    gaps = np.diff(starts) / tick
    if np.mean(np.abs(gaps - np.round(gaps)) < 0.02) < 0.9:
        return trace
    width = np.minimum(np.append(np.diff(starts), tick), tick)[tick_of]
    # Ticks do not overlap, so sorting keeps each request on its tick and in its place.
    arrival = np.sort(trace.arrival_s + width * np.random.default_rng(seed).random(len(trace)))
    notice = f"ticks of {tick:g} s: the requests of each were spread over it at random (seed {seed})"
    return replace(trace, arrival_s=arrival - arrival[0], notices=(*trace.notices, notice))
