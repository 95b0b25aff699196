"""Numbers as text."""

from __future__ import annotations

import pytest

from flowsim.rendering.format import rate, seconds


def test_rate() -> None:
    assert [rate(value) for value in (None, 0.0, 12.5)] == ["-", "0.00 req/s", "12.50 req/s"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0"),
        (3.54e-7, "0.354 us"),
        (4.2e-5, "42 us"),
        (0.000999, "999 us"),
        (0.0009996, "1 ms"),
        (0.0123456, "12.3 ms"),
        (0.25, "250 ms"),
        (0.9996, "0.9996 s"),
        (1.03861, "1.039 s"),
        (86.5, "86.5 s"),
        (1234.5, "1,234 s"),
    ],
)
def test_durations_take_the_unit_that_suits_them(value: float | None, text: str) -> None:
    assert seconds(value) == text
