"""The sizes that are measured, and those added where a curve bends."""

import pytest

from flowsim.calibration.costs.models import load_model
from flowsim.calibration.costs.table_rows import parse_slices
from flowsim.calibration.measure.grid import QUICK, Grid, midpoint
from flowsim.errors import InputError


def test_the_shipped_grids_suit_the_shipped_model() -> None:
    longest = load_model("llama3-8b").max_context
    for grid in (Grid(), QUICK):
        assert grid.within(longest) == grid
        assert list(grid.tokens) == sorted(set(grid.tokens))
        solo = {parse_slices(s)[0] for s in (*grid.passes, *grid.checked_passes) if "+" not in s}
        on_grid = {(t, 0) for t in grid.tokens} | {(t, c) for t in grid.chunk_tokens for c in grid.chunk_contexts}
        assert not solo & on_grid
    with pytest.raises(InputError, match="layers must be >= 2, since the first is not timed, got 1"):
        Grid(layers=1)


def test_a_step_in_a_curve_is_bisected_and_a_line_is_not() -> None:
    assert midpoint([(64, 1.0), (128, 2.0), (192, 3.0), (256, 4.0)]) is None
    assert midpoint([(64, 1.0), (128, 2.0), (192, 2.0), (512, 2.0)]) == 160
    assert midpoint([(1, 1.0), (2, 5.0), (4, 1.0)]) is None  # too narrow to matter
