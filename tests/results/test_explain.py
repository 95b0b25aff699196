"""Why requests missed: parts that add up to the TTFT, and reasons worked out by hand. A token takes a second."""

from __future__ import annotations

import numpy as np
import pytest

import flowsim
from flowsim.core.server import ServerOptions
from flowsim.errors import InputError
from flowsim.results.explain import Explanation, explain
from support.costs import pencil
from support.explained import explained


def parts_of(why: Explanation, request: int) -> dict[str, float]:
    return {name: value for name, value in why.story(request).parts_s.items() if value > 1e-9}


QUEUE = ((0.0, 10, 100.0), (2.0, 3, 5.0), (3.0, 4, 9.0), (11.0, 2, 4.0), (30.0, 6, 5.0))


def test_without_cuts_the_long_pass_blocks_and_the_urgent_go_first() -> None:
    """Passes: request 0 until 10, 1 until 13, 2 until 17, 3 until 19, 4 from 30 to 36."""
    why = explained(QUEUE, "edf:cut=none")
    assert why.missed.tolist() == [1, 2, 3, 4]
    assert list(why.reasons) == ["blocked", "blocked", "earlier", "hopeless"]
    assert parts_of(why, 1) == pytest.approx({"alone": 3, "blocked": 8})
    assert parts_of(why, 2) == pytest.approx({"alone": 4, "blocked": 7, "earlier": 3})
    assert parts_of(why, 3) == pytest.approx({"alone": 2, "earlier": 6})
    assert {name: count for name, count in why.counts.items() if count} == {"blocked": 2, "earlier": 1, "hopeless": 1}
    assert why.by_class == {"text": why.counts}


def test_a_preempted_pass_waits_for_those_that_run_meanwhile() -> None:
    """SJF cuts every 2 s: request 0 runs until 4 and from 9 to 15, 1 from 4 to 9, 2 from 15 to 26."""
    why = explained([(0.0, 10, 12.0), (3.0, 5, 100.0), (5.0, 11, 15.0)], "sjf:cut=operator")
    assert list(why.reasons) == ["paused", "earlier"]
    assert parts_of(why, 0) == pytest.approx({"alone": 10, "paused": 5})
    assert parts_of(why, 2) == pytest.approx({"alone": 11, "blocked": 4, "earlier": 6})


def test_a_pass_blocks_from_its_signal_to_its_stop() -> None:
    why = explained([(0.0, 10, 100.0), (3.0, 1, 1.5)], "edf:cut=operator")
    assert list(why.reasons) == ["blocked"]
    assert parts_of(why, 1) == pytest.approx({"alone": 1, "blocked": 1})


def test_a_pass_that_is_due_at_the_same_time_counts_as_earlier() -> None:
    """Passes: request 0 until 5, 1 until 7, 2 until 15; 1 and 2 are due at 11."""
    why = explained([(0.0, 5, 100.0), (1.0, 2, 10.0), (1.0, 8, 10.0)], "edf:cut=none")
    assert parts_of(why, 2) == pytest.approx({"alone": 8, "blocked": 4, "earlier": 2})


def test_a_pass_that_began_later_blocks_once_it_is_told_to_stop() -> None:
    """Request 0 runs until 5; 2 until 6.6, told at 6 to stop for 3, which runs until 7.6; 2 until 14; 1 until 23."""
    rows = [(0.0, 5, 100.0), (1.0, 9, 20.0), (2.0, 8, 100.0), (6.0, 1, 100.0)]
    why = explained(rows, "sjf:cut=operator,batch_tokens=1")
    assert parts_of(why, 1) == pytest.approx({"alone": 9, "blocked": 4.6, "later": 8.4})


def test_a_shorter_prompt_that_is_due_later_goes_first() -> None:
    why = explained([(0.0, 5, 100.0), (1.0, 9, 20.0), (2.0, 8, 100.0)], "sjf:cut=none,batch_tokens=1")
    assert list(why.reasons) == ["later"]
    assert parts_of(why, 1) == pytest.approx({"alone": 9, "blocked": 4, "later": 8})
    spans = why.story(1).spans
    assert [(span.part, span.requests) for span in spans] == [("blocked", (0,)), ("later", (2,)), ("alone", ())]
    assert [span.began_s for span in spans] == pytest.approx([1, 5, 13])
    assert [span.lasted_s for span in spans] == pytest.approx([4, 8, 9])


def test_a_batch_takes_longer_than_each_of_it_alone() -> None:
    why = explained([(0.0, 3, 5.0), (0.0, 4, 100.0)], "fcfs")
    assert list(why.reasons) == ["batched"]
    assert parts_of(why, 0) == pytest.approx({"alone": 3, "batched": 4})
    (ran,) = why.story(0).spans
    assert (ran.part, ran.lasted_s, ran.requests) == ("alone", pytest.approx(7), (1,))


def test_decisions_and_hand_overs_may_be_the_reason() -> None:
    why = explained([(0.0, 3, 5.0)], "fcfs", cost=pencil(resume_s=1.0, decision=lambda seen: 2.0))
    assert list(why.reasons) == ["host"]
    assert parts_of(why, 0) == pytest.approx({"alone": 3, "host": 3})


def test_what_can_never_be_held_is_rejected() -> None:
    why = explained([(0.0, 10, 100.0), (1.0, 2, 100.0)], "fcfs", server=ServerOptions(block_tokens=1, kv_tokens=8))
    assert list(why.reasons) == ["rejected"]
    assert (why.story(0).rejected, why.story(0).reason, why.story(1).reason) == (True, "rejected", None)


def test_a_run_that_is_cut_off_explains_what_was_due_before() -> None:
    why = explained([(0.0, 10, 100.0), (1.0, 2, 3.0)], "fcfs", until_s=6.0)
    assert list(why.reasons) == ["blocked"]
    assert parts_of(why, 1) == pytest.approx({"blocked": 5})


def test_fairness_by_hand() -> None:
    """Slowdowns: 1 and 11 / 3, 14 / 4, 8 / 2, 1."""
    slow = np.array([1, 11 / 3, 14 / 4, 4, 1])
    fair = explained(QUEUE, "edf:cut=none", clients=["a", "b", "a", "b", "a"]).fairness
    assert (fair.longest, fair.longest_s, fair.worst_class) == (2, pytest.approx(14), "text")
    assert fair.jain == pytest.approx(slow.sum() ** 2 / (5 * (slow**2).sum()))
    assert fair.clients == pytest.approx({"a": slow[[0, 2, 4]].mean(), "b": slow[[1, 3]].mean()})


def test_a_run_without_events_has_no_explanation() -> None:
    with pytest.raises(InputError, match="events: were not kept"):
        explain(flowsim.run("example", "fcfs", limit=5))


@pytest.mark.parametrize("result", [3, None, "run"])
def test_only_a_run_is_explained(result: object) -> None:
    with pytest.raises(InputError, match=r"^result must be a run, as flowsim\.run gives it, got "):
        flowsim.explain(result)  # type: ignore[arg-type]
