"""Fairness among clients, on timelines by hand. A token takes a second."""

from __future__ import annotations

from typing import Any

from flowsim.core.request import Request
from flowsim.policies.vtc import DLPM, VTC
from support.situations import ids, situation
from support.timelines import ran, run

MANY = [(0.0, 4, 99.0), (0.0, 4, 99.0), (0.0, 4, 99.0), (1.0, 4, 99.0), (1.0, 4, 99.0)]
ONE = "vtc:batch_requests=1"


def order(policy: Any, rows: list[tuple[float, int, float]], clients: str) -> list[int]:
    return [members[0] for *_, members, _ in ran(run(policy, *rows, clients=clients))]


def test_clients_take_turns_however_many_requests_each_has() -> None:
    """The second client starts from the first's counter, 4; a tie goes to the earlier arrival."""
    assert order(ONE, MANY, "aaabb") == [0, 1, 3, 2, 4]
    assert order(ONE, MANY, "aaaaa") == [0, 1, 2, 3, 4]


def test_a_client_that_comes_while_nobody_waits_starts_where_the_latest_stands() -> None:
    """From 10, as `a` has. From 0 it would have both its requests served first."""
    rows = [(0.0, 10, 99.0), (1.0, 4, 99.0), (2.0, 4, 99.0), (3.0, 4, 99.0)]
    assert order(ONE, rows, "abab") == [0, 1, 2, 3]
    assert order("fcfs:batch_requests=1", rows, "abab") == [0, 1, 2, 3]
    assert order(ONE, [*rows[:2], (1.5, 4, 99.0), rows[3]], "abba") == [0, 1, 3, 2]


def test_long_prompts_count_for_more() -> None:
    rows = [(0.0, 9, 99.0), (0.0, 3, 99.0), (0.0, 9, 99.0), (0.0, 3, 99.0), (0.0, 3, 99.0)]
    assert order(ONE, rows, "ababb") == [0, 1, 3, 4, 2]


def test_a_batch_ends_at_the_first_that_does_not_fit() -> None:
    outcome = run("vtc:batch_tokens=12", *MANY, clients="aaabb")
    assert ran(outcome) == [(0.0, 12.0, (0, 1, 2), True), (12.0, 20.0, (3, 4), True)]
    assert VTC().choose(situation()) is None


def test_what_one_run_counts_another_does_not_see() -> None:
    policy = VTC(batch_requests=1)
    assert order(policy, MANY, "aaabb") == order(policy, MANY, "aaabb")
    assert policy.served == {}


def test_a_deficit_is_used_up_before_the_next_client_has_its_turn() -> None:
    """With a quantum of 4 s clients take turns; with 9 s the first has three requests served before the other's."""
    assert order("dlpm:quantum=4,batch_requests=1", MANY, "aaabb") == [0, 1, 3, 2, 4]
    assert order("dlpm:quantum=9,batch_requests=1", MANY, "aaabb") == [0, 1, 2, 3, 4]
    assert order(ONE, MANY, "aaabb") == [0, 1, 3, 2, 4]


def test_who_is_deep_in_debt_gets_several_quanta_and_who_is_not_gets_none() -> None:
    """a has -6 left at 10 s, -2 at 14 s, and 2 at 19 s, when nobody else waits; b has 4, 0 + 4, 3 - 4 and 3."""
    rows = [(0.0, 10, 99.0), (0.0, 4, 99.0), (0.0, 1, 99.0), (0.0, 1, 99.0), (0.0, 4, 99.0)]
    outcome = run("dlpm:quantum=4,batch_requests=1", *rows, clients="ababb")
    assert [members[0] for *_, members, _ in ran(outcome)] == [0, 1, 3, 4, 2]
    [policy] = outcome.policies
    assert isinstance(policy, DLPM)
    assert policy.left == {"a": 1, "b": 3}


def test_the_most_cached_tokens_go_first_among_those_with_a_deficit() -> None:
    of = [("a", 0), ("a", 5), ("b", 9)]
    queue = [Request(i, float(i), 10, 99.0, client=c, cached=h, context=h) for i, (c, h) in enumerate(of)]
    policy = DLPM(quantum=4)
    for one in queue:
        policy.on_arrival(one, situation())
    assert ids(policy.choose(situation(waiting=queue))) == [2, 1, 0]
    assert policy.left == {"a": 4 - 5 + 4 - 10, "b": 3 + 0}
    policy.left.update(a=4, b=0)
    assert ids(policy.choose(situation(waiting=queue)))[0] == 1


def test_a_batch_of_dlpm_ends_at_the_first_that_does_not_fit() -> None:
    outcome = run("dlpm:quantum=99,batch_tokens=9", *MANY, clients="aaabb")
    assert ran(outcome) == [(0.0, 8.0, (0, 1), True), (8.0, 16.0, (2, 3), True), (16.0, 20.0, (4,), True)]
    assert DLPM().choose(situation()) is None
