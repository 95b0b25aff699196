"""The columns of a trace, and what each may hold: one rule for files and for columns built in memory."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowsim.errors import InputError
from flowsim.io.counts import number_of

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]

LARGEST = 2**40
"""The largest length in tokens and the largest time in seconds; anything larger must be in another unit."""
SECONDS = "a finite number of seconds from 0 to 2**40"
LENGTH = "a whole number of tokens from 1 to 2**40"
LENGTH_OR_0 = "a whole number of tokens from 0 (unknown) to 2**40"
CLASS = "a non-empty Unicode string or null"
SLO = "a finite number of seconds > 0 and <= 2**40, or null"
MEASURED = ("ttft_s", "latency_s")
"""What a real server took, seconds."""
ROW_COLUMNS = ("input_length", "output_length", "class_code", "slo_s", "priority", "client_code", *MEASURED)
"""The columns that stay with a request when rows are sorted, drawn or joined; so do `blocks` and `chats`."""
ABSENT = {"slo_s": math.nan, "priority": 0, "client_code": -1, **dict.fromkeys(MEASURED, math.nan)}
"""The value of an optional column where it is unknown."""
PRIORITY = "a whole number from -2**63 to 2**63 - 1, or null"
SURROGATE = re.compile("[\ud800-\udfff]")
"""Half of a character: JSON can escape it, but no UTF-8 file can hold it."""


def bad_seconds(values: Floats) -> Bools:
    """Mask of the values that are not `SECONDS`."""
    good: Bools = (values >= 0) & (values <= LARGEST)
    return ~good


def bad_lengths_or_0(values: Floats) -> Bools:
    """Mask of the values that are not `LENGTH_OR_0`."""
    whole: Bools = np.floor(values) == values
    bad: Bools = bad_seconds(values) | ~whole
    return bad


def bad_lengths(values: Floats) -> Bools:
    """Mask of the values that are not `LENGTH`."""
    bad: Bools = bad_lengths_or_0(values) | (values == 0)
    return bad


def bad_slos(values: Floats) -> Bools:
    """Mask of the values that are not `SLO`; NaN stands for null."""
    bad: Bools = (values <= 0) | (values > LARGEST)
    return bad


def encode_names(names: Iterable[object], codes: dict[str, int], column_name: str) -> Ints:
    """Names of classes or clients as numbers, None as -1. A name not yet in `codes` is added with the next number.

    Raises:
        InputError: a name is neither None nor a non-empty Unicode string.
    """
    column = []
    for row, name in enumerate(names):
        if name is None:
            column.append(-1)
        elif isinstance(name, str) and name and not SURROGATE.search(name):
            column.append(codes.setdefault(name, len(codes)))
        else:
            raise InputError(f"{column_name}[{row}]", found=name, expected=CLASS)
    return np.array(column, dtype=np.int64)


def coded_names(column: str, names: Sequence[str | None] | None, n: int) -> tuple[Ints, tuple[str, ...]]:
    """Codes of the names of n requests, and the names; -1 for all if no names are given."""
    codes: dict[str, int] = {}
    coded = np.full(n, -1) if names is None else encode_names(names, codes, column)
    return coded, tuple(codes)


def whole_column(name: str, values: ArrayLike) -> Ints:
    """A column of `PRIORITY`. Raises InputError if the values are not whole numbers."""
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InputError(name, f"is an array of {array.dtype} of shape {list(array.shape)}", expected=PRIORITY)
    return array.astype(np.int64)


def number_column(name: str, values: ArrayLike, bad: Callable[[Floats], Bools], expected: str) -> Floats:
    """A column of numbers. Raises InputError for one that is `bad`, or if they are not one number per request."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InputError(name, "holds lists of different lengths", expected="one number per request") from error
    if array.ndim != 1 or array.dtype.kind not in "iuf":
        found = f"is an array of {array.dtype} of shape {list(array.shape)}"
        raise InputError(name, found, expected="one number per request")
    numbers = array.astype(np.float64)
    wrong = bad(numbers)
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(f"{name}[{row}]", found=array[row].item(), expected=expected)
    return numbers


