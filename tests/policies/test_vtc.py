"""The virtual token counter: clients in turn, on timelines by hand. A token takes a second."""

from __future__ import annotations

from typing import Any

from flowsim.policies.vtc import VTC
from support.situations import situation
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
