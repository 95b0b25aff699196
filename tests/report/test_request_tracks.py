"""The tracks of requests: what became of each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import flowsim
from flowsim.core.server import ServerOptions
from support.costs import pencil
from support.runs import preempted, replayed
from support.trace_format import saved_timeline, told


def test_a_preemption_on_its_requests(tmp_path: Path) -> None:
    events = saved_timeline(preempted(), tmp_path)
    stays = [(e["ph"], e["name"], e["ts"] / 1e6) for e in events if e["ph"] in "be"]
    assert stays == [
        ("b", "patient", 0.0),
        ("b", "0 waiting", 0.0),
        ("e", "0 waiting", 0.5),
        ("b", "0 running", 0.625),
        ("e", "0 running", 4.625),
        ("b", "0 paused", 4.625),
        ("e", "0 paused", 6.875),
        ("b", "0 running", 6.875),
        ("e", "0 running", 12.875),
        ("e", "patient", 12.875),
        ("b", "urgent", 3.0),
        ("b", "1 waiting", 3.0),
        ("e", "1 waiting", 4.875),
        ("b", "1 running", 5.0),
        ("e", "1 running", 6.0),
        ("e", "urgent", 6.0),
    ]
    first = next(event for event in events if event["ph"] == "b")
    about = {"request": 0, "input tokens": 10, "TTFT, s": 12.875, "TTFT SLO, s": 12.0, "attained": False}
    assert first["args"] == about


def test_times_are_those_of_the_table_of_requests(tmp_path: Path) -> None:
    """On a run with preemptions, chunks, batches and two instances."""
    for policy in ("flowprefill", "chunked:512"):
        result = flowsim.run("example", policy, rate_scale=16, limit=150, instances=2, events=True)
        events = saved_timeline(result, tmp_path)
        table = result.requests
        outer = [event for event in events if event["ph"] in "be" and event["name"] in result.slo.class_names]
        begun = {int(e["id"], 16): e["ts"] / 1e6 for e in outer if e["ph"] == "b"}
        ended = {int(e["id"], 16): e["ts"] / 1e6 for e in outer if e["ph"] == "e"}
        waited = {int(e["id"], 16): e["ts"] / 1e6 for e in events if e["ph"] == "e" and e["name"].endswith(" waiting")}
        ids = table["id"].tolist()
        np.testing.assert_allclose([begun[id] for id in ids], table["arrival_s"], atol=1e-9)
        np.testing.assert_allclose([ended[id] for id in ids], table["finished_s"], atol=1e-9)
        np.testing.assert_allclose([waited[id] for id in ids], table["started_s"], atol=1e-9)
        busy_s = sum(event["dur"] for event in events if event.get("cat") == "pass") / 1e6
        assert busy_s == pytest.approx(sum(log.busy_s for log in result.outcome.logs), abs=1e-6)
        pauses = [e for e in events if e["ph"] == "b" and e["name"].endswith(" paused")]
        assert len(pauses) == sum(result.outcome.ledger.preemptions)
        passes = {e["args"]["requests"][0] for e in events if e.get("cat") == "pass"}
        assert len([e for e in events if e["ph"] == "s"]) == sum(log.preemptions for log in result.outcome.logs)
        assert passes <= set(ids)


def test_the_ways_to_the_server_and_back_are_neither_in_its_queue_nor_in_its_memory(tmp_path: Path) -> None:
    """Both are sent at 0 s and come at 0.5 s; their first tokens take a second to the client. Either is
    one block."""
    trace = flowsim.Trace.of([0.0, 0.0], [3, 2], classes=["slow", "fast"])
    result = flowsim.run(
        trace,
        "fcfs:1",
        cost=pencil(),
        slo="slow=4,fast=0.25",
        predictor="exact",
        events=True,
        server=ServerOptions(frontend_s=0.5, return_s=1.0),
    )
    events = saved_timeline(result, tmp_path)
    waiting, held, late, slack_s = (
        [(e["ts"] / 1e6, *e["args"].values()) for e in events if e["ph"] == "C" and e["name"] == name]
        for name in ("queue", "KV blocks", "late requests", "next deadline, s")
    )
    assert waiting == [(0.0, 0), (0.25, 0), (0.5, 1), (3.5, 0), (4.0, 0), (4.5, 0), (5.5, 0), (6.5, 0)]
    assert held == [(0.0, 0), (0.25, 0), (0.5, 1), (3.5, 1), (4.0, 1), (4.5, 1), (5.5, 0), (6.5, 0)]
    assert late == [(0.0, 0), (0.25, 1), (0.5, 1), (3.5, 1), (4.0, 2), (4.5, 1), (5.5, 1), (6.5, 0)]
    assert [left_s for _, left_s in slack_s] == [0.25, 3.75, 3.5, 0.5, 0.0, 0.0, 0.0, 0.0]
    stays = [(e["name"], e["ts"] / 1e6) for e in events if e["ph"] == "b"]
    assert stays == [
        ("slow", 0.0),
        ("0 waiting", 0.5),
        ("0 running", 0.5),
        ("fast", 0.0),
        ("1 waiting", 0.5),
        ("1 running", 3.5),
    ]


def test_a_rejected_request_ends_with_its_rejection(tmp_path: Path) -> None:
    events = saved_timeline(replayed(events=True, kv_tokens=2, block_tokens=1), tmp_path)
    (mark,) = [event for event in told(events, "i") if event["name"].startswith("rejected")]
    assert (mark["name"], mark["ts"], mark["args"]) == ("rejected 0", 0, {"by": "limits"})
    ends = [event["ts"] for event in events if event["ph"] == "e" and event["id"] == "0x0"]
    assert ends == [0, 0]


def test_a_run_that_was_stopped_ends_there(tmp_path: Path) -> None:
    events = saved_timeline(preempted(until_s=5.5), tmp_path)
    assert max(event["ts"] for event in events if event["ph"] in "be") == 5.5e6
    paused = [event["ts"] for event in events if event.get("name") == "0 paused"]
    assert paused == [4.625e6, 5.5e6]
