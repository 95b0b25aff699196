"""Rows in Parquet files."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flowsim.io import parquet
from flowsim.io.parquet import arrow_table, column_kinds, write_rows


def test_a_column_has_one_kind_and_texts_win() -> None:
    kinds = column_kinds([{"a": 1, "b": None}, {"a": 2.5}, {"c": None}])
    assert kinds == {"a": "float64", "b": "string", "c": "string"}
    assert column_kinds([{"a": True}, {"a": 2}, {"a": None}]) == {"a": "string"}
    assert arrow_table([{"a": True}, {"a": 2.0}, {"a": "x"}], {"a": "string"})["a"].to_pylist() == ["true", "2", "x"]


def test_rows_are_written_a_part_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROWS_AT_ONCE", 2)
    rows = [{"a": 1}, {"a": None, "b": "x"}, {"a": 3}]
    write_rows(tmp_path / "rows.parquet", lambda: rows)
    file = pq.ParquetFile(tmp_path / "rows.parquet")
    assert file.num_row_groups == 2
    assert file.read().to_pylist() == [{"a": 1, "b": None}, {"a": None, "b": "x"}, {"a": 3, "b": None}]
    with pytest.raises(KeyError):
        write_rows(tmp_path / "rows.parquet", lambda: [{"a": []}])
    assert len(pq.read_table(tmp_path / "rows.parquet")) == 3
