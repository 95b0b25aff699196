"""An append-only file of records: what comes back after a kill, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowsim.errors import InputError
from flowsim.io.journal import Journal, read_records

RECORDS = [{"key": "ä", "rows": [1, 2.5, None]}, {"crc32": 7}, {"key": "}", "text": ', "crc32": 3}'}]


def written(path: Path) -> Path:
    with Journal(path) as journal:
        for record in RECORDS:
            journal.append(record)
    return path


def test_records_come_back_in_order_and_by_position(tmp_path: Path) -> None:
    with Journal(written(tmp_path / "j")) as journal:
        found = list(journal.records())
        assert [record for _, record in found] == RECORDS
        assert [journal.read(position) for position, _ in reversed(found)] == RECORDS[::-1]
        assert journal.read(journal.append({"more": 1})) == {"more": 1}
    assert read_records(tmp_path / "j") == [*RECORDS, {"more": 1}]


def test_reading_by_position_does_not_disturb_reading_in_order(tmp_path: Path) -> None:
    with Journal(written(tmp_path / "j")) as journal:
        assert [journal.read(position) for position, _ in journal.records()] == RECORDS


@pytest.mark.parametrize("kept", range(1, 30))
def test_a_line_torn_anywhere_is_dropped(kept: int, tmp_path: Path) -> None:
    path = written(tmp_path / "j")
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:kept])
    assert read_records(path) == RECORDS
    with Journal(path) as journal:
        assert [record for _, record in journal.records()] == RECORDS
        assert path.read_bytes() == whole
        journal.append({"next": 1})
    assert read_records(path) == [*RECORDS, {"next": 1}]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (b"2.5", b"2.4", "was changed after it was written"),
        (b'"key"', b"key", "is not a record of a journal"),
        (b'"crc32": ', b'"crc32": x', "is not a record of a journal"),
        (b"{", b"\xff", "is not a record of a journal"),
        (b"{", b"[{", "is not a record of a journal"),
    ],
)
def test_a_changed_line_is_named(old: bytes, new: bytes, problem: str, tmp_path: Path) -> None:
    path = written(tmp_path / "j")
    first, *rest = path.read_bytes().splitlines(keepends=True)
    assert old in first
    path.write_bytes(b"".join([rest[1], first.replace(old, new, 1), *rest]))
    with Journal(path) as journal, pytest.raises(InputError) as error:
        list(journal.records())
    with pytest.raises(InputError) as again:
        read_records(path)
    assert str(error.value) == str(again.value) == f"{path}: line 2: {problem}"


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"j: cannot be written \(No such file or directory\)"):
        Journal(tmp_path / "absent" / "j")
