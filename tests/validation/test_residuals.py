"""A constant and a jitter from what is left; and least absolute differences."""

from __future__ import annotations

import numpy as np
import pytest

from flowsim.validation.residuals import Residuals, least_absolute


def test_each_kind_is_found_with_its_parameters() -> None:
    random = np.random.default_rng(3)
    exponential = Residuals.of(0.5 + random.exponential(0.1, 20_000))
    assert exponential.kind == "exponential"
    assert (exponential.constant_s, *exponential.parameters) == pytest.approx((0.5, 0.1), rel=0.03)
    lognormal = Residuals.of(0.5 + 0.1 * np.exp(0.8 * random.standard_normal(20_000)))
    assert lognormal.kind == "lognormal"
    assert (lognormal.constant_s, *lognormal.parameters) == pytest.approx((0.5, 0.1, 0.8), rel=0.06)
    assert Residuals.of(np.full(50, 0.5)) == Residuals(0.5, "none", ())
    assert lognormal.jitter.startswith("lognormal:0.")


def test_a_constant_is_never_negative() -> None:
    """All of the least times are below what an exponential jitter leaves for the constant."""
    left_s = np.array([-0.2, -0.1, 0.0, 0.1, 0.9, 1.0, 1.1])
    for kind in ("exponential", "lognormal", "none"):
        assert Residuals.of(left_s, kind).constant_s >= 0


def test_outliers_do_not_move_least_absolute_differences() -> None:
    x = np.arange(40.0)
    columns = np.column_stack([np.ones(40), x])
    values = 2.0 + 3.0 * x
    values[::8] += 500.0
    assert least_absolute(columns, values).tolist() == pytest.approx([2.0, 3.0], abs=1e-4)
