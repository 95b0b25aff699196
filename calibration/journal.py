"""The journal of a calibration: what has been measured so far, kept in a file so that a restart goes on from there."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flowsim.calibration.memory import ran_out
from flowsim.calibration.table import OPERATORS, OperatorRow, PassRow, row_of
from flowsim.errors import InputError, unknown
from flowsim.forward import CHECKED_AFTER
from flowsim.typed import fits, said

Progress = Callable[[int, int, str], None]
"""Called with (done, total, what) after every size."""
Rows = list[dict[str, Any]]
TABLE_ROWS = {"operator": OperatorRow, "cut": PassRow}
"""Rows of the table to be, by a field that no others have."""
OTHERS: Mapping[str, Any] = {
    "note": str,
    "working": Sequence[str],
    "winner": str,
    "device_us": Mapping[str, float],
    "first_call_us": Mapping[str, float],
    "calls": (str, int),
    "expert_load": (int, float),
    "gain": (int, float),
    "course": (int, Sequence[Sequence[Sequence[float]]]),
}
"""What other rows hold, by type; two types are those of a pair."""
ANEW = "delete it to measure all anew"


class Journal:
    """Finished sizes, by key: kept in memory and, one JSON line each, in a file from which they are read back."""

    def __init__(self, path: str | Path | None, identity: Mapping[str, Any], progress: Progress) -> None:
        self.rows: dict[str, Rows] = {}
        self.total = 0
        self._done = 0
        self._progress = progress
        self._path = Path(path) if path else None
        if self._path:
            self._open(self._path, json.loads(json.dumps(identity)))

    def do(self, key: str, measure: Callable[..., Rows], *args: Any) -> Rows:
        """The rows of this key, from `measure(*args)` unless they are at hand; out of memory becomes a note."""
        import torch

        if key not in self.rows:
            try:
                rows = measure(*args)
            except (RuntimeError, MemoryError) as error:
                if not ran_out(error):
                    raise
                rows = [{"note": "skipped: out of memory"}]
                torch.cuda.empty_cache()
            self.rows[key] = rows
            self._write({"key": key, "rows": rows})
        self._done += 1
        self._progress(self._done, self.total, key)
        return self.rows[key]

    def collect(self, kind: type[Any], mark: str) -> tuple[Any, ...]:
        """All rows that have the field `mark`, as `kind`, in a fixed order."""
        found = [kind(**row) for rows in self.rows.values() for row in rows if mark in row]
        return tuple(sorted(found, key=_order))

    def mapping(self, mark: str) -> dict[Any, Any]:
        """All (key, value) pairs that rows hold under `mark`, by ascending key."""
        return dict(sorted(row[mark] for rows in self.rows.values() for row in rows if mark in row))

    def notes(self) -> list[str]:
        """What rows note, each behind its key."""
        return [f"{key}: {row['note']}" for key, rows in self.rows.items() for row in rows if "note" in row]

    def _open(self, path: Path, identity: Any) -> None:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._write({"calibration": identity})
            return
        if not path.is_file():
            raise InputError(f"{path}: is no file; allowed: the journal of a calibration, or nothing")
        try:
            text = path.read_text(encoding="utf-8")
            whole = text[: text.rfind("\n") + 1]  # less a line torn by an interruption
            first, *rest = [json.loads(line) for line in whole.splitlines()]
            found, lines = dict(first["calibration"]), [(str(line["key"]), line["rows"]) for line in rest]
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            allowed = f"a journal as it was left, or none ({ANEW})"
            raise InputError(f"{path}: not the journal of a calibration; allowed: {allowed}") from error
        if found != identity:
            other = ", ".join(sorted(k for k in identity if found.get(k) != identity[k]))
            raise InputError(f"{path}: the journal of another calibration (other {other}); allowed: none ({ANEW})")
        self.rows = {key: _checked(rows, f"{path}, line {number}") for number, (key, rows) in enumerate(lines, 2)}
        if whole != text:
            path.write_text(whole, encoding="utf-8")

    def _write(self, line: Mapping[str, Any]) -> None:
        if self._path:
            try:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
            except OSError as error:
                raise InputError(f"{self._path}: cannot be written ({error.strerror})") from error


def _order(row: Any) -> tuple[Any, ...]:
    """Operators in the order in which they run, by context and tokens; passes by cut, in order of length."""
    if isinstance(row, OperatorRow):
        return OPERATORS.index(row.operator), row.context, row.tokens
    return list(CHECKED_AFTER).index(row.cut), sum(t for t, _ in row.shape), row.slices


def _checked(rows: Any, where: str) -> Rows:
    """The rows of one line, as they were written. InputError: they were changed."""
    try:
        if not rows or not fits(rows, Sequence[Mapping[str, Any]]):
            raise InputError(f"{where}, rows: found {rows!r:.60}; allowed: a list of rows")
        return [_row(row, where) for row in rows]
    except InputError as error:
        raise InputError(f"{error}; or no journal ({ANEW})") from error


def _row(row: dict[str, Any], where: str) -> dict[str, Any]:
    for mark, kind in TABLE_ROWS.items():
        if mark in row:
            return asdict(row_of(kind, row, where))
    for mark, value in row.items():
        if mark not in OTHERS:
            raise InputError(f"{where}: {unknown('field', mark, OTHERS)}")
        if not _is(value, hint := OTHERS[mark]):
            allowed = f"a pair of {said(hint[0])} and {said(hint[1])}" if isinstance(hint, tuple) else said(hint)
            raise InputError(f"{where}, {mark}: found {value!r:.60}; allowed: {allowed}")
    return row


def _is(value: Any, hint: Any) -> bool:
    """Whether a value is of this type, or a pair of these two; a gain may be below 0."""
    if isinstance(hint, tuple):
        return isinstance(value, list) and len(value) == 2 and all(map(_is, value, hint))
    return fits(abs(value) if type(value) is float else value, hint)
