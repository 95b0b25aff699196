"""Curves through measured points, which never fall."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsim.calibration.costs.curves import Curve, isotonic

measured = st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=12)


@given(measured, st.lists(st.floats(0.0, 200.0), min_size=2, max_size=20))
def test_a_curve_never_falls(values: list[float], sizes: list[float]) -> None:
    curve = Curve(np.arange(1, len(values) + 1) * 8, np.array(values))
    costs = [curve(size) for size in sorted(sizes)]
    assert all(0.0 <= a <= b + 1e-12 for a, b in pairwise(costs))


@given(measured)
def test_a_curve_goes_through_points_that_do_not_fall(values: list[float]) -> None:
    sizes, ordered = np.arange(1, len(values) + 1) * 8, sorted(values)
    curve = Curve(sizes, np.array(ordered))
    assert [curve(size) for size in sizes.tolist()] == pytest.approx(ordered)


def test_a_curve_is_straight_between_points_and_outside_them() -> None:
    curve = Curve(np.array([10, 20, 40]), np.array([1.0, 3.0, 4.0]))
    assert [curve(size) for size in (10, 15, 20, 30, 40)] == [1.0, 2.0, 3.0, 3.5, 4.0]
    assert [curve(size) for size in (60, 80, 1000)] == pytest.approx([5.0, 6.0, 52.0])
    assert [curve(size) for size in (8, 5, 0)] == pytest.approx([0.6, 0.0, 0.0])
    assert Curve(np.array([10]), np.array([2.0]))(99) == 2.0


@given(measured, st.integers(0, 150))
def test_a_tabulated_curve_is_the_same_curve(values: list[float], size: int) -> None:
    sizes = np.arange(1, len(values) + 1) * 8
    plain, tabulated = Curve(sizes, np.array(values)), Curve(sizes, np.array(values), tabulate=100)
    assert tabulated(size) == pytest.approx(plain(size), rel=1e-12, abs=1e-15)


@given(st.lists(st.floats(1e-6, 10.0), min_size=1, max_size=20))
def test_isotonic_keeps_what_is_in_order_and_pools_the_rest(values: list[float]) -> None:
    found = isotonic(np.array(values))
    assert all(a <= b for a, b in pairwise(found))
    assert min(values) * (1 - 1e-9) <= found[0] <= found[-1] <= max(values) * (1 + 1e-9)
    assert isotonic(np.array(found)) == pytest.approx(found)
    assert isotonic(np.array(sorted(values))) == pytest.approx(sorted(values))


def test_isotonic_pools_by_inverse_weights() -> None:
    assert isotonic(np.array([1.0, 4.0, 2.0, 8.0])) == pytest.approx([1.0, 8 / 3, 8 / 3, 8.0])
