"""Moore-Hodgson: the largest set that can all be in time, on timelines by hand. A token takes a second."""

from __future__ import annotations

from itertools import combinations, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsim.core.request import Request
from flowsim.errors import InputError
from flowsim.policies.moore_hodgson import Headroom, MooreHodgson, in_time
from support.situations import executing, ids, request, situation
from support.timelines import ran, run

HARMFUL = [request(0, 9, slo_s=10.0), request(1, 3, slo_s=11.0), request(2, 3, slo_s=12.0), request(3, 3, slo_s=13.0)]


def test_the_longest_is_dropped_when_one_would_be_late() -> None:
    """After 9 s the second would end at 12 s, late: the first is dropped, and the three others fit."""
    assert [one.id for one in in_time(situation(waiting=HARMFUL))] == [1, 2, 3]
    assert ids(MooreHodgson(batching="none").choose(situation(waiting=HARMFUL))) == [1]


def test_more_are_in_time_than_by_slack_aware_deadlines() -> None:
    rows = [(0.0, 9, 10.0), (0.0, 3, 11.0), (0.0, 3, 12.0), (0.0, 3, 13.0)]
    assert ran(run("moore-hodgson:cut=none,batching=none", *rows)) == [
        (0.0, 3.0, (1,), True),
        (3.0, 6.0, (2,), True),
        (6.0, 9.0, (3,), True),
        (9.0, 18.0, (0,), True),
    ]
    assert ran(run("flowprefill:cut=none,batching=none", *rows))[0] == (0.0, 9.0, (0,), True)


def test_those_left_out_follow_shortest_first() -> None:
    late = [request(0, 9, slo_s=5.0), request(1, 7, slo_s=5.0), request(2, 8, slo_s=5.0)]
    assert in_time(situation(waiting=late)) == []
    assert ids(MooreHodgson(batching="none").choose(situation(waiting=late))) == [1]
    paused: Any = executing(request(3, 9, slo_s=5.0), left=2.0)
    assert MooreHodgson().choose(situation(waiting=late, paused=[paused])) is paused


def test_what_has_no_room_is_passed_over() -> None:
    running = executing(request(4, 6, slo_s=50.0))
    assert ids(MooreHodgson(batching="none").choose(situation(waiting=HARMFUL, kv_tokens=4))) == [1]
    view = situation(waiting=HARMFUL, running=running, kv_tokens=8)
    assert MooreHodgson().choose(view) is running
    begun = Request(5, 0.0, 10, 60.0, context=7, predicted_s=3.0)
    assert ids(MooreHodgson(batching="none").choose(situation(waiting=HARMFUL, started=[begun], kv_tokens=12))) == [5]


jobs = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 30)), min_size=1, max_size=7)


@given(jobs)
def test_no_larger_set_can_be_in_time(rows: list[tuple[int, int]]) -> None:
    """Against every subset, each by earliest deadline, which is in time if any sequence of it is."""
    waiting = [request(i, tokens, slo_s=float(slo_s)) for i, (tokens, slo_s) in enumerate(rows)]
    found = in_time(situation(waiting=waiting))
    assert all(one.deadline_s <= other.deadline_s for one, other in pairwise(found))
    assert possible([(one.tokens, one.slo_s) for one in found])
    assert not any(possible(list(other)) for other in combinations(rows, len(found) + 1))


def possible(jobs: list[Any]) -> bool:
    end = 0.0
    for tokens, slo_s in sorted(jobs, key=lambda job: job[1]):
        end += tokens
        if end > slo_s:
            return False
    return True


@pytest.mark.parametrize("cut", ["none", "layer", "operator"])
def test_one_without_slo_is_served_last(cut: str) -> None:
    rows = [(0.0, 3, float("inf")), (0.0, 3, 20.0)]
    assert ran(run(f"moore-hodgson:cut={cut},batching=none", *rows))[0][2] == (1,)


def test_a_batch_counts_as_the_requests_that_it_still_serves_in_time() -> None:
    """Of 6 s of a batch of three, and 4 s alone, one must go: the batch takes 2 s per request."""
    batch: Any = executing(*(request(i, 4, slo_s=9.0) for i in range(3)), left=6.0)
    alone = request(3, 4, slo_s=9.5)
    assert in_time(situation(paused=[batch], waiting=[alone])) == [batch]
    of_one: Any = executing(request(4, 12, slo_s=9.0), left=6.0)
    assert in_time(situation(paused=[of_one], waiting=[alone])) == [alone]


def test_headroom_gives_up_what_is_in_time_only_if_nobody_comes() -> None:
    """9 s of 10 are too much with 30 % of headroom. So the second, due later, runs and the third, which comes, is in
    time behind it; without headroom the first runs, is given up at 1 s, and has cost the second nothing but that."""
    rows = [(0.0, 9, 10.0), (0.0, 3, 12.0), (1.0, 5, 12.0)]
    assert ran(run("headroom:cut=none,batching=none", *rows)) == [
        (0.0, 3.0, (1,), True),
        (3.0, 8.0, (2,), True),
        (8.0, 17.0, (0,), True),
    ]
    assert ran(run("moore-hodgson:cut=none,batching=none", *rows))[0] == (0.0, 9.0, (0,), True)


def test_headroom_lets_those_left_out_follow_by_arrival() -> None:
    late = [request(1, 9, slo_s=5.0), request(2, 7, slo_s=5.0)]
    assert ids(Headroom(batching="none").choose(situation(waiting=late))) == [1]
    assert ids(MooreHodgson(batching="none").choose(situation(waiting=late))) == [2]


def test_its_options_are_checked() -> None:
    with pytest.raises(InputError, match="option headroom must be >= 0, got -1"):
        MooreHodgson(headroom=-1.0)
    with pytest.raises(InputError, match="unknown order 'fcfz'"):
        MooreHodgson(late="fcfz")
