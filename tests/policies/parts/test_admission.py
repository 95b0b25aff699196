"""Which waiting requests are rejected, in situations made by hand."""

from __future__ import annotations

from flowsim.policies.parts.admission import ADMISSIONS, Admitted
from flowsim.policies.parts.orders import EARLIEST
from support.situations import request, situation

QUEUE = [request(0, 4, slo_s=40.0), request(1, 9, slo_s=12.0), request(2, 2, slo_s=8.0), request(3, 5, slo_s=10.0)]


def test_everyone_is_admitted() -> None:
    assert list(ADMISSIONS["all"](situation(now=99.0, waiting=QUEUE))) == []


def test_the_hopeless_would_be_late_even_at_once() -> None:
    for now, expected in ((3.0, []), (3.5, [1]), (5.0, [1]), (6.0, [1, 3]), (6.5, [1, 3, 2]), (37.0, [1, 3, 2, 0])):
        rejected = ADMISSIONS["hopeless"](situation(now=now, waiting=QUEUE))
        assert [one.id for one in rejected] == expected
    assert list(ADMISSIONS["hopeless"](situation(now=9.0, waiting=[request(0, 4, slo_s=float("inf"))]))) == []


def test_a_view_without_the_rejected_hides_them_from_every_question() -> None:
    view = Admitted(situation(now=1.0, waiting=QUEUE), QUEUE[2:3])
    assert list(view.waiting) == [QUEUE[0], QUEUE[1], QUEUE[3]]
    assert view.next_waiting(EARLIEST) is QUEUE[3]
    assert view.next_waiting(EARLIEST, QUEUE[3]) is QUEUE[1]
    assert view.next_waiting(EARLIEST, max_tokens=4) is QUEUE[0]
    assert view.now == 1.0
