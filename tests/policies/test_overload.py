"""D-over and SLOs-Serve: whom they serve when not everyone can be in time. A token takes a second."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsim.core.request import Request
from flowsim.errors import InputError
from flowsim.policies.overload import DOver, SLOsServe, plan
from support.situations import executing, ids, request, situation
from support.timelines import ran, run


def test_an_earlier_deadline_preempts_if_it_makes_nothing_late() -> None:
    """Cuts lie 2 s apart in the first, which has 4 s of slack. The second fits and preempts; the third, due at 11 s,
    does not fit any more, and is rejected at 7 s."""
    rows = [(0.0, 10, 14.0), (1.0, 3, 9.0), (3.0, 4, 8.0)]
    outcome = run("d-over", *rows)
    assert ran(outcome) == [(0.0, 2.0, (0,), False), (2.0, 5.0, (1,), True), (5.0, 13.0, (0,), True)]
    assert outcome.ledger.rejected == [False, False, True]
    assert [members for *_, members, _ in ran(run("edf", *rows))] == [(0,), (1,), (2,), (0,)]  # the first ends at 17 s


def test_at_a_completion_the_earliest_of_the_others_goes_before_what_it_preempted_if_there_is_room() -> None:
    """At 3 s the third is due later than the second, so it waits; at 5 s it fits into the slack of the first."""
    rows = [(0.0, 10, 30.0), (1.0, 3, 9.0), (3.0, 4, 20.0)]
    assert [members for *_, members, _ in ran(run("d-over", *rows))] == [(0,), (1,), (2,), (0,)]
    tight = [(0.0, 10, 15.0), (1.0, 3, 9.0), (3.0, 4, 11.0)]
    assert [members for *_, members, _ in ran(run("d-over", *tight))] == [(0,), (1,), (0,)]


def test_a_value_large_enough_takes_over_when_its_slack_is_gone() -> None:
    """The second has to begin at 4 s. 21 tokens are worth more than twice 10, 20 are not."""
    rows = [(0.0, 10, 14.0), (1.0, 21, 24.0)]
    outcome = run("d-over:value=tokens", *rows)
    assert ran(outcome)[:2] == [(0.0, 4.0, (0,), False), (4.0, 25.0, (1,), True)]
    assert outcome.ledger.rejected == [False, False]
    for policy, second in (("d-over:value=tokens", 20), ("d-over:value=tokens,k=4", 21), ("d-over", 21)):
        outcome = run(policy, rows[0], (1.0, second, second + 3.0))
        assert ran(outcome) == [(0.0, 10.0, (0,), True)]
        assert outcome.ledger.rejected == [False, True]


def test_it_takes_over_at_a_decision_that_comes_a_little_later() -> None:
    """Where decisions take time, the timer's is made after the slack is gone: at 4.001 s in place of 4 s."""
    running = executing(request(0, 10, slo_s=14.0), left=6.0)
    second = request(1, 21, slo_s=24.0, arrival_s=1.0)
    policy = DOver(value="tokens")
    assert policy.choose(situation(now=1.0, running=running, waiting=[second])).run is running
    decision = policy.choose(situation(now=4.001, running=running, waiting=[second]))
    assert ids(decision.run) == [1] and not decision.reject


@pytest.mark.parametrize("value", ["requests", "tokens"])
def test_what_ran_out_of_slack_unseen_takes_over_nothing_where_nothing_is_held(value: str) -> None:
    """Not asked before 10 s: the second had to begin at 4 s, and is rejected; the third is in time at 13 s."""
    outcome = run(f"d-over:cut=none,value={value}", (0.0, 10, 30.0), (1.0, 5, 8.0), (2.0, 3, 12.0))
    assert ran(outcome) == [(0.0, 10.0, (0,), True), (10.0, 13.0, (2,), True)]
    assert outcome.ledger.rejected == [False, True, False]


def test_what_cannot_be_in_time_is_rejected_as_it_comes() -> None:
    outcome = run("d-over", (0.0, 5, 4.0), (0.0, 3, float("inf")))
    assert ran(outcome) == [(0.0, 3.0, (1,), True)]
    assert outcome.ledger.rejected == [True, False]


def test_what_is_late_holds_up_nothing() -> None:
    """It has 12 s left at 5 s, due at 14 s. Running, it is preempted; preempted before, it goes last."""
    late = executing(request(0, 20, slo_s=14.0), left=12.0)
    second = request(1, 3, slo_s=15.0, arrival_s=5.0)
    policy = DOver()
    assert ids(policy.choose(situation(now=5.0, running=late, waiting=[second])).run) == [1]
    assert not policy.privileged
    policy.privileged.add(0)
    assert ids(policy.choose(situation(now=5.0, paused=[late], waiting=[second])).run) == [1]
    assert policy.choose(situation(now=5.0, paused=[late])).run is late


