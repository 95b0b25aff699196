"""Reads the rows of Parquet files: a column at a time or, where one is not plainly valid, row by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from flowsim.errors import InputError
from flowsim.traces.formats import Format
from flowsim.traces.reading import bulk_reader, row_reader
from flowsim.traces.reading.compression import check_unpacked
from flowsim.traces.reading.parts import Codes, TracePart
from flowsim.traces.reading.row_reader import check_fields


def column_names(path: Path) -> Sequence[str]:
    """The columns of a file. InputError: it is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return list(pq.read_schema(path).names)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(str(path), f"is a damaged Parquet file ({' '.join(str(error).split())[:200]})")


def parquet_parts(path: Path, kind: Format, names: Sequence[str], codes: Codes, failed: bool) -> Iterator[TracePart]:
    """The rows of a file, some at a time.

    Args:
        path: the file.
        kind: its format.
        names: its columns.
        codes: of names of classes and clients so far, to which new ones are added.
        failed: whether rows of requests that failed are kept, without tokens.

    Raises:
        InputError: it is damaged, lacks a field, or has a value that does not fit its field.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    check_fields(str(path), names, kind)
    wanted = [name for name in kind.fields if name in names]
    first = 1
    try:
        with pq.ParquetFile(path) as file:
            check_unpacked(path, 8 * _values(file.metadata, wanted))
            for batch in file.iter_batches(1 << 18, columns=wanted):
                batch.validate(full=True)  # damaged data may refer to places that do not exist
                table = pa.Table.from_batches([batch])
                try:
                    yield bulk_reader.part_of_table(table, kind, codes, with_failed=failed)
                except (bulk_reader.Unsure, pa.ArrowException, ValueError, TypeError):
                    rows = list(enumerate(table.to_pylist(), first))
                    yield row_reader.part_of(rows, f"{path}: row", kind, "parquet", codes, with_failed=failed)
                first += table.num_rows
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _damaged(path, error) from None


def _values(metadata: Any, names: Sequence[str]) -> int:
    """How many values these columns of a file have, those in lists too."""
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    columns = (group.column(number) for group in groups for number in range(group.num_columns))
    return sum(column.num_values for column in columns if column.path_in_schema.split(".")[0] in names)
