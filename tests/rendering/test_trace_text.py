"""Traces on the screen."""

from __future__ import annotations

import re

import pytest

import flowsim
from flowsim.rendering.screen import show
from flowsim.rendering.trace_text import info_report


def test_info_shows_slos_priorities_and_clients(capsys: pytest.CaptureFixture[str]) -> None:
    trace = flowsim.Trace.of([0, 2], [5, 6], slo_s=[0.5, 6], priority=range(2), clients=["a", "a"])
    show(info_report(flowsim.traces.info(trace)))
    text = capsys.readouterr().out
    assert re.search(r"SLOs +2 requests, from 0\.5 to 6 s", text)
    assert re.search(r"priorities +requests with 0: 1, 1: 1", text)
    assert re.search(r"clients +1 client; the largest sent 100\.0 % of the requests", text)
