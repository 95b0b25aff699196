"""The log of a calibration: what has been measured so far, kept in a journal so that a restart continues from there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from flowsim.calibration.costs.table_rows import OPERATORS, OperatorRow
from flowsim.calibration.gpu.memory import ran_out
from flowsim.core.operators import CHECKED_AFTER
from flowsim.errors import InputError
from flowsim.io.journal import Journal, Record
from flowsim.io.progress import Progress

Rows = list[dict[str, Any]]
RESTART = "the journal of this calibration; delete it to measure everything again"


class MeasurementLog:
    """Rows of finished sizes, by key, in memory and in a journal if there is one; a context manager.

    Args:
        path: the journal; None to keep none.
        identity: what is measured, on what and how; a journal is continued only by a calibration with the same one.
        progress: called with (done, total, what) after every size.

    Attributes:
        rows: by key.
        total: how many keys there will be, for `progress`.

    Raises:
        InputError: the file is not the journal of this calibration, was changed, or cannot be read or written.
    """

    def __init__(self, path: str | Path | None, identity: Mapping[str, Any], progress: Progress) -> None:
        self.rows: dict[str, Rows] = {}
        self.total = 0
        self._done = 0
        self._progress = progress
        self._journal: Journal | None = None
        if path:
            self._open(Path(path), json.loads(json.dumps(identity)))

    def __enter__(self) -> MeasurementLog:
        return self

    def __exit__(self, *error: object) -> None:
        if self._journal:
            self._journal.close()

    def do(self, key: str, measure: Callable[..., Rows], *args: Any) -> Rows:
        """The rows of this key: those logged, or else `measure(*args)`; running out of memory becomes a note."""
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
            if self._journal:
                self._journal.append({"key": key, "rows": rows})
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
        """The notes of all rows, each after its key."""
        return [f"{key}: {row['note']}" for key, rows in self.rows.items() for row in rows if "note" in row]

    def _open(self, path: Path, identity: Any) -> None:
        if path.exists() and not path.is_file():
            raise InputError(str(path), "is not a file", expected="the journal of a calibration")
        path.parent.mkdir(parents=True, exist_ok=True)
        journal = Journal(path)
        try:
            self._read(journal, identity)
        except BaseException:
            journal.close()
            raise
        self._journal = journal

    def _read(self, journal: Journal, identity: Any) -> None:
        """Take what the journal holds; begin it if it is empty."""
        records = self._records(journal)
        first = next(records, None)
        if first is None:
            journal.append({"calibration": identity})
            return
        found = first.get("calibration")
        if not isinstance(found, dict):
            raise InputError(str(journal.path), "is not the journal of a calibration", expected=RESTART)
        if found != identity:
            other = ", ".join(sorted(k for k in {*identity, *found} if found.get(k) != identity.get(k)))
            raise InputError(
                str(journal.path), f"is the journal of another calibration (other {other})", expected=RESTART
            )
        self.rows = {record["key"]: record["rows"] for record in records}

    def _records(self, journal: Journal) -> Iterator[Record]:
        try:
            yield from (record for _, record in journal.records())
        except InputError as error:
            raise error.at(error.where, expected=RESTART) from error


def _order(row: Any) -> tuple[Any, ...]:
    """Operators in the order in which they run, by context and tokens; passes by cut, then by length."""
    if isinstance(row, OperatorRow):
        return OPERATORS.index(row.operator), row.context, row.tokens
    return list(CHECKED_AFTER).index(row.cut), sum(t for t, _ in row.shape), row.slices
