"""The reasons as people read them."""

from __future__ import annotations

from flowsim.rendering.reasons import REASONS
from flowsim.results import explain


def test_every_reason_has_a_text() -> None:
    assert set(REASONS) == set(explain.REASONS)
