"""The saved files of a run, read back: a file that is damaged, or holds what no run gives, is refused in one line."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from flowsim.core.summary import FullSummary
from flowsim.errors import InputError
from flowsim.io.counts import number_of
from flowsim.io.documents import mapping
from flowsim.io.folders import check_ends
from flowsim.results.recount import COLUMNS, recount

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

SUMMARY, REQUESTS = "summary.json", "requests.parquet"
FLAGS, TEXTS = ("attained", "counted"), ("key", "class", "client", "state")
"""The columns of a table of requests that are not numbers."""
COST, ERROR = ("cost_model", "cost_model_kind", "cost_model_error", "cost_model_factors"), ("median", "max")
"""What is shown of a cost model, and of each of its errors."""
SHARES = ("attainment", "utilization", "bound_attainment", "share_of_bound")
"""What the names of shares begin with, unless they end with "_share"."""
ROUNDING = 1e-9
"""By so much may a share exceed 1, and a number differ from what it is counted to be, in proportion."""


def is_share(name: str) -> bool:
    """Whether what is stored under this name is a share, from 0 to 1; figures and pages show it in per cent."""
    return name.startswith(SHARES) or name.endswith("_share")


def stored_summary(folder: Path) -> FullSummary:
    """The summary of the run that was saved in a folder.

    Raises:
        InputError: it cannot be read, lacks an entry, has one that no run gives, or one that the requests beside it
            contradict.
    """
    summary = _read_summary(folder / SUMMARY)
    path = folder / REQUESTS
    span_s = summary["span_s"] if summary["inputs"].get("concurrency") else None
    requests = stored_requests(path, (*COLUMNS, "preemptions"))
    check_agreement(path, recount(requests, summary["classes"], span_s), summary, SUMMARY)
    fewest, most = requests["preemptions"].max() if len(requests) else 0, requests["preemptions"].sum()
    if not fewest <= summary["preemptions"] <= most:  # of passes, each with one request or several
        found = f"has preemptions of {fewest} to {most} passes"
        raise InputError(str(path), found, expected=f"{summary['preemptions']}, as in {SUMMARY}")
    return summary


def _read_summary(path: Path) -> FullSummary:
    """A summary.json. InputError: it cannot be read, lacks an entry, or has one that no run gives."""
    values = mapping(path, "the summary of a run")
    try:
        msgspec.convert(values, FullSummary)
    except msgspec.ValidationError as error:
        raise InputError(str(path), f"is damaged: {error}", expected="the summary of a run") from None
    _check_costs(path, values["inputs"])
    for place, found in _shares(values):
        if not 0 <= found <= 1 + ROUNDING:
            raise InputError(f"{path}: {place}", found=found, expected="a share from 0 to 1")
    return cast(FullSummary, values)


def _check_costs(path: Path, inputs: Mapping[str, Any]) -> None:
    """InputError: what is shown of the cost model is not whole."""
    errors = inputs.get("cost_model_error") or {}
    parts = [("inputs", inputs, COST), *((f"inputs.cost_model_error.{kind}", errors[kind], ERROR) for kind in errors)]
    for place, found, names in parts:
        if missing := [name for name in names if name not in found]:
            raise InputError(f"{path}: {place}", f"lacks {missing[0]}", expected="the summary of a run")


def stored_requests(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """These columns of a table of requests, one row per request. InputError: it cannot be read, or lacks one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    check_ends(path)
    try:
        with pq.ParquetFile(path.absolute()) as file:
            missing = [name for name in columns if name not in file.schema_arrow.names]
            if not missing:
                read = file.read(list(columns))
                _check_texts(read, path)
                return _of_right_types(read.to_pandas(ignore_metadata=True), path)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(str(path), "there is no such file", expected="the requests of a run") from None
    except (pa.ArrowException, OSError, ValueError) as error:  # text that is not UTF-8 is a ValueError
        found = f"cannot be read ({' '.join(str(error).split())[:200]})"
        raise InputError(str(path), found, expected="the requests of a run") from None
    raise InputError(str(path), f"has no column {missing[0]}", expected="the requests of a run, with it")


def check_agreement(
    path: Path, found: Mapping[str, Any], stated: Mapping[str, Any], source: str, place: str = ""
) -> None:
    """Raise InputError for the first value found in the table of requests `path` that `source` states otherwise."""
    for name, value in found.items():
        said = stated.get(name)
        if isinstance(value, Mapping):
            check_agreement(path, value, said if isinstance(said, Mapping) else {}, source, f"{place}{name}.")
        elif not (value is said is None or _is_close(value, said)):
            raise InputError(str(path), f"has {place}{name} {value}", expected=f"{said}, as in {source}")


def _is_close(value: object, said: object) -> bool:
    """Whether two values are numbers, and the same but for rounding."""
    return isinstance(value, Real) and isinstance(said, Real) and math.isclose(value, said, rel_tol=ROUNDING)


def _check_texts(table: pa.Table, path: Path) -> None:
    """InputError: a column of texts holds others, or lacks some; requests may have no client, and all have no class."""
    from pyarrow import types

    for name in set(TEXTS) & set(table.column_names):
        column = table[name]
        kind = column.type.value_type if types.is_dictionary(column.type) else column.type
        if not (types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind)):
            raise InputError(f"{path}: {name}", f"is a column of {kind}", expected="text")
        if column.null_count and name != "client" and not (name == "class" and column.null_count == len(table)):
            raise InputError(f"{path}: {name}", f"lacks {number_of(column.null_count, 'value')}", expected="text")


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
