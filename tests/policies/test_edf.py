"""Earliest deadline first, in situations made by hand."""

from __future__ import annotations

from flowsim.policies.edf import EDF
from support.situations import executing, ids, request, situation


def test_edf_takes_whatever_is_due_first() -> None:
    early, late = request(0, 5, slo_s=10.0), request(1, 1, slo_s=20.0)
    assert ids(EDF().choose(situation(waiting=[late, early]))) == [0]
    running, paused = executing(late), executing(early)
    assert EDF().choose(situation(running=running, paused=[paused])) is paused
    assert EDF().choose(situation(running=running, waiting=[request(2, 1, slo_s=30.0)])) is running
    assert EDF().choose(situation()) is None
    hasty = request(3, 5, slo_s=15.0, arrival_s=6.0)
    assert ids(EDF().choose(situation(now=6.0, waiting=[late, hasty]))) == [1]  # due at 20, not at 21
