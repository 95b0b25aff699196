"""First come, first served, in situations made by hand."""

from __future__ import annotations

from flowsim.policies.fcfs import FCFS
from support.situations import ids, request, situation


def test_fcfs_takes_the_longest_prefix_under_its_cap() -> None:
    queue = [request(0, 4), request(1, 3), request(2, 5), request(3, 1)]
    assert ids(FCFS(7).choose(situation(waiting=queue))) == [0, 1]
    assert ids(FCFS(100).choose(situation(waiting=queue))) == [0, 1, 2, 3]
    assert ids(FCFS(2).choose(situation(waiting=queue))) == [0]  # a longer prompt runs alone
    assert ids(FCFS(100).choose(situation(waiting=queue, kv_tokens=8))) == [0, 1]
    assert FCFS().choose(situation(waiting=queue, kv_tokens=3)) is None
    assert FCFS().choose(situation()) is None


def test_fcfs_stops_at_the_requests_of_a_batch() -> None:
    queue = [request(i, 1) for i in range(5)]
    assert ids(FCFS(batch_requests=3).choose(situation(waiting=queue))) == [0, 1, 2]
    assert ids(FCFS(batch_requests=1).choose(situation(waiting=queue))) == [0]


def test_the_defaults_of_fcfs_are_those_of_distserve() -> None:
    short = [request(i, 1) for i in range(300)]
    assert ids(FCFS().choose(situation(waiting=short))) == [*range(256)]
    long = [request(0, 4000), request(1, 96), request(2, 1)]
    assert ids(FCFS().choose(situation(waiting=long))) == [0, 1]
