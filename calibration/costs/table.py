"""The operator table: what each operator of a model costs on a GPU, as measured, and how it was measured.

On disk a table is a folder: `provenance.yaml`, `operators.csv` (what a cost model is fitted to) and
`passes.csv` (whole forwards, for stating the error of that fit, never fitted; those that are recorded run as recordings
of which `operators.csv` has the device times).
"""

from __future__ import annotations

import csv
import hashlib
import io
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import yaml

from flowsim.calibration.costs.provenance import as_text, load_provenance
from flowsim.core.timeline import CHECKED_AFTER, LAYER_OPERATORS
from flowsim.errors import InputError, unknown
from flowsim.io.folders import followed

if TYPE_CHECKING:
    import _csv

SCHEMA_VERSION = 1
FILES = ("provenance.yaml", "operators.csv", "passes.csv")
"""What the folder of a table holds."""
LARGEST = 2**40
"""Of sizes, repeats and microseconds."""
MODEL_OPERATORS = ("embed", "head")
"""Before the first layer (by tokens), and after the last (`tokens` = number of sequences sampled)."""
HOST_OPERATORS = ("prepare", "check", "resume", "acknowledge", "decision")
"""Work of the host alone; `flowsim.calibration.measure.calibrate` says what each one is."""
OPTIONAL_HOST_OPERATORS = ("complete", "graph_prepare", "graph_check")
"""More of it, which a table may lack: hearing of a pass's end, and what recorded forwards need (`GraphChecks`)."""
GRAPH, GRAPH_RESTED = "graph", "graph_rested"
"""A whole recorded forward of so many tokens through `pass_layers` layers, on the device alone: on a GPU that others
keep busy; and on one that has rested (`RecordingTimes`), which a table may lack."""
GRAPH_HOST_TOKENS = 256
"""Tokens of recordings up to which what the host takes counts: longer ones may be held up by the power limit."""
ALL_REDUCE = "all_reduce"
"""Of the activations of so many tokens; a layer under tensor parallelism runs two, alike."""
OPERATORS = (
    *(name for name in LAYER_OPERATORS if not name.startswith(ALL_REDUCE)),
    ALL_REDUCE,
    GRAPH,
    GRAPH_RESTED,
    *MODEL_OPERATORS,
    *HOST_OPERATORS,
    *OPTIONAL_HOST_OPERATORS,
)
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class OperatorRow:
    """One operator at one size.

    `device_us`: typical time on the GPU (the mean of the middle half), in place, and two percentiles of it; `host_us`:
    median time that the host takes to launch it.
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
    """One whole forward, checked at every `cut`; `slices` is "tokens@context" joined by "+".

    `wall_us`: typical time from the start of preparing its inputs to the return of the last synchronise; of one that
    waits for the host, and is timed twice for it, the lesser.
    `graph_tokens`: what was recorded; 0 = it was launched operator by operator.
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


class Curve(NamedTuple):
    """The measured sizes of one operator, sorted by (context, tokens); times in seconds."""

    tokens: npt.NDArray[np.int64]
    context: npt.NDArray[np.int64]
    device_s: Floats
    host_s: Floats


