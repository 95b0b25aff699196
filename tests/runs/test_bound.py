"""`flowsim.bound` of traces, with the options of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import flowsim
from flowsim.clairvoyant.schedulable import most_in_time
from flowsim.errors import InputError
from flowsim.policies.catalogue import TABLE
from flowsim.runs.bound import clairvoyant_of
from flowsim.runs.keywords import from_keywords
from flowsim.runs.prepare import prepare


def test_no_policy_exceeds_the_bound_of_the_example() -> None:
    found = flowsim.bound("example", rate_scale=8, warmup=0.1)
    assert found.counted == 360
    for policy in (*TABLE, "flowprefill:cut=layer"):
        assert flowsim.run("example", policy, rate_scale=8, warmup=0.1).summary["attainment"] <= found.upper
    assert 0.95 < found.lower <= found.upper <= 1


def test_the_offered_load_is_proportional_to_the_rate_and_does_not_depend_on_the_slo() -> None:
    load = flowsim.offered_load("example")
    assert 0.1 < load < 0.2
    assert flowsim.offered_load("example", rate_scale=0.7 / load) == pytest.approx(0.7)
    assert flowsim.offered_load("example", slo=0.001, instances=2) == pytest.approx(load / 2)


def test_prompts_beyond_the_context_are_hopeless() -> None:
    trace = flowsim.Trace.of([0, 1, 2], [100, 60_000, 100])
    found = flowsim.bound(trace, model="qwen3-8b", slo=100)
    assert (found.counted, found.hopeless, found.most, found.least) == (3, 1, 2, 2)


def test_a_replay_that_is_cut_off_has_no_bound() -> None:
    with pytest.raises(InputError, match=r"until_s must be none"):
        flowsim.bound("example", until_s=3.0)


def test_a_run_states_how_near_it_is_to_the_bound() -> None:
    of, found = flowsim.run("example", rate_scale=8).full_summary, flowsim.bound("example", rate_scale=8)
    assert of["bound"] == {
        "upper": found.upper,
        "lower": found.lower,
        "hopeless": 0,
        "share": of["attainment"] / found.upper,
    }
    assert of["attainment"] < found.lower < found.upper < 1


def test_a_run_that_attains_all_is_the_optimum() -> None:
    assert flowsim.run("example", limit=60).full_summary["bound"] == {"upper": 1, "lower": 1, "hopeless": 0, "share": 1}


def test_the_optimum_is_no_lower_than_the_run() -> None:
    workload = clairvoyant_of(prepare(*from_keywords("example", "fcfs", {"rate_scale": 8})))
    most, least = workload.both.most, workload.both.least
    assert [workload.beside(attained).least for attained in (0, least, least + 1, most)] == [
        least,
        least,
        least + 1,
        most,
    ]
    assert workload.beside(workload.both.counted).most == workload.both.counted


def test_where_no_bound_is_stated_the_summary_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def stated(**options: Any) -> tuple[bool, str | None]:
        summary = flowsim.run("example", limit=60, **options).full_summary
        return summary["bound"] is not None, summary["no_bound"]

    monkeypatch.setattr("flowsim.runs.bound.MOST_REQUESTS", 59)
    assert stated() == (False, "more than 59 requests; ask for it with --bound")
    assert stated(bound=True) == (True, None)
    assert stated(bound=False) == (False, None)
    assert stated(bound=True, until_s=3.0) == (False, "the replay is cut off")


def test_of_many_requests_the_lower_bound_is_that_of_the_run_unless_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = flowsim.bound("example", rate_scale=8)
    monkeypatch.setattr("flowsim.runs.bound.MOST_REPLAYED", 399)
    of, asked = (flowsim.run("example", rate_scale=8, bound=bound) for bound in (None, True))
    assert of.bound and asked.bound
    assert (of.bound.upper, of.bound.lower) == (found.upper, of.summary["attainment"])
    assert (asked.bound.upper, asked.bound.lower) == (found.upper, found.lower)


def test_a_bound_changes_nothing_else() -> None:
    with_bound, without = (flowsim.run("example", rate_scale=8, bound=asked) for asked in (True, False))
    assert with_bound.summary == without.summary
    assert {**with_bound.full_summary, "bound": None} == without.full_summary


def test_a_bound_is_worked_out_only_where_it_is_printed_or_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worked_out = []
    monkeypatch.setattr(
        "flowsim.clairvoyant.bound.most_in_time", lambda jobs: worked_out.append(jobs) or most_in_time(jobs)
    )
    result = flowsim.run("example", rate_scale=8, bound=True)
    assert result.summary["attainment"] == result.attainment() < 1
    assert result.ttft(0.5) > 0 and repr(result) and len(result.requests) == 400
    assert not worked_out
    result.save(tmp_path)
    assert len(worked_out) == 1
    assert json.loads((tmp_path / "summary.json").read_text())["bound"] == result.full_summary["bound"]
    assert len(worked_out) == 1


def test_policies_that_are_compared_share_one_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    worked_out = []
    monkeypatch.setattr(
        "flowsim.clairvoyant.bound.most_in_time", lambda jobs: worked_out.append(jobs) or most_in_time(jobs)
    )
    compared = flowsim.compare("example", ["fcfs", "sjf", "flowprefill"], rate_scale=8)
    assert len({summary["bound"]["upper"] for summary in [of.full_summary for of in compared.results.values()]}) == 1
    assert len(worked_out) == 1
    for name, result in compared.results.items():
        assert result.full_summary["bound"] == flowsim.run("example", name, rate_scale=8).full_summary["bound"]
    table = compared.table
    assert (table["bound_attainment"] == table["bound_attainment"].iloc[0]).all()
    assert table["share_of_bound"].tolist() == (table["attainment"] / table["bound_attainment"]).tolist()
