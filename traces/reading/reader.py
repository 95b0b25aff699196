"""Reads trace files: the format is detected from the content; JSON lines, CSV or Parquet; plain, gzip or zstd."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from flowsim.errors import InputError, InputWarning, shown, unknown
from flowsim.io.counts import number_of
from flowsim.io.sha256 import sha256_of
from flowsim.traces.columns import Blocks, Chats
from flowsim.traces.formats import FORMATS, TICKS_PER_S, Format, Layout, find_format, own_format
from flowsim.traces.reading import bulk_reader, row_reader, server_logs
from flowsim.traces.reading.benchmark_logs import BenchmarkLog
from flowsim.traces.reading.compression import LineBlock, is_parquet, read_lines
from flowsim.traces.reading.parquet_reader import column_names, parquet_parts
from flowsim.traces.reading.parts import Codes, TracePart
from flowsim.traces.reading.row_reader import check_fields
from flowsim.traces.reading.row_text import json_line, rows_of
from flowsim.traces.reading.stamps import spread as spread_stamps
from flowsim.traces.reading.stamps import suspicions
from flowsim.traces.trace import Trace

ROWS_AT_ONCE = 65536
"""Rows converted at a time, so that a long file is never held as Python objects."""
BULK_FROM_BYTES = 4 << 20
"""Size on disk from which reading a text file with pyarrow saves more time than importing it takes."""
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
"""What separates fields in place of commas, by mark."""
NEAR = 0.75
"""How alike the name of a field that is not read must be to one that would be, for a warning: 1 is equal."""
SUFFIXES = (".gz", ".zst")


def read_trace(
    path: str | Path,
    format: str | None = None,
    *,
    spread: bool = True,
    seed: int = 0,
    drop_failed: bool = False,
) -> Trace:
    """The trace in this file: JSON lines, CSV or Parquet, the first two plain or compressed by gzip or zstd.

    Args:
        path: the file; its layout and compression are detected from its content.
        format: name or fields of its format, see `find_format`; default: the first that its first row fits.
        spread: whether to spread coarse time stamps, such as whole seconds: the requests of each are spread over the
            time to the next, uniformly at random, in the order of the file; see `stamps.spread`.
        seed: seed of the spreading.
        drop_failed: whether to drop the rows of requests that failed on the real server: those without input tokens,
            those without a TTFT if others have one and, in BurstGPT's format, those without response tokens. A notice
            counts them.

    Raises:
        InputError: in one line with the file, the line (of Parquet: the row), the field, what was found and what was
            expected.

    A log of a server (`server_logs.LOGS`) is read whole; its measured TTFTs are the trace's.

    Warns:
        InputWarning: a field that is not read has nearly the name of one that would be: 'prioritty'.
    """
    path = Path(path)
    if not is_parquet(path) and (log := server_logs.log_format(path, format)) is not None:
        return _of_log(path, server_logs.read_log(path, log), drop_failed)
    kind = None if format is None else find_format(format, server_logs.LOGS)
    codes = Codes()
    if is_parquet(path):
        names = column_names(path)
        kind = kind or _fitting(str(path), "parquet", names)
        parts = list(parquet_parts(path, kind, names, codes, drop_failed))
    else:
        layout, where, names = _head(path)
        kind = kind or _fitting(where, layout, names)
        parts = list(_parts(path, layout, kind, names, codes, drop_failed))
    measured = any(not np.isnan(part.ttft).all() for part in parts)
    silent = kind.no_output_is_failure and kind.output_length in names
    failed = [part.failed(silent, measured) for part in parts]
    kept = [part.of_rows(~rows) for part, rows in zip(parts, failed, strict=True)] if drop_failed else parts
    many = sum(int(rows.sum()) for rows in failed)
    trace = _assembled(path, kind, kept, codes, _failures(many, drop_failed))
    _check_named(path, kind, names)
    if measured:
        trace = replace(trace, notices=(*trace.notices, *server_logs.decodes(trace.output_length)))
    unread = [name for name in names if name and name not in kind.fields]
    _warn_of_near_names(path, unread, [name for name in kind.fields if name not in names])
    if unread:
        trace = replace(trace, notices=(*trace.notices, f"fields that are not read: {shown(', '.join(unread))[1:-1]}"))
    trace = spread_stamps(trace, kind, seed) if spread and not kind.is_profile else trace
    date = () if trace.start_ns is None else (f"second 0 is {np.datetime64(trace.start_ns, 'ns')} UTC",)
    return replace(trace, notices=(*date, *trace.notices, *suspicions(trace, kind)))


def _check_named(path: Path, kind: Format, names: Sequence[str]) -> None:
    """Raise `InputError` for a field that the user names and no row has; `names` are those of the first row."""
    known = set(names)
    if kind.name in FORMATS or known.issuperset(kind.fields):
        return
    if not is_parquet(path) and _head(path)[0] == "jsonl":
        rows = (row for lines in read_lines(path) for _, row in rows_of(str(path), lines, "jsonl", names))
        known.update(*rows)
    for field in kind.fields:
        if field not in known:
            raise unknown("field", field, known, where=str(path))


def _warn_of_near_names(path: Path, unread: Sequence[str], absent: Sequence[str]) -> None:
    """Warn of each field that is not read and has nearly the name of one that is, which the file lacks."""
    for name in unread:
        if near := unknown("field", name, absent).nearest(NEAR):
            said = f"{path}: field {name!r} is not read; did you mean {near!r}?"
            warnings.warn(said, InputWarning, stacklevel=3)


def detect_format(path: str | Path) -> Format:
    """The format that the first row of this file fits. Raises InputError, with the known ones, if none does."""
    path = Path(path)
    if is_parquet(path):
        return _fitting(str(path), "parquet", column_names(path))
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
                    _check_lines(path, text)
                    return "jsonl", where, list(json_line(where, text))
                return "csv", where, _csv_header(where, text)
    raise InputError(str(path), "is empty", expected="one request per line")


def _check_lines(path: Path, first: str) -> None:
    """Raise `InputError` if the first line begins a JSON document of several lines, or is a list."""
    if first.lstrip()[0] == "[" or first.strip() == "{" or first.rstrip()[-1] in "[{,":
        kind = "list" if first.lstrip()[0] == "[" else "document"
        raise InputError(str(path), f"is one JSON {kind}", expected="JSON lines: one JSON object per line")


def _csv_header(where: str, text: str) -> list[str]:
    try:
        return next(csv.reader([text], strict=True))
    except csv.Error as error:
        found = f"is not CSV ({error}): {shown(text.strip())}"
        raise InputError(where, found, expected="fields separated by commas") from None


def _fitting(where: str, layout: Layout, header: Sequence[str]) -> Format:
    for kind in (own_format(where, header), *FORMATS.values()):
        if kind is not None and set(header).issuperset(kind.signature):
            return kind
    if layout == "csv" and len(header) == 1 and (mark := next((one for one in SEPARATORS if one in header[0]), None)):
        raise InputError(where, f"has fields separated by {SEPARATORS[mark]}", expected="fields separated by commas")
    known = (f"{kind.name} ({kind.layout}: {', '.join(kind.signature)})" for kind in FORMATS.values())
    servegen = " (flowsim traces synth makes a trace from ServeGen's clients)" if "clients" in header else ""
    found = f"has {layout} fields that fit no known format{servegen}: {shown(', '.join(header))}{_meant(header)}"
    raise InputError(where, found, expected=f"{'; '.join(known)}; or fields that you name (arrival_s=FIELD,...)")


def _meant(header: Sequence[str]) -> str:
    """Which fields may have been meant by those of a header that lacks one of a format's, as a question."""
    for kind in FORMATS.values():
        missing = [name for name in kind.signature if name not in header]
        others = [name for name in header if name not in kind.signature]
        near = [unknown("field", name, others).near for name in missing]
        if all(near) and len(set(near)) == len(near):
            pairs = (f"{name!r} by {meant!r}" for name, meant in zip(missing, near, strict=True))
            return f"; did you mean {', '.join(pairs)}?"
    return ""


