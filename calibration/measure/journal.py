"""The journal of a calibration: what has been measured so far, kept in a file so that a restart goes on from there."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flowsim.calibration.costs.table import OPERATORS, OperatorRow
from flowsim.calibration.gpu.memory import ran_out
from flowsim.core.timeline import CHECKED_AFTER
from flowsim.errors import InputError

Progress = Callable[[int, int, str], None]
"""Called with (done, total, what) after every size."""
Rows = list[dict[str, Any]]
ANEW = "delete it to measure all anew"


class Journal:
    """Finished sizes, by key: kept in memory and in a file, a JSON line with a checksum each, to be read back."""

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
            self._write({"key": key, "rows": rows, "crc32": _sum(key, rows)})
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
            found = dict(first["calibration"])
            lines = [(str(line["key"]), line["rows"], line["crc32"]) for line in rest]
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            allowed = f"a journal as it was left, or none ({ANEW})"
            raise InputError(f"{path}: not the journal of a calibration; allowed: {allowed}") from error
        if found != identity:
            other = ", ".join(sorted(k for k in {*identity, *found} if found.get(k) != identity.get(k)))
            raise InputError(f"{path}: the journal of another calibration (other {other}); allowed: none ({ANEW})")
        for number, (key, rows, crc32) in enumerate(lines, 2):
            if crc32 != _sum(key, rows):
                raise InputError(f"{path}, line {number}: found {key!r} changed; allowed: as it was left ({ANEW})")
            self.rows[key] = rows
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


def _sum(key: str, rows: Any) -> int:
    return zlib.crc32(json.dumps([key, rows]).encode())
