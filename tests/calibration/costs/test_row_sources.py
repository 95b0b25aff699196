"""Where the rows of an imported table come from."""

from __future__ import annotations

import pytest

from flowsim.calibration.costs.row_sources import counted, filled_in, source_of
from flowsim.calibration.costs.table_rows import OperatorRow


@pytest.mark.parametrize(
    ("backend", "source", "filled"),
    [
        ("cuBLAS: measured", "measured", False),
        ("NCCL: interpolated", "interpolated", True),
        ("host: copied from h200/llama3-8b/tp1", "copied from h200/llama3-8b/tp1", True),
        ("flash", "flash", False),
    ],
)
def test_a_source_follows_the_kernel(backend: str, source: str, filled: bool) -> None:
    row = OperatorRow("qkv_proj", 1, 0, *([1.0] * 4), 1, backend)
    assert (source_of(row), filled_in(row)) == (source, filled)


def test_rows_copied_from_a_host_are_no_device_rows() -> None:
    cells = {"qkv_proj": {"measured": 3, "utilisation": 1}, "check": {"copied from h200": 5}}
    assert counted(cells) == (3, 4)