def _parts(
    path: Path, layout: Layout, kind: Format, header: Sequence[str], codes: Codes, failed: bool
) -> Iterator[TracePart]:
    large = path.stat().st_size >= BULK_FROM_BYTES
    for lines in _bodies(path, layout, kind, header):
        bulk = bool(lines.text) and large
        part = bulk_reader.part_of(lines, kind, layout, header, codes, with_failed=failed) if bulk else None
        if part is not None:
            yield part
            continue
        rows = rows_of(str(path), lines, layout, header)
        while batch := list(islice(rows, ROWS_AT_ONCE)):
            yield row_reader.part_of(batch, f"{path}: line", kind, layout, codes, with_failed=failed)


def _bodies(path: Path, layout: Layout, kind: Format, header: Sequence[str]) -> Iterator[LineBlock]:
    """The lines of a file, without the header of CSV."""
    ahead = layout == "csv"
    for line, text in read_lines(path, quotes=layout == "csv"):
        while ahead and text:
            first, _, text = text.partition(b"\n")
            line, ahead = line + 1, not first.strip()
            if not ahead:
                check_fields(f"{path}: line {line - 1}", header, kind)
        yield LineBlock(line, text)


def _assembled(path: Path, kind: Format, parts: Sequence[TracePart], codes: Codes, notices: tuple[str, ...]) -> Trace:
    if not any(part.arrival.size for part in parts):
        problem = f"has no requests ({notices[0]})" if notices else "has no requests"
        raise InputError(str(path), problem, expected="one request per line")

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts])

    arrival, start_ns = joined("arrival"), None
    ticks = TICKS_PER_S.get(kind.clock, 1.0)
    if kind.clock == "date":
        start_ns = int(arrival.min())
        arrival = (arrival - start_ns) / 1e9
    ttft_s, latency_s = (joined(name) / TICKS_PER_S[kind.measured_in] for name in ("ttft", "latency"))
    if kind.is_profile:
        ticks = 1.0
        arrival = np.concatenate(([0.0], np.cumsum(np.nan_to_num(np.fmax(ttft_s, latency_s)))[:-1]))
        notices += ("a profile: one request after another, each sent when the one before was through",)
    counts, chats = joined("block_counts"), joined("chats")
    return Trace.from_columns(
        arrival,
        joined("input_length"),
        joined("output_length"),
        joined("class_code"),
        tuple(codes.classes),
        name=_name(path),
        source=str(path),
        sha256=sha256_of(path),
        notices=notices,
        blocks=Blocks.of(_block_tokens(path, joined("block_tokens"), counts), joined("block_ids"), counts)
        if counts.any()
        else None,
        chats=Chats(*chats.T.copy()) if (chats >= 0).any() else None,
        ticks=ticks,
        start_ns=start_ns,
        slo_s=joined("slo_s"),
        priority=joined("priority"),
        client_code=joined("client_code"),
        client_names=tuple(codes.clients),
        ttft_s=ttft_s,
        latency_s=latency_s,
        concurrency=1 if kind.is_profile else None,
    )


def _of_log(path: Path, log: BenchmarkLog, drop_failed: bool) -> Trace:
    """The trace of a server's log. InputError: not a request is left."""
    kept = ~log.failed if drop_failed else np.ones(log.failed.size, bool)
    classes = np.full(kept.sum(), -1)
    return Trace.from_columns(
        log.sent_s[kept],
        log.input_length[kept].astype(np.int64),
        log.output_length[kept].astype(np.int64),
        classes,
        (),
        name=_name(path),
        source=str(path),
        sha256=sha256_of(path),
        notices=(*log.notices, *_failures(int(log.failed.sum()), drop_failed)),
        ttft_s=log.ttft_s[kept],
        latency_s=log.latency_s[kept],
        concurrency=log.concurrency,
    )


def _failures(failed: int, dropped: bool) -> tuple[str, ...]:
    if not failed:
        return ()
    rows = f"{number_of(failed, 'request')} that failed on the real server"
    return (f"dropped: {rows}",) if dropped else (f"kept: {rows} (no output tokens); --drop-failed drops them",)


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
