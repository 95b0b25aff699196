"""Shortest job first, in situations made by hand."""

from __future__ import annotations

from flowsim.policies.sjf import SJF
from support.situations import executing, ids, request, situation


def test_sjf_takes_the_shortest_and_fills_up_with_the_next() -> None:
    queue = [request(0, 6), request(1, 2), request(2, 3), request(3, 2)]
    assert ids(SJF(8).choose(situation(waiting=queue))) == [1, 3, 2]
    assert ids(SJF(1).choose(situation(waiting=queue))) == [1]
    nearly_done, long = executing(request(4, 9), left=1.0), executing(request(5, 9))
    assert SJF(cut="layer").choose(situation(waiting=queue, running=nearly_done)) is nearly_done
    assert ids(SJF(2, cut="layer").choose(situation(waiting=queue, running=long))) == [1]
    assert SJF(cut="layer").choose(situation(paused=[long, nearly_done])) is nearly_done
