"""The rows in the text of a trace: JSON objects, or lines of CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from flowsim.errors import InputError, shown
from flowsim.io.counts import number_of
from flowsim.traces.formats import Layout
from flowsim.traces.reading.compression import LineBlock

Row: TypeAlias = tuple[int, dict[str, Any]]
"""The number of a row in its file, and its fields."""


def rows_of(path: str, lines: LineBlock, layout: Layout, header: Sequence[str]) -> Iterator[Row]:
    """The rows in these lines; `header` names the fields of CSV.

    Raises:
        InputError: a line is not a JSON object, or not CSV with one value per field.
    """
    return _jsonl_rows(path, lines) if layout == "jsonl" else _csv_rows(path, lines, header)


def json_line(where: str, text: str) -> dict[str, Any]:
    """The JSON object in one line. Raises InputError if there is none."""
    try:
        row = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else getattr(error, "msg", "too large")
        found = f"is not JSON ({why}): {shown(text.strip())}"
        raise InputError(where, found, expected="one JSON object per line") from None
    if not isinstance(row, dict):
        raise InputError(where, f"is not a JSON object: {shown(row)}", expected="one JSON object per line")
    return row


class Repeated(tuple[Any, ...]):
    """The values of a field that occurs more than once: no column accepts it."""

    def __repr__(self) -> str:
        return f"{len(self)} values ({', '.join(map(repr, self))})"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        for name in row:
            values = Repeated(value for key, value in pairs if key == name)
            row[name] = values if len(values) > 1 else values[0]
    return row


_DECODER = json.JSONDecoder(object_pairs_hook=_object)


def _jsonl_rows(path: str, lines: LineBlock) -> Iterator[Row]:
    for number, line in enumerate(lines.text.split(b"\n"), lines.first):
        text = line.decode()
        if text and not text.isspace():
            yield number, json_line(f"{path}: line {number}", text)


def _csv_rows(path: str, lines: LineBlock, header: Sequence[str]) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(lines.text.decode(), newline=""), strict=True)
    before, fields = lines.first - 1, len(header)
    try:
        for row in reader:
            if len(row) == fields:
                yield before + reader.line_num, dict(zip(header, row, strict=True))
            elif row:
                where, expected = f"{path}: line {before + reader.line_num}", f"{fields}, as in the header"
                raise InputError(where, f"has {number_of(len(row), 'field')}", expected=expected)
    except csv.Error as error:
        where = f"{path}: line {before + reader.line_num}"
        raise InputError(where, f"is not CSV ({error})", expected="fields separated by commas") from None
