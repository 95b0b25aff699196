"""Writes trace files, whole or not at all, and says what a format cannot hold."""

from __future__ import annotations

import contextlib
import gzip
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from flowsim.errors import InputError
from flowsim.io.folders import writing_file
from flowsim.traces.columns import Blocks, Floats
from flowsim.traces.formats import Format, Layout, find_format
from flowsim.traces.trace import Trace

LAYOUTS: dict[str, Layout] = {".jsonl": "jsonl", ".csv": "csv", ".parquet": "parquet"}
DATES_END_S = 4102444800.0
"""2100-01-01 in seconds since 1970: dates from then on are not read."""
ROWS_AT_ONCE = 65536
"""Rows converted to Python objects at a time."""


def write_trace(
    trace: Trace, path: str | Path, format: str = "flowsim", layout: Layout | None = None
) -> tuple[str, ...]:
    """Write a trace to a file, whole or (on any error) not at all.

    Args:
        trace: the trace to write.
        path: ends in .jsonl, .csv or .parquet for flowsim's own format; .gz or .zst after the first two compresses.
        format: a name in `FORMATS`; all but flowsim's own are written in the layout they are published in.
        layout: the layout, whatever the ending of the path.

    Returns:
        What the format cannot hold of this trace, one line each.

    Raises:
        InputError: an unknown format or one without arrivals, a path whose ending does not fit the layout, dates after
            2099, or a file that cannot be written.
    """
    kind, target = find_format(format), Path(path)
    if kind.is_profile:
        raise InputError("format", found=format, expected="one with a field of arrivals")
    if kind.clock == "date" and (trace.start_ns or 0) / 1e9 + trace.span_s >= DATES_END_S:
        raise InputError(str(target), f"{trace.name} spans {trace.span_s:g} s", expected="dates until 2099-12-31")
    layout = layout or (layout_of(target) if kind.name == "flowsim" else _published_layout(kind, target))
    lost = losses(trace, kind)
    if trace.blocks is not None and not _holds_blocks(trace.blocks, kind):
        trace = replace(trace, blocks=None)
    with writing_file(target) as partial:
        _WRITE[layout](trace, partial, kind, target.suffix)
    return lost


def losses(trace: Trace, kind: Format) -> tuple[str, ...]:
    """What a format cannot hold of this trace, one line each."""
    found = []
    if trace.class_names and not kind.class_name:
        found.append(f"the classes ({', '.join(trace.class_names)})")
    if trace.output_length.any() and not kind.output_length:
        found.append("the output lengths")
    if trace.blocks is not None and not kind.hash_ids:
        found.append(f"the prefix blocks ({trace.blocks.ids.size} hash_ids)")
    elif trace.blocks is not None and not _holds_blocks(trace.blocks, kind):
        found.append(f"prefix blocks of {trace.blocks.tokens} tokens (the format's are of {kind.block_tokens})")
    for column, field, what in _OPTIONAL:
        if trace.has(column) and not getattr(kind, field):
            found.append(what)
    if trace.chats is not None and not kind.chats:
        found.append("the conversations (chat_id, parent_chat_id, turn)")
    if kind.clock == "date" and trace.start_ns is None:
        found.append("times without a date (the first arrival is written as 1970-01-01 00:00:00)")
    if kind.clock != "date" and trace.start_ns is not None:
        found.append(f"the date of second 0 ({np.datetime64(trace.start_ns, 'ns')} UTC)")
    if kind.clock == "date" and (_finer(trace, 1e7) or (trace.start_ns or 0) % 100):
        found.append("arrival times finer than 100 ns")
    if kind.clock == "ms" and _finer(trace, 1e9):
        found.append("arrival times finer than 1 ns")
    return tuple(found)


_OPTIONAL = (
    ("slo_s", "slo_s", "the SLOs (slo_s)"),
    ("ttft_s", "ttft", "the measured TTFTs"),
    ("latency_s", "latency", "the measured latencies"),
    ("priority", "priority", "the priorities"),
    ("client_code", "client", "the clients"),
)
"""Optional columns of a trace, the fields of a format that hold them, and what is lost without."""


def _holds_blocks(blocks: Blocks, kind: Format) -> bool:
    """Whether a format has blocks of this size: with another size the same ids would stand for other tokens."""
    return kind.hash_ids is not None and kind.block_tokens in (blocks.tokens, "block_tokens")


