"""Numbers of things agree with their nouns."""

from __future__ import annotations

import pytest

from flowsim.io.counts import number_of


@pytest.mark.parametrize(
    ("number", "words", "text"),
    [
        (0, ("request",), "0 requests"),
        (1, ("request",), "1 request"),
        (1200, ("failed run",), "1,200 failed runs"),
        (1, ("query", "queries"), "1 query"),
        (2, ("run that is", "runs that are"), "2 runs that are"),
    ],
)
def test_one_thing_is_singular(number: int, words: tuple[str, ...], text: str) -> None:
    assert number_of(number, *words) == text
