"""Six requests on costs by hand."""

from __future__ import annotations

import pytest

from flowsim.policies.catalogue import TABLE
from flowsim.policies.registry import load_policy
from flowsim.runs.six_requests import ROWS, six_requests


def test_fcfs_follows_the_pencil() -> None:
    served = six_requests(load_policy("fcfs"))
    assert [one.finished_s for one in served] == pytest.approx([10.0, 11.0, 17.0, 18.0, 23.0, 25.0])
    assert served[0].ran == [pytest.approx((0.0, 10.0))]
    assert [one.request.tokens for one in served] == [row[1] for row in ROWS]


def test_edf_preempts_and_may_reject() -> None:
    served = six_requests(load_policy("edf:admission=hopeless"))
    assert served[4].rejected
    assert served[4].ran == []
    assert [one.finished_s for one in served if not one.rejected] == pytest.approx([20.0, 2.0, 9.0, 4.0, 14.0])


@pytest.mark.parametrize("name", TABLE)
def test_every_policy_gets_through(name: str) -> None:
    served = [one for one in six_requests(load_policy(name)) if not one.rejected]
    assert all(one.finished_s > one.request.arrival_s for one in served)
    assert [one.ran[-1][1] for one in served] == pytest.approx([one.finished_s for one in served], abs=0.5)


def test_a_long_prompt_is_left_where_its_policy_cuts() -> None:
    first = {name: six_requests(load_policy(name))[0].ran[0] for name in ("headroom", "lars", "hybrid", "fcfs")}
    ends = {"headroom": 1.0, "lars": 4.0, "hybrid": 2.552, "fcfs": 10.0}
    assert {name: ended_s for name, (_, ended_s) in first.items()} == pytest.approx(ends)


def test_headroom_misses_no_more_than_flowprefill() -> None:
    missed = {
        name: [one.request.id for one in six_requests(load_policy(name)) if one.finished_s > one.request.deadline_s]
        for name in ("headroom", "flowprefill")
    }
    assert missed == {"headroom": [4], "flowprefill": [4]}
