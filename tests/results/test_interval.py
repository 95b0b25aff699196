"""Intervals as values: how they are written, scaled and cut."""

from __future__ import annotations

import math

from flowsim.results.interval import Interval, unknown_interval
from flowsim.studies.paired import t_interval


def test_an_interval_is_written_with_its_bounds_if_they_are_known() -> None:
    assert str(Interval(3.2, 2.9, 3.5, 4)) == "3.2 [2.9, 3.5]"
    assert Interval(3.2, 2.9, 3.5, 4).bounds("{:+.2f}") == "[+2.90, +3.50]"
    unknown = unknown_interval(3.2, 1)
    assert (str(unknown), unknown.bounds("{:.1f}")) == ("3.2", "-")


def test_equal_values_are_not_shown_as_an_exact_result() -> None:
    found = t_interval([0.93, 0.93, 0.93])
    assert (found.low, found.high) == (0.93, 0.93)
    assert found.scaled(100).format("{:.1f}") == "93.0 (all 3 equal)"
    assert t_interval([0.93, 0.94]).format("{:.3f}").endswith("]")


def test_an_interval_is_scaled_whole() -> None:
    assert Interval(0.5, 0.25, 0.75, 4).scaled(100) == Interval(50, 25, 75, 4)


def test_an_interval_is_cut_to_where_the_true_value_can_lie() -> None:
    assert Interval(0.99, 0.9, 1.08, 5).within(0, 1) == Interval(0.99, 0.9, 1.0, 5)
    assert Interval(0.1, -0.2, 0.4, 5).within(0) == Interval(0.1, 0.0, 0.4, 5)
    assert Interval(0.5, 0.4, 0.6, 5).within(0, 1) == Interval(0.5, 0.4, 0.6, 5)
    assert math.isnan(unknown_interval(0.5, 1).within(0, 1).low)
