"""The worst seconds: where they are, which requests are shown, and what each did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import flowsim
from flowsim.rendering.run_parts import Bar
from flowsim.report.gantt import MOST_REQUESTS, gantt_of, real_gantt, requests_in, worst_window
from flowsim.results.explain import explain
from flowsim.validation.compared import compared_cases
from flowsim.validation.evidence import Evidence
from support.places import DATA
from support.runs import preempted
from support.validation import simulated_as_real


def test_the_worst_seconds_are_those_of_most_missed_deadlines() -> None:
    """Deadlines pass at 5 s and 12 s; a chart begins a tenth of its length before the first."""
    assert worst_window([explain(preempted())]) == (3.0, 23.0)


def test_without_a_miss_they_are_those_of_most_waiting() -> None:
    result = flowsim.run("example", "flowprefill", rate_scale=4, slo="1000", events=True)
    why = explain(result)
    assert not len(why.missed)
    from_s, to_s = worst_window([why])
    arrival_s, started_s = result.trace.arrival_s, result.metrics.started_s
    waiting = [((arrival_s <= at) & (started_s > at)).sum() for at in arrival_s]
    assert from_s <= arrival_s[int(np.argmax(waiting))] <= to_s


def test_what_each_request_did() -> None:
    why = explain(preempted())
    chart = gantt_of({"edf": why}, (3.0, 23.0))
    (view,) = chart.views
    (device,) = view.instances
    assert [(bar.began_s, bar.ended_s, bar.text) for bar in device.bars] == [
        (0.625, 4.625, "request 0"),
        (5.0, 6.0, "request 1"),
        (6.875, 12.875, "request 0"),
    ]
    patient, urgent = view.requests
    about = "request 0 patient: 10 tokens, TTFT SLO 12 s"
    assert list(patient.bars) == [
        Bar(0.0, 0.5, "waiting", about, 0),
        Bar(0.625, 4.625, "running", about, 0),
        Bar(4.625, 6.875, "paused", about, 0),
        Bar(6.875, 12.875, "running", about, 0),
    ]
    assert (patient.name, patient.due_s, patient.missed) == ("0 patient", 12.0, "decisions and hand-overs")
    assert (urgent.due_s, urgent.missed, urgent.story) == (5.0, "blocked by a running pass", "1 under edf")
    assert view.note == "2 requests from 3.000 s to 23.000 s, of which 2 missed the SLO."


def test_of_too_many_those_that_run_or_miss_now_are_shown() -> None:
    why = explain(flowsim.run("example", "fcfs", rate_scale=40, events=True))
    window = worst_window([why])
    assert window[1] - window[0] == pytest.approx(1.0)
    ids = requests_in(why, window)
    assert len(ids) == MOST_REQUESTS
    result = why.result
    due_s = result.trace.arrival_s + result.slo.ttft_slo_s
    ran = (result.metrics.started_s <= window[1]) & (result.metrics.finished_s >= window[0])
    now = ran | (~result.attained & (window[0] <= due_s) & (due_s <= window[1]) & (result.trace.arrival_s <= window[1]))
    assert all(now[ids]) or now.sum() < MOST_REQUESTS
    assert f"{MOST_REQUESTS} of " in gantt_of({"fcfs": why}, window).views[0].note


def test_a_real_run_lies_under_its_simulation(tmp_path: Path) -> None:
    """The real run is what the simulation said, to the microsecond; 0 is preempted by 1."""
    (of,) = compared_cases(Evidence.load(simulated_as_real(tmp_path / "evidence")))
    chart = real_gantt(of)
    assert chart is not None
    ((_, _, stopped_s, _, _),) = of.recorded.runs[0].pauses
    assert stopped_s is not None
    assert chart.from_s <= stopped_s <= chart.to_s
    (view,) = chart.views
    assert [row.name for row in view.instances] == ["simulated", "real 1"]
    assert [row.name for row in view.requests] == ["0 simulated", "0 real 1", "1 simulated", "1 real 1"]
    states = ["waiting", "running", "paused", "running"]
    for row in view.requests[:2]:
        assert [bar.state for bar in row.bars] == states
    for simulated, real in (view.instances, view.requests[:2], view.requests[2:]):
        times = [[time_s for bar in row.bars for time_s in (bar.began_s, bar.ended_s)] for row in (simulated, real)]
        assert times[0] == pytest.approx(times[1], abs=6e-7)


def test_without_events_there_is_no_chart_of_a_real_run() -> None:
    (of,) = compared_cases(Evidence.load(DATA / "evidence" / "h200-llama3-8b-qwen-90"))
    assert real_gantt(of) is None
