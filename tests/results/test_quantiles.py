"""Quantiles among times that never came."""

from __future__ import annotations

import math

import numpy as np
import pytest

from flowsim.results.quantiles import exceeded, quantiles
from support.results import NEVER, by_hand


def test_a_quantile_among_those_without_a_first_token_is_not_that_of_the_others() -> None:
    """Two finished, two have waited for 7 and 9 s when the run is stopped."""
    result = by_hand([0, 1, 3, 5], [NEVER, NEVER, 4, 7], [1, 1, 3, 3], stopped_s=10.0, cut_off=True)
    summary = result.summary
    assert summary["ttft_s"] == {"mean": None, "p50": None, "p90": None, "p99": None, "max": None}
    bounds = [1.0, 2.0, 9.0, 10.0]
    expected = {f"p{q}": np.percentile(bounds, q) for q in (50, 90, 99)} | {"mean": 5.5, "max": 10.0}
    assert summary["ttft_exceeds_s"] == pytest.approx(expected)
    assert (result.ttft(1 / 3), result.ttft(0.34)) == (2.0, math.inf)


def test_what_a_quantile_exceeds_is_right_whatever_would_have_come() -> None:
    """The times that were not observed are drawn, above what is known: no quantile falls below its bound."""
    rng = np.random.default_rng(1)
    for _ in range(100):
        bounds = rng.exponential(size=int(rng.integers(1, 12)))
        open_yet = rng.random(bounds.size) < 0.4
        found = exceeded(np.where(open_yet, np.inf, bounds), bounds, (50, 90, 99))
        truth = quantiles(bounds + open_yet * rng.exponential(size=bounds.size), (50, 90, 99))
        assert all(time_s <= truth[name] * (1 + 1e-12) for name, time_s in found.items() if time_s is not None)


def test_quantiles_interpolate_and_pass_over_what_never_was() -> None:
    assert quantiles(np.array([4.0, NEVER, 1.0]), (50, 90)) == {"mean": 2.5, "p50": 2.5, "p90": 3.7, "max": 4.0}
    assert quantiles(np.array([NEVER]), (50,)) == {"mean": None, "p50": None, "max": None}