@dataclass(frozen=True)
class OperatorTable:
    """Measured costs of one model on one GPU: operators, whole passes, and their provenance."""

    provenance: Mapping[str, Any]
    operators: tuple[OperatorRow, ...]
    passes: tuple[PassRow, ...] = field(default=())

    def curve(self, operator: str) -> Curve:
        """The rows of this operator, sorted by context, then tokens. InputError: it was not measured."""
        rows = sorted((r for r in self.operators if r.operator == operator), key=lambda r: (r.context, r.tokens))
        if not rows:
            raise InputError(f"operators: found no row of {operator}; allowed: at least one")
        for row, following in pairwise(rows):
            if (row.tokens, row.context) == (following.tokens, following.context):
                size = format_slices([(row.tokens, row.context)])
                raise InputError(f"operators: found two rows of {operator} at {size}; allowed: one")
        if operator != "attention" and any(r.context for r in rows):
            raise InputError(f"operator {operator!r}: found a context; allowed: 0, for only attention depends on it")
        return Curve(
            np.array([r.tokens for r in rows], np.int64),
            np.array([r.context for r in rows], np.int64),
            np.array([r.device_us for r in rows]) * 1e-6,
            np.array([r.host_us for r in rows]) * 1e-6,
        )

    def has(self, operator: str) -> bool:
        """Whether this operator was measured."""
        return any(row.operator == operator for row in self.operators)

    def digest(self) -> str:
        """SHA-256 over the content, in hexadecimal: the same for equal tables, on any machine."""
        rows = _to_csv(OperatorRow, self.operators) + _to_csv(PassRow, self.passes)
        return hashlib.sha256((as_text(self.provenance) + rows).encode()).hexdigest()

    def save(self, folder: str | Path) -> None:
        """Write the table as this folder, whole or not at all; a table already there is replaced, a link followed."""
        check_replaceable(folder)
        target = followed(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".table-", dir=target.parent) as staging:
            new = Path(staging) / "new"
            new.mkdir()
            text = yaml.safe_dump(dict(self.provenance), sort_keys=False, allow_unicode=True)
            (new / "provenance.yaml").write_text(text, encoding="utf-8")
            (new / "operators.csv").write_text(_to_csv(OperatorRow, self.operators), encoding="utf-8")
            (new / "passes.csv").write_text(_to_csv(PassRow, self.passes), encoding="utf-8")
            if target.exists():
                target.rename(Path(staging) / "old")
            new.rename(target)

    @classmethod
    def load(cls, folder: str | Path) -> OperatorTable:
        """Read a table from its folder. InputError names the file, the row and the field that is wrong."""
        root = Path(folder)
        if not root.is_dir():
            shipped = "shipped ones are named by --gpu, --model and --tp; where a TABLE is asked for, gpu/model/tpN"
            raise InputError(f"{root}: found no folder; allowed: an operator table ({shipped})")
        about = load_provenance(root / "provenance.yaml", SCHEMA_VERSION)
        operators, passes = _from_csv(OperatorRow, root / "operators.csv"), _from_csv(PassRow, root / "passes.csv")
        return cls(about, tuple(operators), tuple(passes))


def check_replaceable(folder: str | Path) -> None:
    """Raise `InputError` unless a table may be saved as this folder: it is new, empty, or just an operator table."""
    target = Path(folder)
    names = {path.name for path in target.iterdir()} if target.is_dir() else set()
    others = sorted(name for name in names.difference(FILES) if not name.startswith("."))
    if others or (target.exists() and not target.is_dir()):
        raise InputError(f"{target}: holds {others[0] if others else 'a file'}; allowed: a new folder or a table alone")


