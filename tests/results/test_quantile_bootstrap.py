"""Differences of quantiles and their intervals, on series whose quantiles NumPy gives."""

from __future__ import annotations

import math

import numpy as np
import pytest

from flowsim.results.quantile_bootstrap import quantile_differences


def test_a_quantile_that_is_never_reached_has_no_difference() -> None:
    ours = np.array([1.0] * 80 + [math.inf] * 20)
    median, last = quantile_differences(ours, np.ones(100), [0.5, 0.99])
    assert median.mean == 0 and math.isnan(last.mean)
    assert all(math.isnan(found.mean) for found in quantile_differences([1.0], [2.0], [0.5, 0.9]))


def test_differences_of_quantiles_are_those_of_numpy() -> None:
    rng = np.random.default_rng(5)
    ours, theirs = rng.exponential(1, (2, 777))
    for q, found in zip((0.5, 0.9, 0.99), quantile_differences(ours, theirs, [0.5, 0.9, 0.99]), strict=True):
        assert found.mean == pytest.approx(np.quantile(ours, q) - np.quantile(theirs, q))
        assert found.low < found.mean < found.high
