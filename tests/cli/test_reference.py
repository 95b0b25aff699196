"""`flowsim tradeoff`."""

from __future__ import annotations

import pytest

from flowsim.runs.tradeoff import tradeoff
from support.cli import invoke

pytestmark = pytest.mark.usefixtures("folder")


def test_a_tradeoff_beyond_the_measured_sizes_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tradeoff.__kwdefaults__, "samples", 2)
    assert "extrapolated" not in invoke("tradeoff", "--tokens", "16384").stdout
    beyond = "prompts of 40,000 tokens reach beyond the measured sizes: extrapolated"
    assert invoke("tradeoff", "--tokens", "40000").stdout.endswith(f"{beyond}\n")
