"""Numbers of things agree with their nouns, and shares are per cent."""

from __future__ import annotations

import math

import pytest

from flowsim.io.counts import number_of, percent


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


def test_percent() -> None:
    assert [percent(share) for share in (None, math.nan, 0.0, 0.12345, 1.0)] == ["-", "-", "0.0 %", "12.3 %", "100.0 %"]
    assert (percent(0.12345, 0), percent(0.12345, 2, "+"), percent(-0.5, sign="+")) == ("12 %", "+12.35 %", "-50.0 %")
