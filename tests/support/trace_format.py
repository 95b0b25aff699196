"""Whether events are as the Chrome trace format has them, and what they say; times in seconds."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from flowsim.report.timeline import save_timeline

TraceEvent = dict[str, Any]
NEEDED = {
    "M": {"name", "pid", "tid", "args"},
    "X": {"name", "cat", "ts", "dur", "pid", "tid", "args"},
    "i": {"name", "cat", "ts", "pid", "tid", "s", "args"},
    "b": {"name", "cat", "ts", "pid", "tid", "id", "args"},
    "e": {"name", "cat", "ts", "pid", "tid", "id"},
    "s": {"name", "cat", "ts", "pid", "tid", "id"},
    "f": {"name", "cat", "ts", "pid", "tid", "id", "bp"},
    "C": {"name", "cat", "ts", "pid", "tid", "args"},
}


def read(text: str) -> list[TraceEvent]:
    """The events of a file, which are as the format has them."""
    whole = json.loads(text, parse_constant=lambda word: 1 / 0)
    assert whole.keys() == {"displayTimeUnit", "traceEvents"} and whole["displayTimeUnit"] in ("ms", "ns")
    events: list[TraceEvent] = whole["traceEvents"]
    check(events)
    return events


def saved_timeline(result: Any, folder: Path, **bounds: Any) -> list[TraceEvent]:
    """The events of the file that a result is saved in."""
    save_timeline(result, folder / "timeline.json", **bounds)
    return read((folder / "timeline.json").read_text(encoding="utf-8"))


def check(events: list[TraceEvent]) -> None:
    """Each event has what its phase needs; slices nest, those that overlap too; flows connect the parts of a pass."""
    for event in events:
        assert event.keys() - {"ph"} - {"bp"} == NEEDED[event["ph"]] - {"bp"}, event
        assert isinstance(event["pid"], int) and isinstance(event["tid"], int)
        assert event["ph"] == "M" or event["ts"] >= 0
        if event["ph"] == "C":
            assert event["args"] and all(isinstance(value, int | float) for value in event["args"].values())
    _check_slices(events)
    _check_overlapping(events)
    _check_flows(events)


def told(events: list[TraceEvent], phase: str, process: int = 1) -> list[TraceEvent]:
    return [event for event in events if event["ph"] == phase and event["pid"] == process]


def _check_slices(events: list[TraceEvent]) -> None:
    """The slices of each track lie in one another or apart."""
    tracks = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            assert event["dur"] >= 0
            tracks[event["pid"], event["tid"]].append((event["ts"], round(event["ts"] + event["dur"], 3)))
    for slices in tracks.values():
        open_until: list[float] = []
        for began, ended in sorted(slices, key=lambda times: (times[0], -times[1])):
            while open_until and open_until[-1] <= began:
                open_until.pop()
            assert not open_until or ended <= open_until[-1], (began, ended)
            open_until.append(ended)


def _check_overlapping(events: list[TraceEvent]) -> None:
    open_of = defaultdict(list)
    for event in events:
        if event["ph"] in "be":
            names = open_of[event["pid"], event["cat"], event["id"]]
            if event["ph"] == "b":
                assert not names or event["ts"] >= names[-1][1]
                names.append((event["name"], event["ts"]))
            else:
                name, began = names.pop()
                assert name == event["name"] and event["ts"] >= began
    assert not any(open_of.values())


def _check_flows(events: list[TraceEvent]) -> None:
    """Each leaves a slice before its end, and enters the begin of a later one: of the same pass, which had stopped."""
    starts, ends = ({e["id"]: e for e in events if e["ph"] == phase} for phase in "sf")
    assert starts.keys() == ends.keys()
    assert 2 * len(starts) == sum(e["ph"] in "sf" for e in events)
    passes = defaultdict(list)
    for event in events:
        if event["ph"] == "X" and event["cat"] == "pass":
            passes[event["pid"], event["tid"]].append(event)
    for id, start in starts.items():
        end = ends[id]
        (left,) = (e for e in passes[start["pid"], start["tid"]] if e["ts"] <= start["ts"] < e["ts"] + e["dur"])
        (entered,) = (e for e in passes[end["pid"], end["tid"]] if e["ts"] == end["ts"])
        assert round(left["ts"] + left["dur"], 3) <= entered["ts"]
        assert (left["name"], left["args"]["end"]) == (entered["name"], "stopped")
        assert left["args"]["segment"] + 1 == entered["args"]["segment"]
