"""The rows of an operator table: one per operator and size, or per whole pass, and their form as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from flowsim.calibration.costs.models import LARGEST
from flowsim.core.operators import CHECKED_AFTER, LAYER_OPERATORS
from flowsim.errors import InputError, unknown
from flowsim.io.counts import number_of
from flowsim.io.folders import check_ends

if TYPE_CHECKING:
    import _csv

MODEL_OPERATORS = ("embed", "head")
"""Before the first layer (by tokens), and after the last (`tokens` = number of sequences sampled)."""
HOST_OPERATORS = ("prepare", "check", "resume", "acknowledge", "decision")
"""Work of the host alone; `CostModel` says what each one is."""
OPTIONAL_HOST_OPERATORS = ("complete", "proceed", "graph_prepare", "graph_check")
"""More work of the host, which a table may lack: noticing the end of a pass, running on after a stop at a cut, and what
recorded forwards need."""
GRAPH, GRAPH_RESTED = "graph", "graph_rested"
"""A whole forward recorded as a CUDA graph, through `pass_layers` layers, on the device alone: right after heavy work,
when the power limit holds; and after a pause, when it does not yet, which a table may lack (`RecordingTimes`)."""
GRAPH_HOST_TOKENS = 256
"""Recordings up to this size give the host times: longer ones may be slowed by the power limit."""
ALL_REDUCE = "all_reduce"
"""Of the activations; a layer under tensor parallelism runs two equal ones."""
OPERATORS = (
    *(name for name in LAYER_OPERATORS if not name.startswith(ALL_REDUCE)),
    ALL_REDUCE,
    GRAPH,
    GRAPH_RESTED,
    *MODEL_OPERATORS,
    *HOST_OPERATORS,
    *OPTIONAL_HOST_OPERATORS,
)


@dataclass(frozen=True, slots=True)
class OperatorRow:
    """One operator at one size.

    Attributes:
        operator: one of OPERATORS.
        tokens: of the pass; of "head", the number of sequences.
        context: tokens before them, for attention.
        device_us: typical time on the GPU, microseconds: the mean of the middle half of the samples.
        device_us_p10: their 10th percentile.
        device_us_p90: their 90th percentile.
        host_us: median time that the host takes to launch it.
        repeats: number of samples.
        backend: the kernel or library; in an imported table, also where the row comes from (`row_sources`).
    """

    operator: str
    tokens: int
    context: int
    device_us: float
    device_us_p10: float
    device_us_p90: float
    host_us: float
    repeats: int
    backend: str


@dataclass(frozen=True, slots=True)
class PassRow:
    """One whole forward.

    Attributes:
        cut: where it was checked.
        slices: "tokens@context" of each sequence, joined by "+".
        wall_us: typical time from the start of preparing its inputs to the return of the last synchronise,
            microseconds; a pass that waits for the host is timed twice, and the lesser time counts.
        wall_us_p10: the 10th percentile.
        wall_us_p90: the 90th percentile.
        repeats: number of samples.
        graph_tokens: largest size that was recorded as a CUDA graph; 0 = launched operator by operator.
    """

    cut: str
    slices: str
    wall_us: float
    wall_us_p10: float
    wall_us_p90: float
    repeats: int
    graph_tokens: int = 0

    @property
    def shape(self) -> tuple[tuple[int, int], ...]:
        """The slices as (tokens, context) pairs."""
        return parse_slices(self.slices)


def format_slices(slices: Iterable[tuple[int, int]]) -> str:
    """(tokens, context) pairs as text: "300@0+700@0"."""
    return "+".join(f"{tokens}@{context}" for tokens, context in slices)


def parse_slices(text: str) -> tuple[tuple[int, int], ...]:
    """The (tokens, context) pairs in text such as "300@0+700@0". InputError if it has another form."""
    try:
        pairs = tuple((int(tokens), int(context)) for tokens, context in (s.split("@") for s in text.split("+")))
    except ValueError:
        pairs = ()
    if not pairs or any(not 1 <= tokens <= LARGEST or not 0 <= context <= LARGEST for tokens, context in pairs):
        raise InputError("slices", found=text, expected="tokens@context joined by +, as in 512@0+300@1024")
    return pairs


Row = TypeVar("Row", OperatorRow, PassRow)
TYPES = {kind: {f.name: str(f.type) for f in fields(kind)} for kind in (OperatorRow, PassRow)}
"""The type of each field of a row."""


def csv_of(kind: type[Row], rows: Iterable[Row]) -> str:
    """Rows as CSV, with a line of names; without the fields that may be missing and that no row has."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    rows = list(rows)
    names = [f.name for f in fields(kind) if f.default is MISSING or any(getattr(row, f.name) for row in rows)]
    writer.writerow(names)
    writer.writerows(map(attrgetter(*names), rows))
    return out.getvalue()


def read_csv(kind: type[Row], path: Path) -> Iterator[Row]:
    """The rows in a file. InputError names the file, the row and the field that is wrong."""
    check_ends(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(str(path), f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
    rows = _rows(csv.reader(io.StringIO(text.removeprefix("\ufeff"))), path)
    _, names = next(rows, ("", []))
    if needed := _missing(kind, names):
        raise InputError(f"{path}: row 1", f"lacks the columns {', '.join(needed)}")
    if repeated := [name for name in names if names.count(name) > 1]:
        raise InputError(f"{path}: row 1", f"the column {repeated[0]!r} is repeated")
    for where, row in rows:
        if len(row) != len(names):
            raise InputError(where, f"has {number_of(len(row), 'field')}", expected=f"{len(names)}, as in row 1")
        try:
            yield row_of(kind, dict(zip(names, row, strict=True)))
        except InputError as error:
            raise error.within(where) from None


def _rows(lines: _csv.Reader, path: Path) -> Iterator[tuple[str, list[str]]]:
    """The place and the fields of each line that is not empty."""
    try:
        yield from ((f"{path}: row {lines.line_num}", row) for row in lines if row)
    except csv.Error as error:
        raise InputError(f"{path}: row {lines.line_num + 1}", f"is not CSV: {error}") from error


def row_of(kind: type[Row], values: Mapping[str, str]) -> Row:
    """The row whose fields these texts are. InputError names the field that is wrong.

    Fields that have a default may be missing; fields that no row has are ignored.
    """
    row = kind(**{name: _value(name, type_, values[name]) for name, type_ in TYPES[kind].items() if name in values})
    if isinstance(row, OperatorRow) and not row.tokens and row.operator not in HOST_OPERATORS + OPTIONAL_HOST_OPERATORS:
        raise InputError("tokens", found=0, expected=f">= 1 for {row.operator}")
    return row


def _missing(kind: type[Row], names: Collection[str]) -> list[str]:
    return [f.name for f in fields(kind) if f.default is MISSING and f.name not in names]


def _value(name: str, kind: str, text: str) -> Any:
    """The value of one field, checked."""
    if kind == "str":
        return _text(name, text)
    try:
        value = float(text) if kind == "float" else int(text)
    except ValueError:
        value = -1
    if 0 <= value <= LARGEST and (value or name != "wall_us"):
        return value
    number = "a number" if kind == "float" else "a whole number"
    raise InputError(name, found=text, expected=f"{number} {'> 0' if name == 'wall_us' else '>= 0'} and <= 10^12")


def _text(name: str, text: str) -> str:
    if name == "operator" and text not in OPERATORS:
        raise unknown("operator", text, OPERATORS)
    if name == "cut" and text not in CHECKED_AFTER:
        raise unknown("cut", text, CHECKED_AFTER)
    if name == "slices":
        parse_slices(text)
    return text
