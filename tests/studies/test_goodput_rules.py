"""What a run lacks by the attainment rule and by the sustained rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

import flowsim
from flowsim.core.server import ServerOptions
from flowsim.errors import InputError
from flowsim.studies.goodput_rules import empties, lacks, late, leaves_behind
from support.costs import pencil


def steady(gap_s: float, tokens: Sequence[int], **options: Any) -> flowsim.RunResult:
    """The result of requests at equal gaps, at one second a token."""
    trace = flowsim.Trace.of(np.arange(len(tokens)) * gap_s, tokens)
    return flowsim.run(trace, "fcfs", cost=pencil(), slo="10", predictor="exact", **options)


def test_a_queue_that_only_grows_never_empties() -> None:
    assert empties(steady(1.01, [1] * 60))
    assert not empties(steady(0.99, [1] * 60))


@pytest.mark.parametrize("jitter", ["none", "exponential:3"])
def test_requests_on_their_way_are_in_no_queue(jitter: str) -> None:
    """The server idles every other second, though ten or so are always on their way to it or back."""
    ways = ServerOptions(frontend_s=10.0, jitter=jitter, return_s=10.0)
    assert empties(steady(2.0, [1] * 60, server=ways))
    assert not empties(steady(0.9, [1] * 60, server=ServerOptions(frontend_s=10.0, return_s=10.0)))


def test_what_is_rejected_as_it_comes_is_in_no_queue_after_a_way_either() -> None:
    """The last third can never be held."""
    kept = steady(0.9, [1] * 40 + [17] * 20, server=ServerOptions(frontend_s=0.5, kv_tokens=16))
    assert kept.summary["rejected"] == 20
    assert not empties(kept)


def test_a_request_left_behind_for_good_is_a_growing_queue_however_well_the_others_fare() -> None:
    arrival_s = [0.0, 0.5, *(np.arange(1, 120) * 0.999)]  # a short one always waits when another is done
    trace = flowsim.Trace.of(arrival_s, [2, 30] + [1] * 119)
    crowded = flowsim.run(trace, "sjf:2", cost=pencil(), slo="10", predictor="exact")
    assert crowded.summary["attainment"] == pytest.approx(120 / 121)
    stopped = flowsim.run(trace, "sjf:2", cost=pencil(), slo="10", predictor="exact", until_s=110)
    assert np.isnan(stopped.ttft_s[1]) and late(stopped)[1] and stopped.metrics.starved[1]
    assert np.flatnonzero(crowded.metrics.starved).tolist() == np.flatnonzero(late(crowded)).tolist() == [1]
    assert lacks(crowded, 0.9) == {"attainment": "", "sustained": "queue"}
    assert lacks(crowded, 1.0) == {"attainment": "attainment", "sustained": "attainment"}


def test_a_class_may_give_way_alone() -> None:
    trace = flowsim.Trace.of(np.arange(90) * 3.0, [1] * 89 + [4], classes=["short"] * 89 + ["long"])
    result = flowsim.run(trace, "fcfs", cost=pencil(), slo="short=5,long=2", predictor="exact")
    assert lacks(result, 0.9) == {"attainment": "", "sustained": ""}
    assert lacks(result, {"long": 0.9})["attainment"] == "attainment of long"
    assert lacks(result, {"*": 0.9})["attainment"] == "attainment of long"
    assert lacks(result, {"short": 1.0})["attainment"] == ""
    assert lacks(result, {"*": 0.9, "long": 0.0001})["attainment"] == "attainment of long"
    # 89 met and 1 missed: 89 / (89 + w) < 0.9 from w = 9.9 on
    assert [lacks(result, 0.9, {"long": weight})["attainment"] for weight in (9.8, 10)] == ["", "attainment"]


def test_a_queue_is_of_those_that_are_kept() -> None:
    """Every second prompt is beyond the KV memory and rejected; the rest take two seconds each."""

    def served(gap_s: float) -> flowsim.RunResult:
        trace = flowsim.Trace.of(np.arange(120) * gap_s, [2, 17] * 60)
        return flowsim.run(trace, "fcfs", cost=pencil(), slo="10", predictor="exact", kv_tokens=16)

    assert served(1.1).summary["rejected"] == 60
    assert lacks(served(1.1), 0.5) == {"attainment": "", "sustained": ""}
    assert lacks(served(0.95), 0.5)["sustained"] == "queue"  # too fast for those that are kept
    assert lacks(served(1.1), 0.6) == {"attainment": "attainment", "sustained": "attainment"}  # the dropped have missed


def test_all_rejected_leave_no_queue() -> None:
    trace = flowsim.Trace.of(np.arange(60) * 1.0, [17] * 60)
    result = flowsim.run(trace, "fcfs", cost=pencil(), slo="10", predictor="exact", kv_tokens=16)
    assert empties(result) and not leaves_behind(result)


@dataclass(frozen=True)
class Postponing:
    """Serves in order of arrival whatever can still make it, and puts off all else for ever."""

    cut: Any = "none"
    wake: Any = "events"

    def choose(self, view: Any) -> Any:
        if view.running is not None:
            return None
        hopeful = [r for r in view.waiting if view.now + r.tokens <= r.deadline_s]
        return flowsim.Pass.whole(hopeful[0]) if hopeful else None


def test_a_policy_that_postpones_for_ever_is_refused_unless_the_run_is_stopped() -> None:
    trace = flowsim.Trace.of(np.arange(100) * 1.5, [9 if n == 70 else 1 for n in range(100)])
    with pytest.raises(InputError, match="chose nothing for 1 request, and nothing will happen"):
        flowsim.run(trace, Postponing(), cost=pencil(), slo="5", predictor="exact")
    stopped = flowsim.run(trace, Postponing(), cost=pencil(), slo="5", predictor="exact", until_s=140)
    assert not leaves_behind(stopped)  # who knows
    through = replace(stopped, outcome=replace(stopped.outcome, cut_off=False))
    assert leaves_behind(through)
    assert lacks(through, 0.9) == {"attainment": "", "sustained": "left behind"}


@dataclass
class Holds:
    """Serves short prompts at once and keeps long ones waiting, to reject them all at the end."""

    cut: Any = "none"
    wake: Any = "events"

    def choose(self, view: flowsim.View) -> Any:
        short = [request for request in view.waiting if request.tokens < 10]
        run = flowsim.Pass.whole(short[0]) if short and view.running is None else None
        if view.now >= 1000:
            return flowsim.Decision(run, [request for request in view.waiting if request.tokens >= 10])
        return flowsim.Decision(run, wake_at=1000.0)


def test_a_request_that_is_rejected_late_was_in_the_queue_until_then() -> None:
    trace = flowsim.Trace.of(np.arange(60) * 2.0, [1, 1, 1, 1, 1, 40] * 10)
    result = flowsim.run(trace, Holds(), cost=pencil(), slo="10", predictor="exact")
    assert result.summary["rejected"] == 10
    assert lacks(result, 0.8) == {"attainment": "", "sustained": "queue"}
