"""Reads rows of a trace one by one: slow, but its errors name the row and the field."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from functools import partial
from shlex import quote
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from flowsim.errors import InputError, shown
from flowsim.traces.columns import (
    CLASS,
    LARGEST,
    LENGTH,
    LENGTH_OR_0,
    PRIORITY,
    SLO,
    Bools,
    Floats,
    Ints,
    bad_lengths,
    bad_lengths_or_0,
    bad_seconds,
    bad_slos,
    encode_names,
)
from flowsim.traces.formats import CLOCKS, TICKS_PER_S, Format, Layout
from flowsim.traces.reading.parts import Codes, TracePart, contradiction
from flowsim.traces.reading.row_text import Row


def check_fields(where: str, names: Sequence[str], kind: Format) -> None:
    """Raise `InputError` if fields that the format needs are missing from these, or occur more than once."""
    for field in kind.fields[:2]:
        if field not in names:
            found = f"has no field {field!r} among {shown(', '.join(names))}"
            needed = f"{kind.arrival} and {kind.input_length} (format {kind.name})"
            raise InputError(where, found, expected=needed)
    for field in kind.fields:
        if names.count(field) > 1:
            raise InputError(f"{where}: {field}", f"occurs {names.count(field)} times")


def part_of(
    rows: Sequence[Row], where: str, kind: Format, layout: Layout, codes: Codes, *, with_failed: bool = False
) -> TracePart:
    """These rows, converted; names that are not yet in `codes` are added to it.

    Args:
        rows: the rows and their numbers.
        where: what precedes the number of a row in an error: "trace.csv: line".
        kind: the format of the rows.
        layout: the layout of the file: the values of CSV are text.
        codes: the number of each name of a class or client.
        with_failed: whether an input length may be 0 or missing, as in rows of requests that failed on the real server.

    Raises:
        InputError: names the row and the field of the first bad value, or of the first that contradicts the others.
    """
    for number, row in rows:
        if kind.arrival not in row or kind.input_length not in row:
            check_fields(f"{where} {number}", list(row), kind)
    table, size = _Table(rows, where, layout == "csv"), kind.block_tokens
    none = np.zeros(0, dtype=np.int64), np.zeros(len(rows), dtype=np.int64)
    ids, counts = none if kind.hash_ids is None else table.column(kind.hash_ids, table.ragged, ID_LIST)
    inputs = table.lengths_or_0 if with_failed else table.lengths
    times = table.slos if kind.is_profile else partial(table.times, clock=kind.clock)
    expected = TOOK if kind.is_profile else CLOCKS[kind.clock]
    part = TracePart(
        table.column(kind.arrival, times, expected, optional=kind.is_profile),
        table.column(kind.input_length, inputs, LENGTH, optional=with_failed),
        table.column(kind.output_length, table.lengths_or_0, LENGTH_OR_0),
        table.column(kind.class_name, partial(encode_names, codes=codes.classes, column_name="classes"), CLASS),
        ids,
        counts,
        np.full(len(rows), size) if isinstance(size, int) else table.column(size, partial(table.whole, least=0), SIZE),
        np.stack([table.column(name, partial(table.whole, least=-1), CHAT) for name in kind.chats or [None] * 3], 1),
        table.column(kind.slo_s, table.slos, SLO),
        table.column(kind.priority, partial(table.whole, least=-(2**63), absent=0), PRIORITY),
        table.column(kind.client, partial(encode_names, codes=codes.clients, column_name="clients"), CLASS),
        table.column(kind.total_length, partial(table.whole, least=-1), TOTAL),
        table.column(kind.ttft, table.slos, TOOK),
        table.column(kind.latency, table.slos, TOOK),
    )
    if kind.total_length is not None:  # a total says nothing where the output length is missing
        missing = [row.get(str(kind.output_length)) in (None, "") for _, row in rows]
        part = replace(part, total_length=np.where(missing, -1, part.total_length))
    if (wrong := contradiction(part, kind)) is not None:
        where = f"{where} {rows[wrong.row][0]}: {wrong.field}"
        raise InputError(where, wrong.problem, expected=wrong.expected)
    return part


class _Table(Struct, frozen=True):
    """Some rows and the converters of their columns, each of which raises for a bad value."""

    rows: Sequence[Row]
    where: str
    """What precedes the number of a row in an error."""
    text: bool
    """Whether values are text, as in CSV, where an empty one is missing."""

    def column(
        self, field: str | None, convert: Callable[[list[Any]], Any], expected: str, optional: bool = True
    ) -> Any:
        """A column, converted. Raises InputError for the first value that does not convert."""
        if field is None:
            return np.repeat(convert([None]), len(self.rows), axis=0)
        values = [row.get(field) for _, row in self.rows]
        if self.text and optional:
            values = [None if value == "" else value for value in values]
        if (array := _tried(convert, values)) is not None:
            return array
        numbered = zip(self.rows, values, strict=True)
        number, value = next((row[0], value) for row, value in numbered if _tried(convert, [value]) is None)
        raise InputError(
            f"{self.where} {number}: {field}", found=value, expected=expected + _hint(field, value, expected)
        )

    def numbers(self, values: Sequence[Any]) -> Floats:
        return _csv_numbers(values) if self.text else _json_numbers(values)

    def times(self, values: Sequence[Any], clock: str) -> NDArray[Any]:
        if clock == "date":
            return _dates(values)
        return _good(self.numbers(values), lambda ticks: bad_seconds(ticks / TICKS_PER_S[clock]))

    def lengths(self, values: Sequence[Any]) -> Ints:
        return _good(self.numbers(values), bad_lengths).astype(np.int64)

    def lengths_or_0(self, values: Sequence[Any]) -> Ints:
        known = [0 if value is None else value for value in values]
        return _good(self.numbers(known), bad_lengths_or_0).astype(np.int64)

    def slos(self, values: Sequence[Any]) -> Floats:
        """Seconds; a missing value is NaN."""
        missing = np.array([value is None for value in values], dtype=bool)
        given = self.numbers([1.0 if value is None else value for value in values])
        return np.where(missing, np.nan, _good(given, lambda seconds: bad_slos(seconds) | np.isnan(seconds)))

    def whole(self, values: Sequence[Any], least: int, absent: int | None = None) -> Ints:
        """Whole numbers >= `least`; a missing one is `absent`, or `least` without that."""
        known = [(least if absent is None else absent) if value is None else value for value in values]
        _check_plain(known)
        return _whole([int(value) if isinstance(value, str) else value for value in known], least)

    def ragged(self, values: Sequence[Any]) -> tuple[Ints, Ints]:
        """All ids, concatenated, and the number in each row."""
        lists = [[] if value is None else json.loads(value) if self.text else value for value in values]
        if not set(map(type, lists)) <= {list}:
            raise TypeError
        ids = _whole([id for row in lists for id in row], least=0)
        return ids, np.array([len(row) for row in lists], dtype=np.int64)


ID_LIST = "a list of whole numbers from 0 to 2**63 - 1"
SIZE = "a whole number of tokens >= 1"
CHAT = "a whole number from -1 (none) to 2**63 - 1"
TOOK = "a finite number > 0, or null"
TOTAL = "a whole number of tokens, the sum of input and output"
FINER = " (microseconds or nanoseconds? Divide them first)"
FAILED = " (0 is that of a request which failed on the server: --drop-failed drops such rows)"


def _hint(field: str, value: Any, expected: str) -> str:
    """What a bad value may be, to be read after what was expected; "" if nothing is known."""
    if expected == LENGTH and value in (0, "0") and value is not False:
        return FAILED
    if expected not in (CLOCKS["s"], CLOCKS["ms"]) or not isinstance(value, int | float | str):
        return ""
    try:
        ticks = float(value)
    except (ValueError, OverflowError):
        return ""
    if expected == CLOCKS["s"] and LARGEST < ticks <= LARGEST * TICKS_PER_S["ms"]:
        return f" (milliseconds? --format {quote(f'arrival_ms={field},input_length=FIELD')})"
    return FINER if ticks > LARGEST and ticks < math.inf else ""


def _tried(convert: Callable[[list[Any]], Any], values: Sequence[Any]) -> Any:
    """The converted column; None if one of the values does not convert."""
    try:
        return convert(list(values))
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None


def _json_numbers(values: Sequence[Any]) -> Floats:
    if not set(map(type, values)) <= {int, float}:  # true is an int to NumPy, and "1" converts
        raise TypeError
    return np.array(values, dtype=np.float64)


def _csv_numbers(values: Sequence[Any]) -> Floats:
    _check_plain(values)
    return np.array(values, dtype=np.float64)


def _check_plain(numbers: Sequence[Any]) -> None:
    """Raise ValueError unless those that are text are so in ASCII; Python would also accept 1_0 and other digits."""
    text = "".join([number for number in numbers if isinstance(number, str)])
    if "_" in text or not text.isascii():
        raise ValueError


def _good(array: Floats, bad: Callable[[Floats], Bools]) -> Floats:
    if bad(array).any():
        raise ValueError
    return array


def _whole(values: Sequence[Any], least: int) -> Ints:
    if not set(map(type, values)) <= {int}:
        raise TypeError
    array = np.array(values, dtype=np.int64)
    if (array < least).any():
        raise ValueError
    return array


_DATE = re.compile(r"((?:19|20)\d\d-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d{1,9})?)(?:Z|\+00:00)?", re.ASCII)


def _dates(values: Sequence[object]) -> Ints:
    """Nanoseconds since 1970: seconds in floating point do not resolve 100 ns."""
    matches = list(map(_DATE.fullmatch, map(str, values)))  # the dates of Parquet are not text
    if None in matches:
        raise ValueError
    return np.array([match[1] for match in matches if match], dtype="datetime64[ns]").astype(np.int64)
