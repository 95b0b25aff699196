"""Jitter: what its text means, and what is drawn of it."""

from __future__ import annotations

import numpy as np
import pytest

from flowsim.core.server import Jitter
from flowsim.errors import InputError


def test_draws_have_the_mean_and_the_median_that_the_text_says() -> None:
    random = np.random.default_rng(0)
    assert Jitter.parse("exponential:0.2").draw(100_000, random).mean() == pytest.approx(0.2, rel=0.01)
    drawn = np.log(Jitter.parse("lognormal:0.2:0.5").draw(100_000, random))
    assert np.exp(np.median(drawn)) == pytest.approx(0.2, rel=0.01)
    assert drawn.std() == pytest.approx(0.5, rel=0.01)
    assert Jitter.parse("none").draw(2, random).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("text", ["exponential:x", "exponential:-1", "lognormal:1", "none:1", "exponential:inf", ""])
def test_wrong_parameters_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="jitter"):
        Jitter.parse(text)