def _finer(trace: Trace, ticks_a_second: float) -> bool:
    """Whether arrivals lie between ticks, by more than the rounding of a float."""
    ticks = trace.arrival_s * ticks_a_second
    return bool((np.abs(ticks - np.rint(ticks)) > 1e-2 + 4 * np.spacing(ticks)).any())


def layout_of(path: Path) -> Layout:
    """The layout in which flowsim's own format is written to this path.

    Raises:
        InputError: the ending of the path names no layout.
    """
    suffixes = [suffix for suffix in path.suffixes if suffix not in (".gz", ".zst")]
    if not suffixes or suffixes[-1] not in LAYOUTS or (suffixes[-1] == ".parquet" and path.suffix != ".parquet"):
        expected = ".jsonl or .csv (then .gz or .zst to compress) or .parquet"
        raise InputError(str(path), "its ending names no layout", expected=expected)
    return LAYOUTS[suffixes[-1]]


def _published_layout(kind: Format, path: Path) -> Layout:
    """The layout of a published format. Raises InputError if the ending of the path names another."""
    said = {LAYOUTS[suffix] for suffix in path.suffixes[-2:] if suffix in LAYOUTS}
    if said - {kind.layout}:
        named, expected = ", ".join(said), f".{kind.layout}, the layout of {kind.name}"
        raise InputError(str(path), f"its ending names {named}", expected=expected)
    return kind.layout


def _write_jsonl(trace: Trace, path: Path, kind: Format, suffix: str) -> None:
    with _opened(path, suffix) as file:
        for columns in _columns(trace, kind, _json_text):
            keys = list(columns)
            for row in zip(*columns.values(), strict=True):
                fields = [f'"{key}": {value}' for key, value in zip(keys, row, strict=True) if value is not None]
                file.write(f"{{{', '.join(fields)}}}\n".encode())


def _write_csv(trace: Trace, path: Path, kind: Format, suffix: str) -> None:
    header = None
    with _opened(path, suffix) as file:
        for columns in _columns(trace, kind, _csv_text):
            header = header or file.write(f"{','.join(columns)}\n".encode())
            for row in zip(*columns.values(), strict=True):
                file.write(f"{','.join(['' if value is None else value for value in row])}\n".encode())


def _json_text(value: object) -> str:
    return json.dumps(value)


def _csv_text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return '"{}"'.format(text.replace('"', '""')) if any(mark in text for mark in ',"\r\n') else text


def _write_parquet(trace: Trace, path: Path, kind: Format, suffix: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {str(kind.arrival): trace.arrival_s, str(kind.input_length): trace.input_length}
    columns[str(kind.output_length)] = pa.array(trace.output_length, mask=trace.output_length == 0)
    if trace.class_names:
        columns[str(kind.class_name)] = _dictionary(trace.class_code, trace.class_names)
    for field, seconds in _seconds(trace, kind):
        columns[field] = pa.array(seconds, mask=np.isnan(seconds))
    if trace.has("priority"):
        columns[str(kind.priority)] = trace.priority
    if trace.has("client_code"):
        columns[str(kind.client)] = _dictionary(trace.client_code, trace.client_names)
    if trace.blocks is not None:
        columns[str(kind.hash_ids)] = pa.LargeListArray.from_arrays(trace.blocks.offsets, trace.blocks.ids)
        columns[str(kind.block_tokens)] = np.full(len(trace), trace.blocks.tokens)
    if trace.chats is not None and kind.chats is not None:
        values = (trace.chats.chat_id, trace.chats.parent_chat_id, trace.chats.turn)
        columns |= dict(zip(kind.chats, values, strict=True))
    pq.write_table(pa.table(columns), path, compression="zstd")


def _dictionary(codes: np.ndarray, names: tuple[str, ...]) -> Any:
    """Names as a column of Parquet; a code of -1 is null."""
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), pa.array(names))


_WRITE: dict[Layout, Callable[[Trace, Path, Format, str], None]] = {
    "jsonl": _write_jsonl,
    "csv": _write_csv,
    "parquet": _write_parquet,
}