@dataclass(frozen=True)
class Range:
    """What a table's rows span, in tokens; costs beyond are extrapolated."""

    tokens: int  # of one forward
    chunk_tokens: int  # of a chunk on context
    context: int

    @classmethod
    def of(cls, table: OperatorTable) -> Range:
        """The range of this table."""
        layer = [row for row in table.operators if row.operator in LAYER_OPERATORS]
        chunks = [(row.tokens, row.context) for row in layer if row.context]
        largest, deepest = (max(column) for column in zip(*chunks, strict=True)) if chunks else (0, 0)
        return cls(min(_largest(layer).values(), default=0), largest, deepest)

    def beyond(
        self, tokens: npt.NDArray[np.int64], cached: npt.NDArray[np.int64], forward_tokens: int
    ) -> npt.NDArray[np.bool_]:
        """Whether each prompt of so many tokens, some cached, leaves the range in forwards of `forward_tokens`."""
        computed = tokens - cached
        most = np.minimum(computed, forward_tokens)
        chunk = np.where(cached > 0, most, np.minimum(computed - most, forward_tokens))  # the largest on context
        context = np.where(chunk > 0, cached + (computed - 1) // forward_tokens * forward_tokens, 0)
        beyond: npt.NDArray[np.bool_] = (most > self.tokens) | (chunk > self.chunk_tokens) | (context > self.context)
        return beyond


def _largest(rows: Iterable[OperatorRow]) -> dict[str, int]:
    """The largest size without context of each operator."""
    largest: dict[str, int] = {}
    for row in rows:
        if not row.context:
            largest[row.operator] = max(row.tokens, largest.get(row.operator, 0))
    return largest


def format_slices(slices: Iterable[tuple[int, int]]) -> str:
    """(tokens, context) pairs as text: "300@0+700@0"."""
    return "+".join(f"{tokens}@{context}" for tokens, context in slices)


def parse_slices(text: str) -> tuple[tuple[int, int], ...]:
    """The (tokens, context) pairs in a text such as "300@0+700@0". InputError if it is none."""
    try:
        pairs = tuple((int(tokens), int(context)) for tokens, context in (s.split("@") for s in text.split("+")))
    except ValueError:
        pairs = ()
    if not pairs or any(not 1 <= tokens <= LARGEST or not 0 <= context <= LARGEST for tokens, context in pairs):
        raise InputError(f"slices: found {text!r:.60}; allowed: tokens@context joined by +, as in 512@0+300@1024")
    return pairs


Row = TypeVar("Row", OperatorRow, PassRow)


def _to_csv(kind: type[Row], rows: Iterable[Row]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    rows = list(rows)
    names = [f.name for f in fields(kind) if f.default is MISSING or any(getattr(row, f.name) for row in rows)]
    writer.writerow(names)
    writer.writerows([getattr(row, name) for name in names] for row in rows)
    return out.getvalue()


def _from_csv(kind: type[Row], path: Path) -> Iterator[Row]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    rows = _rows(csv.reader(io.StringIO(text.removeprefix("\ufeff"))), path)
    _, names = next(rows, ("", []))
    if needed := _missing(kind, names):
        raise InputError(f"{path}, row 1: missing columns: {', '.join(needed)}")
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"{path}, row 1: found the column {twice[0]!r} twice; allowed: once")
    for where, row in rows:
        if len(row) != len(names):
            raise InputError(f"{where}: found {len(row)} fields; allowed: the {len(names)} of row 1")
        yield row_of(kind, dict(zip(names, row, strict=True)), where)


def _rows(lines: _csv.Reader, path: Path) -> Iterator[tuple[str, list[str]]]:
    """Where each line that is not empty stands, and its fields."""
    try:
        yield from ((f"{path}, row {lines.line_num}", row) for row in lines if row)
    except csv.Error as error:
        raise InputError(f"{path}, row {lines.line_num + 1}: {error}; allowed: the fields of row 1") from error


def row_of(kind: type[Row], values: Mapping[str, Any], where: str) -> Row:
    """The row of these fields, each a number or the text of one; InputError, which begins with `where`, if it is none.

    Fields that have a default may be missing; those that no row has are left out.
    """
    if needed := _missing(kind, values):
        raise InputError(f"{where}: missing: {', '.join(needed)}")
    present = [f for f in fields(kind) if f.name in values]
    row = kind(**{f.name: _value(where, f.name, str(f.type), values[f.name]) for f in present})
    if (
        isinstance(row, OperatorRow)
        and not row.tokens
        and row.operator not in (*HOST_OPERATORS, *OPTIONAL_HOST_OPERATORS)
    ):
        raise InputError(f"{where}, tokens: found 0; allowed with {row.operator}: a whole number from 1 to 2**40")
    return row


def _missing(kind: type[Row], names: Collection[str]) -> list[str]:
    return [f.name for f in fields(kind) if f.default is MISSING and f.name not in names]


def _value(where: str, name: str, kind: str, found: Any) -> Any:
    """The value of one field, checked; `where` is the file and row for the error."""
    lowest, text = "above 0" if name == "wall_us" else "from 0", str(found)
    allowed = f"a {'' if kind == 'float' else 'whole '}number {lowest} to 2**40"
    try:
        if kind == "str":
            return _text(name, text)
        value = float(text) if kind == "float" else int(text)
        if 0 <= value <= LARGEST and (value or name != "wall_us"):
            return value
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    except ValueError:
        pass
    raise InputError(f"{where}, {name}: found {found!r:.60}; allowed: {allowed}")


def _text(name: str, text: str) -> str:
    if name == "operator" and text not in OPERATORS:
        raise unknown("operator", text, OPERATORS)
    if name == "cut" and text not in CHECKED_AFTER:
        raise unknown("cut", text, CHECKED_AFTER)
    if name == "slices":
        parse_slices(text)
    return text
