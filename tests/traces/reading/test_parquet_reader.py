"""Parquet files of traces."""

import datetime
import decimal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flowsim.errors import InputError
from flowsim.traces import read_trace


def test_parquet_may_hold_dates_and_decimals(tmp_path):
    days = [datetime.datetime(2023, 11, day, tzinfo=datetime.UTC) for day in (16, 17)]
    columns = {"TIMESTAMP": days, "ContextTokens": [decimal.Decimal(5), decimal.Decimal(6)]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"row 1: ContextTokens must be .*, got Decimal\('5'\)"):
        read_trace(tmp_path / "t.parquet")
    pq.write_table(pa.table(columns | {"ContextTokens": [5, 6]}), tmp_path / "t.parquet")
    assert read_trace(tmp_path / "t.parquet").arrival_s.tolist() == [0, 86400]


def test_a_bad_row_of_parquet_is_named(tmp_path):
    path = tmp_path / "t.parquet"
    pd.DataFrame({"arrival_s": [0.0, 1.0], "input_length": [1, 0]}).to_parquet(path)
    with pytest.raises(
        InputError,
        match=r"t\.parquet: row 2: input_length must be a whole number of tokens from 1 to 2\*\*40 .*, got 0",
    ):
        read_trace(path)
    pd.DataFrame({"arrival_s": [0.0, 1.0], "input_length": [1, None]}).to_parquet(path)
    with pytest.raises(InputError, match=r"row 2: input_length must be .*, got (nan|nothing)"):
        read_trace(path)
    pd.DataFrame({"arrival_s": ["0"], "input_length": [1]}).to_parquet(path)
    with pytest.raises(InputError, match=r"row 1: arrival_s must be .*, got '0'"):
        read_trace(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"t\.parquet: is a damaged Parquet file"):
        read_trace(path)


def test_lists_that_would_take_all_memory_are_refused_unread(tmp_path):
    """A million equal ids in lists take some kilobytes in a file, and are given up before they are read."""
    path = tmp_path / "t.parquet"
    ids = [[0] * 10_000] * 100
    columns = {"timestamp": [float(n) for n in range(100)], "input_length": [1] * 100}
    pq.write_table(pa.table({**columns, "hash_ids": ids}), path)
    with pytest.raises(InputError, match=r"t\.parquet: unpacks to more than 6,553,600 bytes"):
        read_trace(path)
    pq.write_table(pa.table({"arrival_s": columns["timestamp"], "input_length": [1] * 100, "unread": ids}), path)
    assert len(read_trace(path)) == 100
