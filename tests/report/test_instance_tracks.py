"""The tracks of an instance: what its device and its scheduler did."""

from __future__ import annotations

from pathlib import Path

from support.runs import preempted, replayed
from support.trace_format import TraceEvent, saved_timeline, told


def seconds(event: TraceEvent) -> tuple[str, float, float]:
    return event["name"], event["ts"] / 1e6, (event["ts"] + event["dur"]) / 1e6


def test_a_preemption_on_its_instance(tmp_path: Path) -> None:
    """The times are those of `test_a_preemption_from_arrival_to_completion` in core/test_events.py."""
    events = saved_timeline(preempted(), tmp_path)
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


def test_counters_are_of_the_state_after_each_change(tmp_path: Path) -> None:
    """Both are late in the end: the urgent one after 5 s, the patient one after 12 s; blocks have 16 tokens."""
    events = told(saved_timeline(preempted(), tmp_path), "C")
    named = {
        name: [(event["ts"] / 1e6, *event["args"].values()) for event in events if event["name"] == name]
        for name in ("queue", "KV blocks", "late requests", "next deadline, s")
    }
    assert named["queue"] == [(0, 1), (0.5, 0), (3, 1), (4.875, 0), (5, 0), (6, 0), (12, 0), (12.875, 0)]
    assert named["KV blocks"] == [(0, 0), (0.5, 1), (3, 1), (4.875, 2), (5, 2), (6, 1), (12, 1), (12.875, 0)]
    assert named["late requests"] == [(0, 0), (0.5, 0), (3, 0), (4.875, 0), (5, 1), (6, 0), (12, 1), (12.875, 0)]
    slack_s = [(0, 12), (0.5, 11.5), (3, 2), (4.875, 0.125), (5, 7), (6, 6), (12, 0), (12.875, 0)]
    assert named["next deadline, s"] == slack_s


def test_a_pass_of_several_requests_names_them(tmp_path: Path) -> None:
    events = saved_timeline(replayed("fcfs:batch_tokens=64", events=True), tmp_path)
    names = [event["name"] for event in told(events, "X") if event["cat"] == "pass"]
    assert names == ["0", "1, 2"]
