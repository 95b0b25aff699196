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
    running = executing(request(4, 9), left=3.0)
    assert [one.id for one in ADMISSIONS[name](situation(waiting=queue, running=running))] == expected
