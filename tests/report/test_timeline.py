"""Timelines: what they say of runs whose times are known, that slices nest and flows connect, and their bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flowsim.errors import InputError
from flowsim.report.timeline import save_timeline
from flowsim.runs.compare import compare
from flowsim.runs.run import run
from support.places import DATA
from support.runs import replayed
from support.trace_format import saved_timeline


def test_the_policies_of_a_comparison_lie_under_each_other(tmp_path: Path) -> None:
    options: dict[str, Any] = {"rate_scale": 16, "limit": 60, "events": True}
    events = saved_timeline(compare("example", ["fcfs", "flowprefill"], **options), tmp_path, worst=3)
    names = [event["args"]["name"] for event in events if event["name"] == "process_name"]
    assert names == ["fcfs: instance 0", "fcfs: requests", "flowprefill: instance 0", "flowprefill: requests"]
    by_process: dict[int, set[str]] = {}
    for event in events:
        if event["ph"] == "b":
            by_process.setdefault(event["pid"], set()).add(event["id"])
    one, other = by_process.values()
    assert one == other and len(one) == 3


def test_kv_blocks_have_the_size_of_the_run_whether_it_is_saved_or_not(tmp_path: Path) -> None:
    result = run("example", "fcfs", limit=3, block_tokens=100_000, events=True)
    result.save(tmp_path / "saved")
    for shown in (result, tmp_path / "saved"):
        counts = [event["args"] for event in saved_timeline(shown, tmp_path) if event["name"] == "KV blocks"]
        assert {count for each in counts for count in each.values()} == {0, 1}


def test_real_runs_lie_under_their_simulation(tmp_path: Path) -> None:
    events = saved_timeline(DATA / "evidence" / "h200-qwen2.5-14b-azure-90", tmp_path, window_s=(0, 5))
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


def test_a_run_without_events_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a run with events=True"):
        save_timeline(replayed(), tmp_path / "t.json")
