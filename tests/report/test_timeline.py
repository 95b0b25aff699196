"""Timelines: what they say of runs whose times are known, that slices nest and flows connect, and their bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flowsim
from flowsim.core.slo import SLOMix
from flowsim.errors import InputError
from flowsim.report.timeline import save_timeline
from flowsim.runs.compare import compare
from support.places import DATA
from support.runs import preempted, replayed
from support.trace_format import TraceEvent, read, told


def saved(result: Any, folder: Path, **bounds: Any) -> list[TraceEvent]:
    save_timeline(result, folder / "timeline.json", **bounds)
    return read((folder / "timeline.json").read_text(encoding="utf-8"))


def seconds(event: TraceEvent) -> tuple[str, float, float]:
    return event["name"], event["ts"] / 1e6, (event["ts"] + event["dur"]) / 1e6


def test_a_preemption_on_its_instance(tmp_path: Path) -> None:
    """The times are those of `test_a_preemption_from_arrival_to_completion` in core/test_events.py."""
    events = saved(preempted(), tmp_path)
    slices = told(events, "X")
    assert [seconds(event) for event in slices if event["tid"] == 1] == [
        ("order on its way", 0.5, 0.625),
        ("0", 0.625, 4.625),
        ("word of the pass", 4.625, 4.875),
        ("order on its way", 4.875, 5.0),
        ("1", 5.0, 6.0),
        ("word of the pass", 6.0, 6.25),
        ("order on its way", 6.75, 6.875),
        ("0", 6.875, 12.875),
        ("word of the pass", 12.875, 13.125),
    ]
    assert [seconds(event) for event in slices if event["tid"] == 2] == [
        ("decision", 0.0, 0.5),
        ("decision", 3.0, 3.5),
        ("decision", 6.25, 6.75),
    ]
    marks = [(event["name"], event["ts"] / 1e6) for event in told(events, "i")]
    assert marks == [("chose 0", 0.5), ("chose 1", 3.5), ("signalled 0", 3.5), ("chose 0", 6.75)]
    assert [event["args"]["segment"] for event in slices if event["cat"] == "pass"] == [1, 1, 2]
    assert [event["args"]["end"] for event in slices if event["cat"] == "pass"] == ["stopped", "completed", "completed"]
    assert [(event["ph"], event["ts"]) for event in events if event["ph"] in "sf"] == [("s", 4624999), ("f", 6875000)]


def test_a_preemption_on_its_requests(tmp_path: Path) -> None:
    events = saved(preempted(), tmp_path)
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


def test_counters_are_of_the_state_after_each_change(tmp_path: Path) -> None:
    """Both are late in the end: the urgent one after 5 s, the patient one after 12 s; blocks have 16 tokens."""
    events = told(saved(preempted(), tmp_path), "C")
    named = {
        name: [(event["ts"] / 1e6, *event["args"].values()) for event in events if event["name"] == name]
        for name in ("queue", "KV blocks", "late requests", "slack, s")
    }
    assert named["queue"] == [(0, 1), (0.5, 0), (3, 1), (4.875, 0), (5, 0), (6, 0), (12, 0), (12.875, 0)]
    assert named["KV blocks"] == [(0, 0), (0.5, 1), (3, 1), (4.875, 2), (5, 2), (6, 1), (12, 1), (12.875, 0)]
    assert named["late requests"] == [(0, 0), (0.5, 0), (3, 0), (4.875, 0), (5, 1), (6, 0), (12, 1), (12.875, 0)]
    slack_s = [(0, 12), (0.5, 11.5), (3, 2), (4.875, 0.125), (5, 7), (6, 6), (12, 0), (12.875, 0)]
    assert named["slack, s"] == slack_s


def test_a_pass_of_several_requests_names_them(tmp_path: Path) -> None:
    events = saved(replayed("fcfs:batch_tokens=64", events=True), tmp_path)
    names = [event["name"] for event in told(events, "X") if event["cat"] == "pass"]
    assert names == ["0", "1, 2"]


def test_times_are_those_of_the_table_of_requests(tmp_path: Path) -> None:
    """On a run with preemptions, chunks, batches and two instances."""
    for policy in ("flowprefill", "chunked:512"):
        result = flowsim.run("example", policy, rate_scale=16, limit=150, instances=2, events=True)
        events = saved(result, tmp_path)
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


def test_a_window_keeps_what_overlaps_it(tmp_path: Path) -> None:
    events = saved(preempted(), tmp_path, window_s=(5.5, 6.1))
    assert [event["name"] for event in told(events, "X") if event["cat"] == "pass"] == ["1"]
    assert {event["name"] for event in events if event["ph"] == "b"} >= {"0 paused", "1 running"}
    assert {event["ts"] for event in events if event["ph"] == "C"} == {6e6}
    assert not [event for event in events if event["ph"] in "sf"]


def test_the_worst_requests_alone(tmp_path: Path) -> None:
    """The urgent request is 1 s late, the patient one 0.875 s; passes are those while the urgent one waits."""
    events = saved(preempted(), tmp_path, worst=1)
    assert {event["cat"] for event in events if event["ph"] == "b"} == {"urgent"}
    assert [event["name"] for event in told(events, "X") if event["cat"] == "pass"] == ["0", "1"]


def test_where_none_misses_the_worst_are_the_nearest_to_it(tmp_path: Path) -> None:
    result = replayed(events=True, slo=SLOMix.uniform(6))  # they take 3, 5 and 4 s
    assert result.attained.all()
    events = saved(result, tmp_path, worst=1)
    assert {event["id"] for event in events if event["ph"] == "b"} == {"0x1"}


def test_the_policies_of_a_comparison_lie_under_each_other(tmp_path: Path) -> None:
    options: dict[str, Any] = {"rate_scale": 16, "limit": 60, "events": True}
    events = saved(compare("example", ["fcfs", "flowprefill"], **options), tmp_path, worst=3)
    names = [event["args"]["name"] for event in events if event["name"] == "process_name"]
    assert names == ["fcfs: instance 0", "fcfs: requests", "flowprefill: instance 0", "flowprefill: requests"]
    by_process: dict[int, set[str]] = {}
    for event in events:
        if event["ph"] == "b":
            by_process.setdefault(event["pid"], set()).add(event["id"])
    one, other = by_process.values()
    assert one == other and len(one) == 3


def test_a_rejected_request_ends_with_its_rejection(tmp_path: Path) -> None:
    events = saved(replayed(events=True, kv_tokens=2, block_tokens=1), tmp_path)
    (mark,) = [event for event in told(events, "i") if event["name"].startswith("rejected")]
    assert (mark["name"], mark["ts"], mark["args"]) == ("rejected 0", 0, {"by": "limits"})
    ends = [event["ts"] for event in events if event["ph"] == "e" and event["id"] == "0x0"]
    assert ends == [0, 0]


def test_a_run_that_was_stopped_ends_there(tmp_path: Path) -> None:
    events = saved(preempted(until_s=5.5), tmp_path)
    assert max(event["ts"] for event in events if event["ph"] in "be") == 5.5e6
    paused = [event["ts"] for event in events if event.get("name") == "0 paused"]
    assert paused == [4.625e6, 5.5e6]


def test_real_runs_lie_under_their_simulation(tmp_path: Path) -> None:
    events = saved(DATA / "evidence" / "h200-qwen2.5-14b-azure-90", tmp_path, window_s=(0, 5))
    names = [event["args"]["name"] for event in events if event["name"] == "process_name"]
    assert names[:4] == [
        "fcfs:8192, 90 %, simulated: instance 0",
        "fcfs:8192, 90 %, simulated: requests",
        "fcfs:8192, 90 %, real 1: instance 0",
        "fcfs:8192, 90 %, real 1: requests",
    ]
    processes = {event["pid"]: event["args"]["name"] for event in events if event["name"] == "process_name"}
    paused = {processes[e["pid"]] for e in events if e["ph"] == "b" and e["name"].endswith(" paused")}
    assert {"flowprefill, 90 %, simulated: requests", "flowprefill, 90 %, real 1: requests"} <= paused
    begun = {name: sum(e["ph"] == "b" and e["pid"] == pid for e in events) for pid, name in processes.items()}
    assert begun["fcfs:8192, 90 %, simulated: requests"] > 0


@pytest.mark.parametrize(
    ("bounds", "told"),
    [
        ({"window_s": (2.0, 1.0)}, "window must be A:B with A < B, in seconds, got '2:1'"),
        ({"worst": 0}, "worst must be >= 1, got 0"),
    ],
)
def test_bounds_that_hold_nothing_are_refused(bounds: Any, told: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        save_timeline(preempted(), tmp_path / "t.json", **bounds)
    assert str(refused.value) == told
    assert not list(tmp_path.iterdir())


def test_a_run_without_events_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a run with events=True"):
        save_timeline(replayed(), tmp_path / "t.json")


def test_too_many_requests_need_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowsim.report.bounds.MOST_REQUESTS", 1)
    with pytest.raises(InputError, match="would show 2 requests, more than 1; expected a window or"):
        save_timeline(preempted(), tmp_path / "t.json")
    assert saved(preempted(), tmp_path, window_s=(0, 1))
