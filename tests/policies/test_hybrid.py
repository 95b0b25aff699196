"""QoServe's hybrid of deadlines and tokens left, on timelines by hand. A token takes a second."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import force_setattr

from flowsim.core.passes import Pass
from flowsim.core.request import Request
from flowsim.errors import InputError
from flowsim.policies.hybrid import Hybrid
from support.situations import executing, request, situation
from support.timelines import ran, run

EXACT = "throughput=1,decay=1"


def test_tokens_left_put_a_deadline_off() -> None:
    """Due at 40 and 42 s: with 1 s a token, keys 50 and 45."""
    rows = [(0.0, 10, 40.0), (0.0, 3, 42.0)]
    assert ran(run(f"hybrid:budget=20,alpha=0,{EXACT}", *rows)) == [(0.0, 13.0, (0, 1), True)]
    assert ran(run(f"hybrid:budget=20,alpha=1,{EXACT}", *rows)) == [(0.0, 13.0, (1, 0), True)]


def test_what_looks_late_before_it_begins_is_relegated_for_good() -> None:
    """At 4 s prompt 1 would end at 10 s, after 9 s. At 0 s it was not looked at: the budget was spent."""
    rows = [(0.0, 4, 5.0), (0.0, 6, 9.0), (0.0, 7, 30.0)]
    assert ran(run(f"hybrid:budget=4,alpha=0,{EXACT}", *rows)) == [
        (0.0, 4.0, (0,), True),
        (4.0, 8.0, (2,), True),
        (8.0, 12.0, (2, 1), True),
        (12.0, 16.0, (1,), True),
        (16.0, 17.0, (1,), True),
    ]
    fast = "hybrid:budget=4,alpha=0,throughput=2,decay=1"
    assert [members for *_, members, _ in ran(run(fast, *rows))][1:3] == [(1,), (1, 2)]


def test_what_has_begun_is_not_relegated() -> None:
    begun = Request(0, 0.0, 9, 5.0, context=2)
    policy = waiting(Hybrid(budget=5, alpha=0.0, throughput=1), request(1, 3, slo_s=90.0))
    assert policy.choose(situation(now=4.0, started=[begun])) == Pass(((begun, 5),))


def test_the_throughput_is_smoothed() -> None:
    """Half of 3 and half of 1 token a second: 2, then 1.5."""
    policy = Hybrid(throughput=3, decay=0.5)
    one = executing(request(0, 8))
    view = situation()
    for expected in (2.0, 1.5):
        policy.on_completion(_taken(one, 8.0), view)
        assert policy.smoothed["rate"] == expected
    assert Hybrid().smoothed == {}


def test_what_has_no_slo_is_not_relegated() -> None:
    rows = [(0.0, 6, float("inf")), (1.0, 4, 20.0)]
    outcome = run(f"hybrid:budget=4,alpha=0,{EXACT}", *rows)
    assert [members for *_, members, _ in ran(outcome)] == [(0,), (1,), (0,)]
    [policy] = outcome.policies
    assert isinstance(policy, Hybrid)
    assert policy.relegated == set()


def test_without_blocks_for_the_first_those_that_have_them_go_on() -> None:
    begun = Request(0, 0.0, 9, 90.0, context=2)
    policy = waiting(Hybrid(alpha=0.0), request(1, 3, slo_s=20.0))
    assert policy.choose(situation(started=[begun], kv_tokens=10)) == Pass(((begun, 7),))
    assert [member.id for member, _ in policy.choose(situation(started=[begun], kv_tokens=12)).parts] == [1, 0]
    assert Hybrid().choose(situation()) is None


def test_the_relegated_do_not_pass_one_without_blocks() -> None:
    """What is relegated and has begun goes on."""
    begun, late, blocked = Request(0, 0.0, 9, 90.0, context=2), request(1, 2, slo_s=1.0), request(2, 8, slo_s=90.0)
    policy = waiting(Hybrid(alpha=0.0, throughput=1), late, blocked)
    policy.relegated.add(begun.id)
    assert policy.choose(situation(started=[begun], kv_tokens=16)) == Pass(((begun, 7),))
    assert policy.relegated == {0, 1}


def test_options_are_checked() -> None:
    with pytest.raises(InputError, match="option decay must be between 0 and 1, got 2"):
        Hybrid(decay=2.0)
    with pytest.raises(InputError, match="option alpha must be >= 0 seconds, got -1"):
        Hybrid(alpha=-1.0)


def waiting(policy: Hybrid, *requests: Request) -> Any:
    for one in requests:
        policy.on_arrival(one, situation())
    return policy


def _taken(execution: Any, taken_s: float) -> Any:
    force_setattr(execution, "taken_s", taken_s)
    return execution
