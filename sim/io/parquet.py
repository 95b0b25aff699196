"""Rows of plain values, by column, as a Parquet file."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from flowsim.errors import InputError
from flowsim.io.folders import check_ends, writing_file

ROWS_AT_ONCE = 1024
DIGEST = "flowsim_sha256"
"""The entry of a file's metadata with the digest of its rows and columns."""
Row = Mapping[str, Any]


def write_rows(path: Path, rows: Callable[[], Iterable[Row]]) -> None:
    """Write a file of rows, whole or not at all, with a digest; `rows` gives them, twice the same."""
    import pyarrow.parquet as pq  # slow to import, and only tables need it

    kinds = column_kinds(rows())
    with (
        writing_file(path) as partial,
        partial.open("w+b") as file,  # a name may look like the address of a file elsewhere: "a:b"
        pq.ParquetWriter(file, _schema(kinds), compression="zstd") as writer,
    ):
        given = iter(rows())
        while part := list(itertools.islice(given, ROWS_AT_ONCE)):
            writer.write_table(arrow_table(part, kinds))
        writer.add_key_value_metadata({DIGEST: _digest(file, file.tell(), _schema(kinds))})


def check_unchanged(path: Path) -> None:
    """Raise `InputError` unless `write_rows` wrote the file as it is."""
    import pyarrow.parquet as pq

    with path.open("rb") as file, pq.ParquetFile(file) as table:
        begin = file.seek(-8, os.SEEK_END) - int.from_bytes(file.read(4), "little")  # of the footer, by its length
        stated = (table.metadata.metadata or {}).get(DIGEST.encode(), b"").decode()
        if _digest(file, begin, table.schema_arrow) != stated:
            raise InputError(str(path), "was changed after it was written", expected="the file that flowsim wrote")


def _digest(file: BinaryIO, length: int, schema: Any) -> str:
    """SHA-256 of the columns' names and types, and of the first bytes of a file; it then stands where these end."""
    file.seek(0)
    columns = [(column.name, str(column.type)) for column in schema]
    return hashlib.sha256(repr(columns).encode() + file.read(length)).hexdigest()


def column_kinds(rows: Iterable[Row]) -> dict[str, str]:
    """The kind of each column of any of these rows, in order of first appearance."""
    ranks = {"null": 0, "bool_": 1, "int64": 2, "float64": 3, "string": 4}
    kinds: dict[str, str] = {}
    for row in rows:
        for name, value in row.items():
            kind = _kind(value)
            before = kinds.get(name, "null")
            if {kind, before} in ({"bool_", "int64"}, {"bool_", "float64"}):
                kind = "string"
            if ranks[kind] >= ranks[before]:
                kinds[name] = kind
    return {name: "string" if kind == "null" else kind for name, kind in kinds.items()}


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "bool_", int: "int64", float: "float64", str: "string"}
    return names[type(value)]


def _schema(kinds: Mapping[str, str]) -> Any:
    import pyarrow as pa

    return pa.schema([(name, getattr(pa, kind)()) for name, kind in kinds.items()])


def arrow_table(rows: Iterable[Row], kinds: Mapping[str, str]) -> Any:
    """An Arrow table of rows; a number in a column with texts becomes one."""
    import pyarrow as pa

    texts = {name for name, kind in kinds.items() if kind == "string"}
    plain = [{name: _text(value) if name in texts else value for name, value in row.items()} for row in rows]
    return pa.Table.from_pylist(plain, _schema(kinds))


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value).removesuffix(".0")


def is_whole(path: Path) -> bool:
    """Whether this is a Parquet file with its end, which is written last and says what is in it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        check_ends(path)
        pq.read_metadata(path.absolute())
    except (pa.ArrowException, OSError, InputError):
        return False
    return True


def check_plain(path: Path, schema: Any) -> None:
    """Raise `InputError` unless every column of a Parquet file holds truth values, numbers or text."""
    from pyarrow import types

    for column in schema:
        if not (
            types.is_boolean(column.type)
            or types.is_int64(column.type)
            or types.is_float64(column.type)
            or types.is_string(column.type)
            or types.is_large_string(column.type)
            or types.is_null(column.type)
        ):
            found = f"is of type {column.type}"
            raise InputError(f"{path}: column {column.name}", found, expected="truth values, numbers, or text")
