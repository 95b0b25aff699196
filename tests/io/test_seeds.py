"""Random numbers from a seed."""

from __future__ import annotations

import pytest

from flowsim.errors import InputError
from flowsim.io.seeds import generator


def test_numbers_depend_on_the_seed_and_the_stream_alone() -> None:
    drawn = [generator(*of).random(4).tolist() for of in ((1,), (1,), (2,), (1, 1), (1, 2))]
    assert drawn[0] == drawn[1]
    assert len({tuple(numbers) for numbers in drawn}) == 4


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(InputError, match=r"^seed must be >= 0, got -1$"):
        generator(-1)
