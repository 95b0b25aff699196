"""Reads trace files: the format is detected from the content; JSON lines, CSV or Parquet; plain, gzip or zstd."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from flowsim.errors import InputError, shown
from flowsim.traces import bulk_reader, row_reader
from flowsim.traces.columns import Blocks, Chats, Floats
from flowsim.traces.compression import Lines, is_parquet, read_lines
from flowsim.traces.formats import FORMATS, TICKS_PER_S, Format, Layout, find_format
from flowsim.traces.row_reader import Part, check_fields, json_object
from flowsim.traces.seeds import generator
from flowsim.traces.trace import Trace

ROWS_AT_ONCE = 65536
"""Rows converted at a time, so that a long file is never held as Python objects."""
BULK_FROM_BYTES = 4 << 20
"""Size on disk from which reading a text file with pyarrow saves more time than importing it takes."""
SUFFIXES = (".gz", ".zst")


def read_trace(path: str | Path, format: str | None = None, *, spread: bool = True, seed: int = 0) -> Trace:
    """The trace in this file: JSON lines, CSV or Parquet, the first two plain or compressed by gzip or zstd.

    Args:
        path: the file; its layout and compression are detected from its content.
        format: name or fields of its format, see `find_format`; default: the first that its first row fits.
        spread: whether to spread coarse time stamps. Mooncake's are multiples of about 3 s; the requests of each are
            spread over the time to the next, uniformly at random, in the order of the file.
        seed: seed of the spreading.

    Raises:
        InputError: in one line with the file, the line (of Parquet: the row), the field, what was found and what was
            expected.
    """
    path = Path(path)
    kind = None if format is None else find_format(format)
    codes: dict[str, int] = {}
    if is_parquet(path):
        names = _parquet_names(path)
        kind = kind or _fitting(str(path), "parquet", names)
        parts = list(_parquet_parts(path, kind, names, codes))
    else:
        layout, where, names = _head(path)
        kind = kind or _fitting(where, layout, names)
        parts = list(_parts(path, layout, kind, names, codes))
    trace = _assembled(path, kind, parts, codes)
    if unread := [name for name in names if name and name not in kind.fields]:
        trace = replace(trace, notices=(*trace.notices, f"fields that are not read: {shown(', '.join(unread))[1:-1]}"))
    return _spread(trace, seed) if spread and kind.coarse else trace


def detect_format(path: str | Path) -> Format:
    """The format that the first row of this file fits. Raises InputError, with the known ones, if none does."""
    path = Path(path)
    if is_parquet(path):
        return _fitting(str(path), "parquet", _parquet_names(path))
    layout, where, header = _head(path)
    return _fitting(where, layout, header)


def _head(path: Path) -> tuple[Layout, str, Sequence[str]]:
    """Layout of a text file, where its first row is, and the names of the fields of that row."""
    for lines in read_lines(path):
        for number, line in enumerate(io.BytesIO(lines.text), lines.first):  # lines end at \n alone, as in `_bodies`
            text = line.decode()
            if text and not text.isspace():
                where = f"{path}: line {number}"
                if text.lstrip()[0] in "{[":
                    return "jsonl", where, list(json_object(where, text))
                return "csv", where, _csv_header(where, text)
    raise InputError(str(path), "is empty", expected="one request per line")


def _csv_header(where: str, text: str) -> list[str]:
    try:
        return next(csv.reader([text], strict=True))
    except csv.Error as error:
        found = f"is not CSV ({error}): {shown(text.strip())}"
        raise InputError(where, found, expected="fields separated by commas") from None


def _fitting(where: str, layout: Layout, header: Sequence[str]) -> Format:
    for kind in FORMATS.values():
        if set(header).issuperset(kind.signature):
            return kind
    known = (f"{kind.name} ({kind.layout}: {', '.join(kind.signature)})" for kind in FORMATS.values())
    servegen = " (flowsim traces synth makes a trace from ServeGen's clients)" if "clients" in header else ""
    found = f"has {layout} fields that fit no known format{servegen}: {shown(', '.join(header))}"
    raise InputError(where, found, expected=f"{'; '.join(known)}; or fields that you name (arrival_s=FIELD,...)")


def _parts(path: Path, layout: Layout, kind: Format, header: Sequence[str], codes: dict[str, int]) -> Iterator[Part]:
    large = path.stat().st_size >= BULK_FROM_BYTES
    for lines in _bodies(path, layout, kind, header):
        part = bulk_reader.part_of(lines, kind, layout, header, codes) if lines.text and large else None
        if part is not None:
            yield part
            continue
        rows = row_reader.rows_of(str(path), lines, layout, header)
        while batch := list(islice(rows, ROWS_AT_ONCE)):
            yield row_reader.part_of(batch, f"{path}: line", kind, layout, codes)


def _bodies(path: Path, layout: Layout, kind: Format, header: Sequence[str]) -> Iterator[Lines]:
    """The lines of a file, without the header of CSV."""
    ahead = layout == "csv"
    for line, text in read_lines(path, quotes=layout == "csv"):
        while ahead and text:
            first, _, text = text.partition(b"\n")
            line, ahead = line + 1, not first.strip()
            if not ahead:
                check_fields(f"{path}: line {line - 1}", header, kind)
        yield Lines(line, text)


def _parquet_names(path: Path) -> Sequence[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return list(pq.read_schema(path).names)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(str(path), f"is a damaged Parquet file ({' '.join(str(error).split())[:200]})")


def _parquet_parts(path: Path, kind: Format, names: Sequence[str], codes: dict[str, int]) -> Iterator[Part]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    check_fields(str(path), names, kind)
    wanted = [name for name in kind.fields if name in names]
    first = 1
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(1 << 18, columns=wanted):
                batch.validate(full=True)  # damaged data may refer to places that do not exist
                table = pa.Table.from_batches([batch])
                try:
                    yield bulk_reader.part_of_table(table, kind, codes)
                except (bulk_reader.Unsure, pa.ArrowException, ValueError, TypeError):
                    rows = list(enumerate(table.to_pylist(), first))
                    yield row_reader.part_of(rows, f"{path}: row", kind, "parquet", codes)
                first += table.num_rows
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _damaged(path, error) from None


def _assembled(path: Path, kind: Format, parts: Sequence[Part], codes: dict[str, int]) -> Trace:
    if not any(part.arrival.size for part in parts):
        raise InputError(str(path), "has no requests", expected="one request per line")

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts])

    arrival_s, start_ns = _seconds(joined("arrival"), kind)
    notices = () if start_ns is None else (f"second 0 is {np.datetime64(start_ns, 'ns')} UTC",)
    counts, chats = joined("block_counts"), joined("chats")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Trace.from_columns(
        arrival_s,
        joined("input_length"),
        joined("output_length"),
        joined("class_code"),
        tuple(codes),
        name=_name(path),
        source=str(path),
        sha256=digest,
        notices=notices,
        blocks=Blocks.of(_block_tokens(path, joined("block_tokens"), counts), joined("block_ids"), counts)
        if counts.any()
        else None,
        chats=Chats(*chats.T.copy()) if (chats >= 0).any() else None,
        start_ns=start_ns,
    )


def _name(path: Path) -> str:
    name = path.name
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    return name.rsplit(".", 1)[0]


def _block_tokens(path: Path, tokens: np.ndarray, counts: np.ndarray) -> int:
    sizes = np.unique(tokens[counts > 0])
    if sizes.size > 1 or not sizes[0]:
        found = f"is {', '.join(str(size) if size else 'missing' for size in sizes)}"
        raise InputError(f"{path}: block_tokens", found, expected="one size >= 1 for all rows with hash_ids")
    return int(sizes[0])


def _seconds(arrival: np.ndarray, kind: Format) -> tuple[Floats, int | None]:
    """Arrival times in seconds, and `Trace.start_ns`."""
    if kind.clock != "date":
        return arrival / TICKS_PER_S[kind.clock], None
    first = int(arrival.min())
    return (arrival - first) / 1e9, first


def _spread(trace: Trace, seed: int) -> Trace:
    """The trace with the requests of each tick spread over the tick, if its time stamps are multiples of a tick."""
    starts, tick_of = np.unique(trace.arrival_s, return_inverse=True)
    if not 3 <= starts.size <= len(trace) / 2:
        return trace
    tick = float(np.median(np.diff(starts)))
    gaps = np.diff(starts) / tick
    if np.mean(np.abs(gaps - np.round(gaps)) < 0.02) < 0.9:
        return trace
    width = np.minimum(np.append(np.diff(starts), tick), tick)[tick_of]
    # Ticks do not overlap, so sorting keeps each request in its tick and in its place.
    arrival = np.sort(trace.arrival_s + width * generator(seed).random(len(trace)))
    notice = f"ticks of {tick:g} s: the requests of each were spread over it at random (seed {seed})"
    return replace(trace, arrival_s=arrival - arrival[0], notices=(*trace.notices, notice))
