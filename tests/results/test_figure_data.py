"""The numbers that figures show, against the results they are of."""

from __future__ import annotations

import math

import pytest

from flowsim.results.figure_data import blocking_distributions, class_attainment, ttft_distributions
from support.results import NEVER, by_hand, six


def test_attainment_by_class_and_policy() -> None:
    other = by_hand([0, 0, 0], [1, 1, 1], [1, 1, NEVER], ["text", "file", "other"])
    found = class_attainment({"six": six(), "other": other})
    assert found.classes == [("all", None), ("text", 1.0), ("file", 4.0), ("other", None)]
    assert found.percent["six"] == pytest.approx([40, 100 / 3, 50, math.nan], nan_ok=True)
    assert found.percent["other"] == pytest.approx([100, 100, 100, math.nan], nan_ok=True)


def test_the_distribution_of_ttft_is_of_the_requests_that_count() -> None:
    """5 count, 2 of them never got a first token: the curve ends at 3 of 5. One without an SLO is not shown."""
    found = ttft_distributions({"six": six()})["six"]
    assert found.values.tolist() == [0.5, 2.0, 4.0]
    assert found.percent.tolist() == pytest.approx([20, 40, 60])


def test_the_distribution_of_blocking_times_counts_every_preemption() -> None:
    found = blocking_distributions({"six": six(), "none": by_hand([0], [1], [2])})
    assert found["six"].values.tolist() == [0.25, 0.5, 0.75]
    assert found["six"].percent.tolist() == pytest.approx([100 / 3, 200 / 3, 100])
    assert found["none"].values.size == found["none"].percent.size == 0
