"""The rate from which on no scheduler meets a target: by trying all sets of requests, and beside policies."""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

import flowsim
from flowsim.clairvoyant.demand import demand
from flowsim.clairvoyant.schedulable import Jobs, all_fit
from flowsim.studies.bound_rate import bound_rate_rps
from flowsim.studies.point import Point, prepared
from flowsim.studies.search import Search
from flowsim.studies.search_text import bound_line

LENGTHS = (900, 2000, 300, 2500, 2500, 700, 2200)


def jobs(of: Point) -> Jobs:
    """The requests of a point as jobs."""
    ready = prepared(of, ".")
    requests = ready.requests()
    needs = demand(requests, ready.costs.model, ready.options.server, ready.prefixes)
    due_s = np.array([request.deadline_s for request in requests]) + needs.gained_s
    return Jobs(np.array([request.arrival_s for request in requests]), due_s, needs.work_s)


@pytest.mark.parametrize("late", [1, 2])
def test_no_set_of_enough_requests_is_in_time_at_the_rate_or_above(
    late: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowsim.studies.search.FEWEST_REQUESTS", 2)
    gaps_s = (0.0, 1.0, 2.0, 0.5, 0.25, 2.0, 1.0)
    rows = zip(np.cumsum(gaps_s).tolist(), LENGTHS, strict=True)
    path = tmp_path / "trace.jsonl"
    path.write_text("".join(f'{{"arrival_s": {at_s}, "input_length": {tokens}}}\n' for at_s, tokens in rows))
    of, enough = Point.of({"trace": str(path), "slo": 0.09}), len(LENGTHS) - late

    def in_time(rate_rps: float) -> bool:
        those = jobs(of.at_rate(rate_rps))
        return any(all_fit(those.part(np.array(some))) for some in combinations(range(len(LENGTHS)), enough))

    rate_rps = bound_rate_rps(of, ".", Search(target=enough / len(LENGTHS)))
    assert math.isfinite(rate_rps)
    assert not any(in_time(rate_rps * 2 ** (step / 16)) for step in range(80))
    assert in_time(rate_rps / 1.5)  # the bound counts parts of requests, so it is not the exact rate


@pytest.mark.parametrize("target", [0.9, "text=0.9,search=0.95"])
def test_no_policy_reaches_the_rate(target: float | str) -> None:
    policies = ["fcfs", "sjf", "flowprefill"]
    runs = flowsim.capacity("synthetic:qwen:200", policies, replications=2, target=target, bound=True, workers=1).table
    assert (runs["max_rate_attainment_rps"] < runs["bound_rate_rps"]).all()
    assert (runs.groupby("seed")["bound_rate_rps"].nunique() == 1).all()
    assert runs["bound_rate_rps"].nunique() == 2
    low, high = sorted(set(runs["bound_rate_rps"]))
    rates = f"{low:.2f} to {high:.2f} req/s on, depending on the replication"
    assert bound_line(runs) == f"No scheduler, whatever it knows, meets the target from {rates}."


def test_a_target_of_all_classes_is_no_easier_than_that_of_one() -> None:
    of = Point.of({"trace": "synthetic:qwen:200"})
    one, both = (bound_rate_rps(of, ".", Search(target=target)) for target in ("text=0.9", "text=0.9,search=0.99"))
    assert both <= one


def test_requests_with_weights_have_no_such_rate() -> None:
    assert math.isnan(bound_rate_rps(Point.of({"trace": "synthetic:qwen:60"}), ".", Search(weights={"text": 2.0})))
