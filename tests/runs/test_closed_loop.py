"""Runs of a closed loop: the times of the sends, the metrics, what means nothing then, and what is saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flowsim
from flowsim.core.slo_mix import SLOMix
from flowsim.errors import InputError
from flowsim.results.saved_files import stored_summary
from flowsim.runs.options import from_values
from flowsim.runs.options_file import read_options
from support.costs import pencil
from support.runs import replayed, same_files, three


def test_times_are_those_of_the_sends() -> None:
    """Of 3, 1 and 2 s one after another; each within its SLO of 4 s, which it would not be at the trace's times."""
    result = replayed(concurrency=1)
    assert result.trace.arrival_s.tolist() == [0.0, 3.0, 4.0]
    assert result.ttft_s.tolist() == [3.0, 1.0, 2.0]
    assert result.requests["arrival_s"].tolist() == [0.0, 3.0, 4.0]
    assert any("closed loop: 1 request outstanding" in notice for notice in result.inputs["trace_notices"])


def test_no_more_are_outstanding_than_there_are() -> None:
    notices = replayed(concurrency=1000).inputs["trace_notices"]
    assert any("closed loop: 3 requests outstanding" in notice for notice in notices)


def test_goodput_is_attainment_by_the_requests_per_second_of_the_span() -> None:
    """Two of three are in time, in 6 s: one of two `short` ones, and the `long` one."""
    summary = replayed("fcfs:1", concurrency=3, slo=SLOMix.uniform(5)).summary
    assert summary["offered_rps"] is None
    assert summary["attainment"] == pytest.approx(2 / 3)
    assert summary["span_s"] == 6.0
    assert summary["goodput_rps"] == pytest.approx(2 / 6)
    parts = {name: (part["goodput_rps"], part["offered_rps"]) for name, part in summary["classes"].items()}
    assert parts == {"long": (pytest.approx(1 / 6), None), "short": (pytest.approx(1 / 6), None)}


def test_the_jitter_and_the_way_back_are_in_the_loop() -> None:
    result = replayed(concurrency=1, jitter="exponential:0.5", frontend_s=0.25, return_s=1.0)
    sent_s, done_s = result.trace.arrival_s, result.metrics.finished_s
    np.testing.assert_allclose(sent_s[1:], done_s[:-1], rtol=1e-12)
    assert (result.ttft_s > [3 + 1.25, 1 + 1.25, 2 + 1.25]).all()


def test_the_last_token_of_a_log_holds_its_place() -> None:
    log = flowsim.Trace.of([0, 1, 2], [3, 1, 2], ttft_s=[9, 9, np.nan], latency_s=[11, 9.5, np.nan])
    result = flowsim.run(log, "fcfs", cost=pencil(), slo=9, concurrency=1, predictor="exact")
    assert result.trace.arrival_s.tolist() == [0.0, 5.0, 6.5]


def test_no_bound_is_stated() -> None:
    assert (
        replayed(concurrency=2).full_summary["no_bound"] == "a closed loop: when requests arrive depends on the policy"
    )
    with pytest.raises(InputError, match="concurrency: is given, but a closed loop has no bound"):
        flowsim.bound(three(), cost=pencil(), slo=4, concurrency=2)


@pytest.mark.parametrize(
    "other", [{"workload.window": "0:5"}, {"workload.rate_scale": 2.0}, {"workload.rate_rps": 2.0}, {"until_s": 9.0}]
)
def test_what_means_nothing_then_is_refused(other: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="is given together with concurrency"):
        from_values({"trace": "example", "workload.concurrency": 2, **other})


def test_capacity_has_no_rate_to_search() -> None:
    for options in ({"concurrency": 4}, {"concurrency": [4, 8]}):
        with pytest.raises(InputError, match="closed loop has no rate to search"):
            flowsim.capacity("synthetic:qwen-a:100", ["fcfs"], **options)


def test_what_is_saved_is_the_run(tmp_path: Path) -> None:
    """The files agree with each other, and config.yaml gives them again."""
    flowsim.run("example", "sjf", concurrency=6, limit=40, instances=2).save(tmp_path / "one")
    assert stored_summary(tmp_path / "one")["inputs"]["concurrency"] == 6
    flowsim.run(read_options(tmp_path / "one" / "config.yaml")).save(tmp_path / "two")
    same_files(tmp_path / "one", tmp_path / "two")


def test_policies_are_compared_by_the_numbers_of_the_requests() -> None:
    """They get the same requests at different times; a difference of goodput is not stated, as no rate is common."""
    found = flowsim.compare("example", ["fcfs", "sjf"], concurrency=8, limit=120)
    one, other = (result.trace for result in found.results.values())
    assert (one.input_length == other.input_length).all()
    assert (one.arrival_s != other.arrival_s).any()
    rows = found.differences().set_index("metric")
    assert np.isnan(rows.loc["goodput_rps", "mean"])
    expected = found.results["sjf"].attained.mean() - found.results["fcfs"].attained.mean()
    assert rows.loc["attainment", "mean"] == pytest.approx(expected)


def test_explanations_know_the_times() -> None:
    """The second of a loop of two waits for the first, for 3 s; the third, sent then, for the second."""
    why = flowsim.explain(replayed("fcfs:1", concurrency=2, slo=SLOMix.uniform(0.5), events=True))
    assert [round(why.story(id).parts_s["earlier"], 9) for id in (1, 2)] == [3.0, 1.0]
