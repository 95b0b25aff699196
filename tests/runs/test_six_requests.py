"""Six requests on costs by hand."""

from __future__ import annotations

import pytest

from flowsim.policies.registry import load_policy
from flowsim.policies.table import TABLE
from flowsim.runs.six_requests import ROWS, six_requests


def test_fcfs_follows_the_pencil() -> None:
    served = six_requests(load_policy("fcfs"))
    assert [one.finished_s for one in served] == pytest.approx([10.0, 23.0, 23.0, 23.0, 23.0, 25.0])
    assert served[0].ran == [pytest.approx((0.0, 10.0))]
    assert [one.request.tokens for one in served] == [row[1] for row in ROWS]


def test_edf_preempts_and_may_reject() -> None:
    served = six_requests(load_policy("edf:admission=hopeless"))
    assert served[4].rejected
    assert served[4].ran == []
    assert [one.finished_s for one in served if not one.rejected] == pytest.approx([20.0, 3.0, 10.0, 4.0, 14.0])


@pytest.mark.parametrize("name", TABLE)
def test_every_policy_gets_through(name: str) -> None:
    assert all(one.rejected or one.finished_s > one.request.arrival_s for one in six_requests(load_policy(name)))
