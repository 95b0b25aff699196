"""Reads rows of a trace many at a time, by pyarrow; if one is not plainly valid, `row_reader` must read them.

pyarrow is slow to import, so that is done where it is used: small files do without it.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowsim.traces.columns import Floats, Ints, bad_lengths, bad_lengths_or_0, bad_seconds, bad_slos
from flowsim.traces.formats import TICKS_PER_S, Format, Layout
from flowsim.traces.reading.compression import LineBlock
from flowsim.traces.reading.parts import Codes, TracePart, contradiction


class Unsure(Exception):
    """A row is not plainly valid."""


def part_of(
    lines: LineBlock, kind: Format, layout: Layout, header: Sequence[str], codes: Codes, *, with_failed: bool = False
) -> TracePart | None:
    """The rows in these lines, as `row_reader.part_of` converts them; None if one is not plainly valid."""
    import pyarrow as pa

    try:
        table = _json(lines.text, kind) if layout == "jsonl" else _csv(lines.text, kind, header)
        return part_of_table(table, kind, codes, with_failed=with_failed)
    except (Unsure, pa.ArrowException, ValueError, TypeError):
        return None


def part_of_table(table: Any, kind: Format, codes: Codes, *, with_failed: bool = False) -> TracePart:
    """The rows of a pyarrow table.

    Raises:
        Unsure: a row is not plainly valid; so do errors of pyarrow, ValueError and TypeError.
    """
    n = table.num_rows
    columns = {name: table[name].combine_chunks() for name in table.column_names}
    needed = (kind.arrival, kind.input_length)
    columns = {name: column for name, column in columns.items() if column.null_count < n or name in needed}

    inputs = _floats(columns[kind.input_length])
    answers = columns.get(kind.output_length)
    outputs = np.zeros(n) if answers is None else _floats(_filled(answers, 0))
    ids, counts = _blocks(columns.get(kind.hash_ids), n)
    size = kind.block_tokens
    part = TracePart(
        _times(columns[kind.arrival], kind.clock),
        _sure(inputs, (bad_lengths_or_0 if with_failed else bad_lengths)(inputs)).astype(np.int64),
        _sure(outputs, bad_lengths_or_0(outputs)).astype(np.int64),
        np.full(n, -1),
        ids,
        counts,
        np.full(n, size) if isinstance(size, int) else _whole(columns.get(size), n, 0),
        np.stack([_whole(columns.get(field), n, -1) for field in kind.chats or (None,) * 3], axis=1),
        _slos(columns.get(kind.slo_s), n),
        _priorities(columns.get(kind.priority), n),
        np.full(n, -1),
        _whole(columns.get(kind.total_length), n, -1),
        _slos(columns.get(kind.ttft), n),
        _slos(columns.get(kind.latency), n),
    )
    missing = 0 if answers is None else answers.null_count
    if contradiction(part, kind) is not None or (missing and (part.total_length >= 0).any()):
        raise Unsure
    # Last, because they change `codes`.
    for code, name, known in (
        (part.class_code, kind.class_name, codes.classes),
        (part.client_code, kind.client, codes.clients),
    ):
        if name in columns:
            code[:] = _codes(columns[name], known)
    return part


def _slos(column: Any, n: int) -> Floats:
    """TTFT SLOs; a missing one is NaN."""
    if column is None:
        return np.full(n, np.nan)
    one, two = (_floats(_filled(column, absent)) for absent in (1, 2))
    return np.where(one != two, np.nan, _sure(one, bad_slos(one) | np.isnan(one)))


def _priorities(column: Any, n: int) -> Ints:
    """Whole numbers of either sign; a missing one is 0."""
    import pyarrow as pa

    if column is None:
        return np.zeros(n, dtype=np.int64)
    return _values(_filled(column.cast(pa.int64()), 0), np.int64)


def _times(column: Any, clock: str) -> NDArray[Any]:
    if clock == "date":
        return _nanoseconds(column)
    times = _floats(column)
    return _sure(times, bad_seconds(times / TICKS_PER_S[clock]))


def _whole(column: Any, n: int, absent: int) -> Ints:
    """Whole numbers; a missing one is `absent`, the least."""
    import pyarrow as pa

    if column is None:
        return np.full(n, absent)
    array = _values(_filled(column.cast(pa.int64()), absent), np.int64)
    return _sure(array, array < absent)


def _json(text: bytes, kind: Format) -> Any:
    import pyarrow as pa
    import pyarrow.json as pj

    rows = text.count(b"\n") + (not text.endswith(b"\n"))
    if text.count(b"\n{") + text.startswith(b"{") != rows:
        raise Unsure  # a blank line, say, which could offset two objects on one line
    number, whole = pa.float64(), pa.int64()
    fields = {kind.arrival: pa.string() if kind.clock == "date" else number, kind.input_length: number}
    fields |= {name: number for name in (kind.output_length, kind.slo_s, kind.ttft, kind.latency) if name}
    fields |= {name: pa.string() for name in (kind.class_name, kind.client) if name}
    fields |= {name: pa.list_(whole) for name in (kind.hash_ids,) if name}
    fields |= {name: whole for name in _whole_fields(kind)}
    options = pj.ParseOptions(explicit_schema=pa.schema(fields), unexpected_field_behavior="ignore")
    table = pj.read_json(io.BytesIO(text), parse_options=options)
    if table.num_rows != rows:
        raise Unsure
    return table


def _csv(text: bytes, kind: Format, header: Sequence[str]) -> Any:
    import pyarrow as pa
    import pyarrow.csv as pc

    if b'"' in text or kind.hash_ids in header or len(set(header)) < len(header):
        raise Unsure  # pyarrow reads an unclosed quote as a field with the rest of the file
    number, whole = pa.float64(), pa.int64()
    types = {kind.arrival: pa.string() if kind.clock == "date" else number, kind.input_length: number}
    types |= {name: number for name in (kind.output_length, kind.slo_s, kind.ttft, kind.latency) if name}
    types |= {name: pa.string() for name in (kind.class_name, kind.client) if name}
    types |= {name: whole for name in _whole_fields(kind)}
    types = {name: kind for name, kind in types.items() if name in header}
    converting = pc.ConvertOptions(
        column_types=types, include_columns=list(types), null_values=[""], strings_can_be_null=True
    )
    return pc.read_csv(
        io.BytesIO(text),
        read_options=pc.ReadOptions(column_names=list(header)),
        convert_options=converting,
    )


def _whole_fields(kind: Format) -> list[str]:
    """The fields that hold whole numbers, but for lengths."""
    names = (kind.block_tokens, *(kind.chats or ()), kind.priority, kind.total_length)
    return [name for name in names if isinstance(name, str)]


def _floats(column: Any) -> Floats:
    import pyarrow as pa

    if column.null_count or not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise Unsure
    return _values(column.cast(pa.float64()), np.float64)


def _filled(column: Any, absent: int) -> Any:
    return column.fill_null(absent) if column.null_count else column  # only then: it imports pandas, as `to_numpy` does


def _values(column: Any, kind: type[Any]) -> NDArray[Any]:
    """The numbers of an array without nulls."""
    buffer = column.buffers()[1]
    whole = np.zeros(0, kind) if buffer is None else np.frombuffer(buffer, kind)
    return whole[column.offset : column.offset + len(column)].copy()  # a view would keep more than it shows


def _sure(array: NDArray[Any], bad: NDArray[np.bool_]) -> NDArray[Any]:
    if bad.any():
        raise Unsure
    return array


def _nanoseconds(column: Any) -> Ints:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = pc.replace_substring_regex(column, r"(?:Z|\+00:00)$", "")
        if not pc.all(pc.match_substring_regex(column, DATE)).as_py():
            raise Unsure
    elif not pa.types.is_timestamp(column.type):
        raise Unsure
    column = column.cast(pa.timestamp("ns", getattr(column.type, "tz", None)))
    if column.null_count:
        raise Unsure
    return _values(column.cast(pa.int64()), np.int64)


DATE = r"^(?:19|20)\d\d-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d{1,9})?$"


def _blocks(column: Any, n: int) -> tuple[Ints, Ints]:
    import pyarrow as pa

    if column is None:
        return np.zeros(0, dtype=np.int64), np.zeros(n, dtype=np.int64)
    flat = column.flatten().cast(pa.int64())
    if flat.null_count:
        raise Unsure
    ids = _values(flat, np.int64)
    counts = _values(_filled(column.value_lengths().cast(pa.int64()), 0), np.int64)
    return _sure(ids, ids < 0), counts


def _codes(column: Any, codes: dict[str, int]) -> Ints:
    import pyarrow as pa

    encoded = column if hasattr(column, "dictionary") else column.dictionary_encode()
    names = encoded.dictionary.to_pylist()
    if not all(isinstance(name, str) and name for name in names):
        raise Unsure
    index = _values(_filled(encoded.indices, -1).cast(pa.int64()), np.int64)
    order = [names[i] for i in dict.fromkeys(index[index >= 0].tolist())] if len(names) > 1 else names
    table = {name: codes.setdefault(name, len(codes)) for name in order}
    coded: Ints = np.array([*(table.get(name, -1) for name in names), -1], dtype=np.int64)[index]
    return coded
