"""Schedulers that reject what the work ahead makes late, on timelines by hand. A token takes a second."""

from __future__ import annotations

import pytest

from flowsim.policies.parts.admission import ADMISSIONS
from support.situations import executing, request, situation
from support.timelines import ran, run

ROWS = [(0.0, 6, 99.0), (1.0, 5, 40.0), (2.0, 4, 10.0), (3.0, 2, 9.0)]


def test_scorpio_rejects_what_earlier_deadlines_make_late() -> None:
    """At 6 s: prompt 2 (due at 12 s) would end at 10 s, and 3, due at 12 s as well, at 12 s; 1 at 17 s."""
    outcome = run("scorpio", *ROWS)
    assert [members for *_, members, _ in ran(outcome)] == [(0,), (2,), (3,), (1,)]
    assert not any(outcome.ledger.rejected)
    outcome = run("scorpio", *ROWS[:3], (3.0, 3, 9.0))
    assert [members for *_, members, _ in ran(outcome)] == [(0,), (2,), (1,)]
    assert outcome.ledger.rejected == [False, False, False, True]


def test_early_reject_keeps_the_order_of_arrival() -> None:
    """At 6 s: prompt 1 ends at 11 s, so that 2 would end at 15 s, late; without it 3 would end at 13 s, late too."""
    outcome = run("early-reject:batching=none", *ROWS)
    assert [members for *_, members, _ in ran(outcome)] == [(0,), (1,)]
    assert outcome.ledger.rejected == [False, False, True, True]


@pytest.mark.parametrize(("name", "expected"), [("late-by-fcfs", [2, 3]), ("late-by-edf", [1])])
def test_what_is_rejected_does_not_delay_those_after_it(name: str, expected: list[int]) -> None:
    """3 s are at work. By arrival: 0 ends at 7 s, 1 at 11 s. By deadline: 3 ends at 5 s, 2 at 8 s, 0 at 12 s."""
    queue = [request(0, 4, slo_s=12.0), request(1, 4, slo_s=13.0), request(2, 3, slo_s=9.0), request(3, 2, slo_s=5.0)]
    running = executing(request(4, 9, slo_s=4.0, arrival_s=-1.0), left=3.0)
    assert [one.id for one in ADMISSIONS[name](situation(waiting=queue, running=running))] == expected


@pytest.mark.parametrize("policy", ["edf:admission=late-by-edf", "scorpio"])
@pytest.mark.parametrize("cut", ["chunk", "layer", "block", "operator"])
def test_what_can_be_preempted_and_is_due_later_makes_nobody_late(policy: str, cut: str) -> None:
    """Two forwards of 5 s: at the cut after the first the second request preempts, and ends at 7 s, due at 9 s."""
    rows = [(0.0, 10, 40.0), (1.0, 2, 8.0)]
    asked = policy + (":" if policy == "scorpio" else ",") + f"cut={cut}"
    outcome = run(asked, *rows, max_batched_tokens=5)
    assert outcome.ledger.rejected == [False, False]
    assert outcome.ledger.finished_s[1] <= 9.0
    assert run("scorpio", *rows, max_batched_tokens=5).ledger.rejected == [False, True]


@pytest.mark.parametrize("kind", ["running", "paused", "started"])
def test_what_is_at_work_counts_for_those_after_it_in_the_order(kind: str) -> None:
    """Of three that take 2 s each and are due at 5, 11 and 13 s, the 7 s of one due at 10 s come second."""
    queue = [request(0, 2, slo_s=13.0), request(1, 2, slo_s=5.0), request(2, 2, slo_s=11.0)]
    one = request(3, 7, slo_s=10.0)
    there = {"running": executing(one), "paused": [executing(one)], "started": [one]}[kind]
    rejected = ADMISSIONS["late-by-edf"](situation(waiting=queue, **{kind: there}))
    assert [late.id for late in rejected] == []
    rejected = ADMISSIONS["late-by-edf"](situation(now=1.0, waiting=queue, **{kind: there}))
    assert [late.id for late in rejected] == [2]
