"""The kinds of measured passes."""

from __future__ import annotations

import pytest

from flowsim.calibration.costs.pass_kinds import CHUNK, LONG_PROMPT, PACKED, SHORT_PROMPT, kind_of
from flowsim.core.pass_timeline import Slice


@pytest.mark.parametrize(
    ("cut", "slices", "kind"),
    [
        ("none", [Slice(1024, 0)], LONG_PROMPT),
        ("none", [Slice(1023, 0)], SHORT_PROMPT),
        ("none", [Slice(2048, 1)], CHUNK),
        ("none", [Slice(512, 0), Slice(512, 9)], PACKED),
        ("block", [Slice(512, 0), Slice(512, 0)], "checked at every block, from 1024 tokens"),
        ("layer", [Slice(1, 4096)], "checked at every layer, below 1024 tokens"),
    ],
)
def test_a_pass_has_one_kind(cut: str, slices: list[Slice], kind: str) -> None:
    assert kind_of(cut, slices) == kind
    assert kind_of(cut, slices, recorded=True) == f"graph: {kind}"
