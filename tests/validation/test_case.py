"""A case: what the server executes is what `run` replays."""

from __future__ import annotations

from pathlib import Path

import pytest

import flowsim
from flowsim.core.slo_mix import SLOMix
from flowsim.validation.case import Case

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("hurried")


def test_a_case_is_what_run_replays(here: Path) -> None:
    trace = flowsim.load_trace("trace.jsonl")
    slo = SLOMix.parse("0.1").assign(trace)
    server = flowsim.ServerOptions(kv_tokens=9000)
    case = Case.of("flowprefill", 0.5, trace, slo, server=server, predictor="cubic", seed=0)
    cost = flowsim.load_cost("table")
    expected = flowsim.run(trace, "flowprefill", cost=cost, slo=0.1, server=server)
    assert case.simulate(cost).ttft_s == pytest.approx(expected.ttft_s, abs=3e-6)
    assert case.name == "flowprefill, 50 %"
    assert case.slug == "flowprefill-50"