def test_a_pass_that_takes_longer_than_predicted_is_late_from_its_deadline_on() -> None:
    """It is about to end at any time, and the policy is asked again when it is due. The other makes it until 97 s."""
    running, other = executing(request(0, 20, slo_s=14.0), left=0.0), request(1, 3, arrival_s=5.0, slo_s=95.0)
    policy = DOver()
    decision = policy.choose(situation(now=9.0, running=running, waiting=[other]))
    assert decision.run is running and decision.wake_at == 14.0
    assert ids(policy.choose(situation(now=14.0, running=running, waiting=[other])).run) == [1]


def test_rounding_makes_nothing_late() -> None:
    running = executing(request(0, 20, slo_s=14.0), left=9.0 + 1e-12)
    policy = DOver()
    policy.on_arrival(second := request(1, 3, slo_s=8.5, arrival_s=5.0), situation())
    assert policy.choose(situation(now=5.0, running=running, waiting=[second])).run is running


def test_d_over_has_valid_options() -> None:
    assert DOver().choose(situation()).run is None
    with pytest.raises(InputError, match="unknown value 'token'; did you mean 'tokens'"):
        DOver(value="token")
    with pytest.raises(InputError, match="option k must be >= 1"):
        DOver(k=0.5)


def test_promises_are_kept_where_moore_and_hodgson_would_drop_the_longest() -> None:
    """The first, of 9 s, would be late after any other; it was promised to be in time, so the others go after it."""
    rows = [(0.0, 9, 10.0), (1.0, 3, 10.0), (1.0, 3, 11.0), (1.0, 3, 12.0)]
    assert ran(run("slos-serve:cut=layer", *rows)) == [
        (0.0, 9.0, (0,), True),
        (9.0, 12.0, (2,), True),
        (12.0, 15.0, (1,), True),
        (15.0, 18.0, (3,), True),
    ]
    assert [members for *_, members, _ in ran(run("moore-hodgson:batching=none", *rows))][1] == (1,)


def test_of_those_that_come_together_most_are_promised() -> None:
    rows = [(0.0, 9, 10.0), (0.0, 3, 11.0), (0.0, 3, 12.0), (0.0, 3, 13.0)]
    assert [members for *_, members, _ in ran(run("slos-serve", *rows))] == [(1,), (2,), (3,), (0,)]
    assert [members for *_, members, _ in ran(run("edf:cut=none", *rows))] == [(0,), (1,), (2,), (3,)]
    assert [members for *_, members, _ in ran(run("slos-serve:candidates=1", *rows))] == [(0,), (1,), (2,), (3,)]


def test_a_promise_that_cannot_be_kept_is_taken_back() -> None:
    policy = SLOsServe()
    late, other = request(0, 5, slo_s=10.0), request(1, 5, slo_s=20.0)
    for one in (late, other):
        policy.on_arrival(one, situation())
    assert ids(policy.choose(situation(now=0.0, waiting=[late, other]))) == [0]
    assert sorted(policy.promised) == [0, 1]
    assert ids(policy.choose(situation(now=6.0, waiting=[late, other]))) == [1]
    assert sorted(policy.promised) == [1]
    running, third = executing(other, left=5.0), request(2, 5, slo_s=40.0)
    policy.on_arrival(third, situation())
    assert policy.choose(situation(now=15.0, running=running, waiting=[third])) is running
    assert sorted(policy.promised) == [1, 2]
    assert ids(policy.choose(situation(now=16.0, running=running, waiting=[third]))) == [2]  # 5 s left, due at 20 s


jobs = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 30), st.booleans()), min_size=1, max_size=7)


@given(jobs)
def test_no_plan_takes_more_and_none_breaks_a_promise(rows: list[tuple[int, int, bool]]) -> None:
    """Against every subset of the new ones. Those promised are what can be kept without any of them."""
    every = [request(i, tokens, slo_s=float(slo_s)) for i, (tokens, slo_s, _) in enumerate(rows)]
    bound: list[Request] = []
    for one, (*_, promised) in zip(every, rows, strict=True):
        if promised and possible([*bound, one]):
            bound.append(one)
    new = [one for one in every if one not in bound]
    taken = plan(0.0, bound, new)
    assert possible([*bound, *(one for one in new if one.id in taken)])
    assert not any(possible([*bound, *more]) for more in combinations(new, len(taken) + 1))


def possible(requests: list[Request]) -> bool:
    end_s = 0.0
    for one in sorted(requests, key=lambda one: one.deadline_s):
        end_s += one.tokens
        if end_s > one.deadline_s:
            return False
    return True


def test_a_promise_broken_already_binds_no_more() -> None:
    late, new = request(0, 9, slo_s=5.0), request(1, 3, slo_s=20.0)
    assert plan(0.0, [late], [new]) == [1]
