"""The saved files of a run, read back: a file that is damaged, or holds what no run gives, is refused in one line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from flowsim.core.summary import FullSummary
from flowsim.errors import InputError
from flowsim.io.documents import mapping

if TYPE_CHECKING:
    import pandas as pd

SUMMARY, REQUESTS = "summary.json", "requests.parquet"
FLAGS, TEXTS = ("attained", "counted"), ("key", "class", "client", "state")
"""The columns of a table of requests that are not numbers."""
ROUNDING = 1e-9
"""By so much may a share exceed 1."""


def is_share(name: str) -> bool:
    """Whether what is stored under this name is a share, from 0 to 1."""
    return name.startswith(("attainment", "utilization")) or name.endswith("_share")


def stored_summary(folder: Path) -> FullSummary:
    """The summary.json in a folder. InputError: it cannot be read, lacks an entry, or has one that no run gives."""
    path = folder / SUMMARY
    values = mapping(path, "the summary of a run")
    try:
        msgspec.convert(values, FullSummary)
    except msgspec.ValidationError as error:
        raise InputError(str(path), f"is damaged: {error}", expected="the summary of a run") from None
    for place, found in _shares(values):
        if not 0 <= found <= 1 + ROUNDING:
            raise InputError(f"{path}: {place}", found=found, expected="a share from 0 to 1")
    return cast(FullSummary, values)


def stored_requests(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """These columns of a table of requests, one row per request. InputError: it cannot be read, or lacks one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            missing = [name for name in columns if name not in file.schema_arrow.names]
            if not missing:
                return _of_right_types(file.read(list(columns)).to_pandas(), path)
    except InputError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:  # text that is not UTF-8 is a ValueError
        found = f"cannot be read ({' '.join(str(error).split())[:200]})"
        raise InputError(str(path), found, expected="the requests of a run") from None
    raise InputError(str(path), f"has no column {missing[0]}", expected="the requests of a run, with it")


def check_stored(folder: Path) -> None:
    """Raise InputError unless the summary and the requests in a folder can be read and agree."""
    summary = stored_summary(folder)
    table = stored_requests(folder / REQUESTS, ("counted", "attained"))
    counted, attained = (table[name].to_numpy() for name in ("counted", "attained"))
    share = float(attained[counted].mean()) if counted.any() else None
    found = {"requests": len(table), "counted": int(counted.sum()), "attainment": share}
    for name, value in found.items():
        if summary[name] != value:  # type: ignore[literal-required]
            said = f"has {name} {value}"
            raise InputError(str(folder / REQUESTS), said, expected=f"{summary[name]}, as in {SUMMARY}")  # type: ignore[literal-required]


def _of_right_types(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The same table. InputError: a column holds values of another type than it has in a table of requests."""
    for name in table:
        kinds, expected = ("b", "true or false") if name in FLAGS else ("iuf", "numbers")
        if name not in TEXTS and table[name].dtype.kind not in kinds:
            raise InputError(f"{path}: {name}", f"is a column of {table[name].dtype}", expected=expected)
    return table


def _shares(values: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, float]]:
    """All shares in a summary, each with its place."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _shares(value, f"{place}{name}.")
        elif isinstance(value, int | float) and is_share(name):
            yield f"{place}{name}", float(value)
