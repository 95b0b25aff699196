"""Rows of an operator table from samples."""

from __future__ import annotations

import pytest

from flowsim.calibration.measure.rows import host_row, in_microseconds, operator_row, pass_row

SAMPLES = [1e-6 * n for n in (10, 11, 12, 13, 90)]


def test_a_row_has_the_typical_time_and_its_percentiles_in_microseconds() -> None:
    row = operator_row("qkv_proj", 64, 0, SAMPLES, [4e-6, 2e-6, 3e-6], "cuBLAS")
    assert (row["operator"], row["tokens"], row["repeats"], row["backend"]) == ("qkv_proj", 64, 5, "cuBLAS")
    assert (row["device_us"], row["host_us"]) == (pytest.approx(12.0, abs=0.5), 3.0)
    assert (row["device_us_p10"], row["device_us_p90"]) == (10.4, 59.2)


def test_the_host_alone_takes_no_time_of_the_device() -> None:
    row = host_row("check", 1, [5e-6, 7e-6, 6e-6])
    assert (row["device_us"], row["host_us"], row["repeats"], row["backend"]) == (0.0, 6.0, 3, "host")


def test_a_pass_has_the_time_of_its_samples() -> None:
    row = pass_row("block", "512@0", SAMPLES, graph_tokens=64)
    assert (row["cut"], row["slices"], row["repeats"], row["graph_tokens"]) == ("block", "512@0", 5, 64)
    assert in_microseconds({"a": 1.23456789e-3}) == {"a": 1234.568}
