"""What is left of a timeline within bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flowsim.core.slo_mix import SLOMix
from flowsim.errors import InputError
from flowsim.report.timeline import save_timeline
from support.runs import preempted, replayed
from support.trace_format import saved_timeline, told


def test_a_window_keeps_what_overlaps_it(tmp_path: Path) -> None:
    events = saved_timeline(preempted(), tmp_path, window_s=(5.5, 6.1))
    assert [event["name"] for event in told(events, "X") if event["cat"] == "pass"] == ["1"]
    assert {event["name"] for event in events if event["ph"] == "b"} >= {"0 paused", "1 running"}
    assert {event["ts"] for event in events if event["ph"] == "C"} == {6e6}
    assert not [event for event in events if event["ph"] in "sf"]


def test_the_worst_requests_alone(tmp_path: Path) -> None:
    """The urgent request is 1 s late, the patient one 0.875 s; passes are those while the urgent one waits."""
    events = saved_timeline(preempted(), tmp_path, worst=1)
    assert {event["cat"] for event in events if event["ph"] == "b"} == {"urgent"}
    assert [event["name"] for event in told(events, "X") if event["cat"] == "pass"] == ["0", "1"]


def test_where_none_misses_the_worst_are_the_nearest_to_it(tmp_path: Path) -> None:
    result = replayed(events=True, slo=SLOMix.uniform(6))  # they take 3, 5 and 4 s
    assert result.attained.all()
    events = saved_timeline(result, tmp_path, worst=1)
    assert {event["id"] for event in events if event["ph"] == "b"} == {"0x1"}


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


def test_too_many_requests_need_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowsim.report.timeline_bounds.MOST_REQUESTS", 1)
    with pytest.raises(InputError, match="would show 2 requests, more than 1; expected a window or"):
        save_timeline(preempted(), tmp_path / "t.json")
    assert saved_timeline(preempted(), tmp_path, window_s=(0, 1))