def checked_columns(given: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of `Trace.from_columns` from those of `Trace.of`, of which all but two may be None.

    Raises:
        InputError: names the column and the row of the first bad value, or the column of the wrong length.
    """
    inputs = number_column("input_length", given["input_length"], bad_lengths, LENGTH).astype(np.int64)
    columns: dict[str, Any] = {
        "arrival_s": number_column("arrival_s", given["arrival_s"], bad_seconds, SECONDS),
        "input_length": inputs,
        "output_length": np.zeros_like(inputs),
        **{name: np.full(inputs.size, math.nan) for name in ("slo_s", *MEASURED)},
        "priority": np.zeros_like(inputs),
    }
    if (lengths := given["output_length"]) is not None:
        column = number_column("output_length", lengths, bad_lengths_or_0, LENGTH_OR_0)
        columns["output_length"] = column.astype(np.int64)
    for name in ("slo_s", *MEASURED):
        if given[name] is not None:
            columns[name] = number_column(name, given[name], bad_slos, SLO)
    if given["priority"] is not None:
        columns["priority"] = whole_column("priority", given["priority"])
    named = {name: coded_names(name, given[name], inputs.size) for name in ("classes", "clients")}
    n = columns["arrival_s"].size
    for name, array in {**columns, **{name: codes for name, (codes, _) in named.items()}}.items():
        if array.size != n:
            raise InputError(name, f"has {number_of(array.size, 'value')}", expected=f"{n}, as in arrival_s")
    (class_code, class_names), (client_code, client_names) = named.values()
    return columns | {
        "class_code": class_code,
        "class_names": class_names,
        "client_code": client_code,
        "client_names": client_names,
    }


@dataclass(frozen=True, eq=False)
class Blocks:
    """The prefix blocks of n requests: equal ids stand for equal tokens preceded by equal tokens.

    Request i has the blocks `ids[offsets[i]:offsets[i + 1]]`, in the order of its tokens; the last may be partly
    filled.
    """

    tokens: int
    """Tokens in a full block."""
    ids: Ints
    offsets: Ints
    """Shape [n + 1], from 0 to the number of ids."""

    @classmethod
    def of(cls, tokens: int, ids: Ints, counts: Ints) -> Blocks:
        """Blocks from the ids of all requests, concatenated, and the number of blocks of each request."""
        return cls(tokens, ids, np.append(0, np.cumsum(counts)))

    @property
    def counts(self) -> Ints:
        """Number of blocks of each request, shape [n]."""
        return np.diff(self.offsets)

    def take(self, rows: Ints) -> Blocks:
        """The blocks of these requests; none for a row of -1."""
        known = np.maximum(rows, 0)
        counts = np.where(rows < 0, 0, self.counts[known])
        starts = np.repeat(self.offsets[known], counts)
        places = starts + np.arange(starts.size) - np.repeat(np.cumsum(counts) - counts, counts)
        return Blocks.of(self.tokens, self.ids[places], counts)


@dataclass(frozen=True, eq=False)
class Chats:
    """The conversations of n requests, each column of shape [n]; -1 = unknown or none."""

    chat_id: Ints
    parent_chat_id: Ints
    """`chat_id` of the request whose answer this one continues."""
    turn: Ints
    """1 for the first request of a conversation."""

    def take(self, rows: Ints) -> Chats:
        """The conversations of these requests; unknown for a row of -1."""
        columns = (getattr(self, field.name) for field in fields(self))
        return Chats(*(np.where(rows < 0, -1, column[np.maximum(rows, 0)]) for column in columns))

    def parents(self) -> Ints:
        """Row of each request's parent in the same trace, shape [n]; -1 where the trace does not have it."""
        order = np.argsort(self.chat_id, kind="stable")
        place = np.minimum(np.searchsorted(self.chat_id, self.parent_chat_id, sorter=order), order.size - 1)
        found = (self.parent_chat_id >= 0) & (self.chat_id[order[place]] == self.parent_chat_id)
        return np.where(found, order[place], -1)