def _columns(trace: Trace, kind: Format, text: Callable[[object], str]) -> Iterator[dict[str, list[str | None]]]:
    """Values as they are written, by field, `ROWS_AT_ONCE` at a time; None = unknown."""
    names = [text(name) for name in trace.class_names]
    own = kind.name == "flowsim"  # only what is known; published formats have all their fields in each row
    classes = [*names, None if own or text is _csv_text else "null"]
    for start in range(0, len(trace), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        columns = {kind.arrival: _times(trace, rows, kind, text)}
        columns[kind.input_length] = _numbers(trace.input_length[rows])
        if kind.output_length:
            outputs = trace.output_length[rows].tolist()
            columns[kind.output_length] = [None if own and not value else repr(value) for value in outputs]
        if kind.class_name and (trace.class_names or kind.class_name in kind.marks):
            columns[kind.class_name] = [classes[code] for code in trace.class_code[rows].tolist()]
        columns |= _optional_columns(trace, kind, rows, text)
        if kind.chats and trace.chats is not None:
            chats = (trace.chats.chat_id, trace.chats.parent_chat_id, trace.chats.turn)
            columns |= {field: _numbers(column[rows]) for field, column in zip(kind.chats, chats, strict=True)}
        yield columns | _block_columns(trace, kind, rows, text)


def _seconds(trace: Trace, kind: Format) -> Iterator[tuple[str, Floats]]:
    """The SLOs, TTFTs and latencies that a trace has and a format holds, by field, NaN where unknown."""
    for column, field in (("slo_s", kind.slo_s), ("ttft_s", kind.ttft), ("latency_s", kind.latency)):
        if field and trace.has(column):
            yield field, getattr(trace, column)


def _optional_columns(
    trace: Trace, kind: Format, rows: slice, text: Callable[[object], str]
) -> dict[str, list[str | None]]:
    """SLOs, priorities and clients, where the trace has them and the format holds them."""
    columns: dict[str, list[str | None]] = {}
    for field, seconds in _seconds(trace, kind):
        columns[field] = [None if math.isnan(value) else repr(value) for value in seconds[rows].tolist()]
    if kind.priority and trace.has("priority"):
        columns[kind.priority] = _numbers(trace.priority[rows])
    if kind.client and trace.has("client_code"):
        names = [*map(text, trace.client_names), None]
        columns[kind.client] = [names[code] for code in trace.client_code[rows].tolist()]
    return columns


def _block_columns(
    trace: Trace, kind: Format, rows: slice, text: Callable[[object], str]
) -> dict[str, list[str | None]]:
    if kind.hash_ids is None or (trace.blocks is None and kind.hash_ids not in kind.marks):
        return {}
    n = len(range(*rows.indices(len(trace))))
    if trace.blocks is None:
        return {kind.hash_ids: [text([])] * n}
    offsets, ids = trace.blocks.offsets[rows.start : rows.start + n + 1].tolist(), trace.blocks.ids
    lists = [text(ids[start:end].tolist()) for start, end in pairwise(offsets)]
    columns: dict[str, list[str | None]] = {kind.hash_ids: [*lists]}
    if isinstance(kind.block_tokens, str):
        columns[kind.block_tokens] = [repr(trace.blocks.tokens)] * n
    return columns


def _numbers(column: np.ndarray) -> list[str | None]:
    return [repr(value) for value in column.tolist()]


def _times(trace: Trace, rows: slice, kind: Format, text: Callable[[object], str]) -> list[str | None]:
    arrival_s = trace.arrival_s[rows]
    if kind.clock == "s":
        return _numbers(arrival_s)
    if kind.clock == "ms":
        ms = (round(s * 1e3, 6) for s in arrival_s.tolist())  # to 1 ns: what was read as ms is written as read
        return [repr(int(value) if value.is_integer() else value) for value in ms]
    ticks = np.rint(arrival_s * 1e7).astype(np.int64) + (trace.start_ns or 0) // 100
    dates = np.datetime_as_string((ticks * 100).astype("datetime64[ns]"), unit="ns")
    return [text(str(date).replace("T", " ")[:-2]) for date in dates]


@contextlib.contextmanager
def _opened(path: Path, suffix: str) -> Iterator[IO[bytes]]:
    with path.open("wb") as raw:
        if suffix == ".gz":
            # Neither a name nor a time in the header: the same trace gives the same bytes.
            with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw, mtime=0) as file:
                yield cast("IO[bytes]", file)
        elif suffix == ".zst":
            import pyarrow as pa

            with pa.CompressedOutputStream(raw, "zstd") as file:
                yield file
        else:
            yield raw
