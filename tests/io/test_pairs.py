"""Numbers by name, as text."""

from __future__ import annotations

import pytest

from flowsim.errors import InputError
from flowsim.io.pairs import numbers_by_name


def test_a_name_may_hold_an_equals_sign() -> None:
    assert numbers_by_name("text=.7, <=1k=3", "mix", "pairs") == {"text": 0.7, "<=1k": 3.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("text", "mix must be pairs, got 'text'"),
        ("text=x", "mix must be pairs, got 'text=x'"),
        ("=1", "mix: class '' is empty; expected pairs"),
        ("text=1,text=2", "mix: class 'text' is repeated; expected pairs"),
    ],
)
def test_what_is_no_number_by_a_name_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        numbers_by_name(text, "mix", "pairs")
    assert str(error.value) == message
