"""Rows of a trace read one by one: slow, but it knows the row and the field of whatever is wrong."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from flowsim.errors import InputError
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
from flowsim.traces.compression import Block
from flowsim.traces.formats import CLOCKS, TICKS, Format, Layout

Row: TypeAlias = tuple[int, dict[str, Any]]
"""The number of a row in its file, and its fields."""


@dataclass(frozen=True)
class Part:
    """Some rows of a trace, converted and checked; an array a column, shape [n]."""

    arrival: NDArray[Any]
    """Seconds, milliseconds, or (int64) nanoseconds since 1970, as the format's clock says."""
    input_length: Ints
    output_length: Ints
    class_code: Ints
    block_ids: Ints
    """The prefix blocks of all rows, one after another."""
    block_counts: Ints
    """How many of them each row has."""
    block_tokens: Ints
    """0 = not known."""
    chats: Ints
    """chat_id, parent_chat_id and turn, shape [n, 3]; -1 = not known."""


def rows_of(path: str, block: Block, layout: Layout, header: Sequence[str]) -> Iterator[Row]:
    """The rows in a block of lines; `header` names the fields of CSV."""
    return _jsonl_rows(path, block) if layout == "jsonl" else _csv_rows(path, block, header)


def json_object(where: str, text: str) -> dict[str, Any]:
    """The JSON object in one line."""
    try:
        row = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        found = f"{shown(text.strip())} is not JSON ({getattr(error, 'msg', 'too large')})"
        raise InputError(f"{where}: {found}; allowed: one JSON object a line") from None
    if not isinstance(row, dict):
        raise InputError(f"{where}: found {shown(row)}; allowed: one JSON object a line")
    return row


class Repeated(tuple[Any, ...]):
    """What a field holds that is there more than once: no column takes it."""

    def __repr__(self) -> str:
        return f"there {len(self)} times ({', '.join(map(repr, self))})"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        for name in row:
            values = Repeated(value for key, value in pairs if key == name)
            row[name] = values if len(values) > 1 else values[0]
    return row


_DECODER = json.JSONDecoder(object_pairs_hook=_object)


def _jsonl_rows(path: str, block: Block) -> Iterator[Row]:
    for number, line in enumerate(block.text.split(b"\n"), block.line):
        text = line.decode()
        if text and not text.isspace():
            yield number, json_object(f"{path}, line {number}", text)


def _csv_rows(path: str, block: Block, header: Sequence[str]) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(block.text.decode(), newline=""), strict=True)
    try:
        for row in reader:
            number = block.line - 1 + reader.line_num
            if row and len(row) != len(header):
                raise InputError(f"{path}, line {number}: {len(row)} fields; allowed: {len(header)}, as the header has")
            if row:
                yield number, dict(zip(header, row, strict=True))
    except csv.Error as error:
        where = f"{path}, line {block.line - 1 + reader.line_num}"
        raise InputError(f"{where}: not CSV ({error}); allowed: fields between commas") from None


def check_fields(where: str, names: Sequence[str], kind: Format) -> None:
    """Raise `InputError` unless a row with fields of these names can be read: none is missing, or there twice."""
    for field in kind.fields[:2]:
        if field not in names:
            found = f"no field {field!r} among {shown(', '.join(names))}"
            raise InputError(f"{where}: {found}; the format {kind.name} needs it")
    for field in kind.fields:
        if names.count(field) > 1:
            raise InputError(f"{where}: the field {field!r} is there {names.count(field)} times; allowed: once")


