"""Curves through measured points, which never fall."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsim.calibration.costs.curves import (
    AttentionCurve,
    ChunkedAttention,
    Curve,
    WindowedAttention,
    isotonic,
    query_key_pairs,
    windowed_pairs,
)

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


@given(st.integers(1, 300), st.integers(0, 300), st.integers(1, 300))
def test_a_window_has_the_pairs_of_each_query(tokens: int, context: int, window: int) -> None:
    assert windowed_pairs(tokens, context, window) == sum(min(context + i, window) for i in range(1, tokens + 1))


SIZES = np.array([1, 1000, 4000, 16000])
LINEAR = AttentionCurve(
    np.tile(SIZES, 2),
    np.repeat([0, 16000], 4),
    np.concatenate([query_key_pairs(SIZES, 0), query_key_pairs(SIZES, 16000)]) * 1e-9,
)
"""A nanosecond for each pair."""


@pytest.mark.parametrize(
    ("tokens", "context", "seen"),
    [
        (500, 300, 500 * 300 + 500 * 501 / 2),  # all is in the window of 896 and the tile of 128
        (1000, 16000, 1000 * 1024),
        (4000, 0, 1024 * 1025 / 2 + 2976 * 1024),
        (4000, 2000, 4000 * 1024),
    ],
)
def test_windowed_attention_costs_what_its_pairs_cost(tokens: int, context: int, seen: float) -> None:
    assert WindowedAttention(LINEAR, 896, 1.0)(tokens, context) == pytest.approx(seen * 1e-9, rel=1e-3)
    whole_s = query_key_pairs(tokens, context) * 1e-9
    assert LINEAR(tokens, context) == pytest.approx(whole_s)
    mean_s = 0.75 * whole_s + 0.25 * seen * 1e-9
    assert WindowedAttention(LINEAR, 896, 0.25)(tokens, context) == pytest.approx(mean_s, rel=1e-3)


@pytest.mark.parametrize(
    ("tokens", "context", "parts"),
    [
        (500, 300, [(500, 300)]),  # within one chunk of 1000
        (500, 2300, [(500, 300)]),
        (1000, 0, [(1000, 0)]),
        (3500, 0, [(1000, 0)] * 3 + [(500, 0)]),
        (2500, 700, [(300, 700), (1000, 0), (1000, 0), (200, 0)]),
    ],
)
def test_attention_in_chunks_costs_what_its_parts_cost(tokens: int, context: int, parts: list[tuple[int, int]]) -> None:
    seen_s = sum(query_key_pairs(*part) for part in parts) * 1e-9
    assert ChunkedAttention(LINEAR, 1000, 1.0)(tokens, context) == pytest.approx(seen_s, rel=1e-3)
    mean_s = 0.75 * LINEAR(tokens, context) + 0.25 * seen_s
    assert ChunkedAttention(LINEAR, 1000, 0.25)(tokens, context) == pytest.approx(mean_s, rel=1e-3)
