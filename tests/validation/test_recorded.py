"""The evidence in tests/data: that it is complete, and that simulations stay as near to it as they were."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from flowsim.validation.compared import compared_cases
from flowsim.validation.evidence import Evidence
from support.places import DATA

BUDGET = {"attainment": 0.005, "TTFT p50": 0.025, "TTFT p90": 0.025, "TTFT p99": 0.05, "blocking mean": 0.075}
BUDGET |= {"per request": 0.01}
"""How much further from the recorded runs a change may move the simulation: half of each measure's bar, if any."""
MODELS, LOADS = ("llama3-8b", "qwen2.5-14b"), (0.5, 0.75, 0.9)
POLICIES = ("fcfs:8192", "chunked:2048", "edf:cut=layer", "flowprefill:cut=block", "flowprefill")
RECORDED = sorted(DATA.glob("evidence/*/evidence.json"))


def test_there_is_recorded_evidence() -> None:
    assert RECORDED


def test_every_model_policy_and_load_was_run_twice() -> None:
    twice = set()
    for opened in (Evidence.load(path.parent) for path in RECORDED):
        cases = [of.case for of in opened.recorded if len(of.runs) > 1]
        twice |= {(opened.table.provenance.model, case.policy, case.load) for case in cases}
    assert twice >= set(product(MODELS, POLICIES, LOADS))


@pytest.mark.parametrize("path", RECORDED, ids=[path.parent.name for path in RECORDED])
def test_the_simulation_stays_as_near_to_the_recorded_runs(path: Path) -> None:
    for of in compared_cases(Evidence.load(path.parent)):
        for measure, more in BUDGET.items():
            recorded, now = of.recorded.distances[measure].off, of.distances[measure].off
            assert (now is None) == (recorded is None), (of.case.name, measure)
            assert now is None or recorded is None or now <= recorded + more, (of.case.name, measure, recorded, now)