def shown(value: object) -> str:
    """A value as it is shown in an error, cut short if need be."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def part_of(rows: Sequence[Row], where: str, kind: Format, layout: Layout, codes: dict[str, int]) -> Part:
    """These rows, converted; class names not yet in `codes` enter it.

    InputError names the field at fault, and the row: `where` ("file, line") and its number.
    """
    for number, row in rows:
        if kind.arrival not in row or kind.input_length not in row:
            check_fields(f"{where} {number}", list(row), kind)
    table, size = _Table(rows, where, layout == "csv"), kind.block_tokens
    ids, counts = table.column(kind.hash_ids, table.ragged, ID_LIST)
    return Part(
        table.column(kind.arrival, partial(table.times, clock=kind.clock), CLOCKS[kind.clock], optional=False),
        table.column(kind.input_length, table.lengths, LENGTH, optional=False),
        table.column(kind.output_length, table.lengths_or_0, LENGTH_OR_0),
        table.column(kind.class_name, partial(encode, codes=codes), CLASS),
        ids,
        counts,
        np.full(len(rows), size) if isinstance(size, int) else table.column(size, partial(table.whole, least=0), SIZE),
        np.stack([table.column(name, partial(table.whole, least=-1), CHAT) for name in kind.chats or [None] * 3], 1),
    )


@dataclass(frozen=True)
class _Table:
    """Some rows, and what converts their columns: all raise for a value that is not allowed."""

    rows: Sequence[Row]
    where: str
    """What stands before a row's number in an error."""
    text: bool
    """Values are text, as CSV has them, and an empty one is none."""

    def column(
        self, field: str | None, convert: Callable[[list[Any]], Any], allowed: str, optional: bool = True
    ) -> Any:
        """A column, converted; InputError names its first value that does not convert."""
        values = [row.get(str(field)) for _, row in self.rows]
        if self.text and optional:
            values = [None if value == "" else value for value in values]
        if (array := _tried(convert, values)) is not None:
            return array
        numbered = zip(self.rows, values, strict=True)
        number, value = next((row[0], value) for row, value in numbered if _tried(convert, [value]) is None)
        raise InputError(f"{self.where} {number}: {field} is {shown(value)}; allowed: {allowed}")

    def numbers(self, values: Sequence[Any]) -> Floats:
        return _csv_numbers(values) if self.text else _json_numbers(values)

    def times(self, values: Sequence[Any], clock: str) -> NDArray[Any]:
        if clock == "date":
            return _dates(values)
        return _good(self.numbers(values), lambda ticks: bad_seconds(ticks / TICKS[clock]))

    def lengths(self, values: Sequence[Any]) -> Ints:
        return _good(self.numbers(values), bad_lengths).astype(np.int64)

    def lengths_or_0(self, values: Sequence[Any]) -> Ints:
        known = [0 if value is None else value for value in values]
        return _good(self.numbers(known), bad_lengths_or_0).astype(np.int64)

    def whole(self, values: Sequence[Any], least: int) -> Ints:
        """Whole numbers; what is not known is the least."""
        known = [least if value is None else value for value in values]
        return _whole([int(_plain(value)) if isinstance(value, str) else value for value in known], least)

    def ragged(self, values: Sequence[Any]) -> tuple[Ints, Ints]:
        """All ids one after another, and how many each row has."""
        lists = [[] if value is None else json.loads(value) if self.text else value for value in values]
        if not set(map(type, lists)) <= {list}:
            raise TypeError
        ids = _whole([id for row in lists for id in row], least=0)
        return ids, np.array([len(row) for row in lists], dtype=np.int64)


ID_LIST = "a list of whole numbers from 0 to 2**63 - 1"
SIZE = "a whole number of tokens above 0"
CHAT = "a whole number from -1 (none) to 2**63 - 1"


def _tried(convert: Callable[[list[Any]], Any], values: Sequence[Any]) -> Any:
    """The column of these values; None if one of them does not convert."""
    try:
        return convert(list(values))
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None


def _json_numbers(values: Sequence[Any]) -> Floats:
    if not set(map(type, values)) <= {int, float}:  # true is an int to NumPy, and "1" converts
        raise TypeError
    return np.array(values, dtype=np.float64)


def _csv_numbers(values: Sequence[Any]) -> Floats:
    return np.array([_plain(value) if isinstance(value, str) else value for value in values], dtype=np.float64)


def _plain(number: str) -> str:
    """The text of a number; Python would take 1_0, and the digits of other scripts, as well."""
    if "_" in number or not number.isascii():
        raise ValueError
    return number


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
    """Nanoseconds since 1970: float seconds would not hold a date to 100 ns."""
    matches = [_DATE.fullmatch(str(value)) for value in values]  # Parquet has dates that are no text
    if None in matches:
        raise ValueError
    dates = np.array([match[1] for match in matches if match], dtype="datetime64[ns]")
    return dates.astype(np.int64)
