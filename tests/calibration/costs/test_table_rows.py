from dataclasses import astuple
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsim.calibration.costs.table_rows import PassRow, csv_of, format_slices, parse_slices, read_csv
from flowsim.errors import InputError


def test_rows_are_csv_without_the_columns_that_no_row_needs(tmp_path: Path) -> None:
    plain, recorded = PassRow("layer", "300@0+700@16", 5.0, 4.0, 6.0, 12), PassRow("none", "5@0", 1.5, 1.0, 2.0, 3, 256)
    assert csv_of(PassRow, [plain]) == (
        "cut,slices,wall_us,wall_us_p10,wall_us_p90,repeats\nlayer,300@0+700@16,5.0,4.0,6.0,12\n"
    )
    path = tmp_path / "passes.csv"
    path.write_text(csv_of(PassRow, [plain, recorded]), encoding="utf-8")
    assert list(map(astuple, read_csv(PassRow, path))) == [astuple(plain), astuple(recorded)]
    assert plain.shape == ((300, 0), (700, 16))


@given(st.lists(st.tuples(st.integers(1, 10**6), st.integers(0, 10**6)), min_size=1))
def test_slices_come_back_from_their_text(slices: list[tuple[int, int]]) -> None:
    assert list(parse_slices(format_slices(slices))) == slices


@pytest.mark.parametrize("text", ["", "512", "0@0", "5@-1", "5@0+", "a@b", "5@0@1"])
def test_slices_of_another_form_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="slices must be tokens@context"):
        parse_slices(text)
