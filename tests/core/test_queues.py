"""Queues answer as sorting does."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import force_setattr

from flowsim.core.moving_queue import MovingQueue
from flowsim.core.queues import UNBOUNDED, SortedQueue
from flowsim.core.request import Request
from support.orders import ORDERS

rows = st.tuples(
    st.integers(0, 3),  # gap to the arrival before
    st.integers(1, 6),  # tokens
    st.sampled_from([0.5, 1.0, 4.0, 9.0, float("inf")]),  # SLO
    st.sampled_from([0.0, 0.25, 1.0, 3.0]),  # predicted
)


@st.composite
def traces(draw: st.DrawFn) -> list[Request]:
    """Requests in order of arrival, with many ties."""
    drawn, now = draw(st.lists(rows, min_size=1, max_size=12)), 0.0
    requests = []
    for id, (gap_s, tokens, slo_s, predicted_s) in enumerate(drawn):
        now += gap_s
        own = {"priority": id % 3, "predicted_whole_s": tokens * predicted_s}
        requests.append(Request(id, now, tokens, slo_s, predicted_s=predicted_s, **own))
    return requests


def expected(order: Any, present: list[Request], now: float, last: Request | None, max_tokens: int) -> Request | None:
    ranked = sorted(present, key=lambda request: order.rank(request, now))
    if last is not None:
        ranked = [request for request in ranked if order.rank(request, now) > order.rank(last, now)]
    return next((request for request in ranked if request.tokens <= max_tokens), None)


@pytest.mark.parametrize("changing", [False, True])
@pytest.mark.parametrize("name", ORDERS)
@settings(max_examples=30)  # for each of many orders
@given(requests=traces(), data=st.data())
def test_a_queue_answers_as_sorting_does(
    name: str, changing: bool, requests: list[Request], data: st.DataObject
) -> None:
    order = ORDERS[name]
    queue, present, now = order.queue(by_arrival=not changing), [], 0.0
    coming = list(requests)
    for _ in range(data.draw(st.integers(1, 25))):
        action = data.draw(st.sampled_from(["arrive", "leave", "ask", "ask", "wait", *["change"] * changing]))
        if action == "arrive" and coming:
            request = coming.pop(0)
            now = max(now, request.arrival_s)
            queue.add(request)
            present.append(request)
        elif action == "leave" and present:
            queue.remove(present.pop(data.draw(st.integers(0, len(present) - 1))))
        elif action == "change" and present:
            request = data.draw(st.sampled_from(present))
            queue.remove(request)
            force_setattr(request, "tokens", data.draw(st.integers(1, 6)))
            force_setattr(request, "cached", data.draw(st.integers(0, 3)))
            force_setattr(request, "predicted_s", data.draw(st.sampled_from([0.0, 0.25, 1.0, 3.0])))
            queue.add(request)
        elif action == "wait":
            now += data.draw(st.sampled_from([0.25, 1.0, 5.0]))
        elif action == "ask":
            last = data.draw(st.sampled_from([None, *present]))
            max_tokens = data.draw(st.sampled_from([UNBOUNDED, 0, 1, 3, 5]))
            assert queue.after(now, last, max_tokens) is expected(order, present, now, last, max_tokens)
            assert list(queue.ranked(now)) == sorted(present, key=lambda request: order.rank(request, now))


@pytest.mark.parametrize("changing", [False, True])
@pytest.mark.parametrize("name", ORDERS)
@settings(max_examples=30)  # for each of many orders
@given(requests=traces(), now=st.integers(0, 40))
def test_walking_a_queue_visits_each_request_once_in_order(
    name: str, changing: bool, requests: list[Request], now: float
) -> None:
    order = ORDERS[name]
    queue, visited = order.queue(by_arrival=not changing), []
    for request in requests:
        queue.add(request)
    last = queue.after(now, None, UNBOUNDED)
    while last is not None and len(visited) <= len(requests):
        visited.append(last)
        last = queue.after(now, last, UNBOUNDED)
    assert visited == sorted(requests, key=lambda request: order.rank(request, now))


@pytest.mark.parametrize("name", ORDERS)
def test_walking_many_requests_ends_after_the_last(name: str) -> None:
    """Sizes at which NumPy computes an array and a number by different code."""
    rng = np.random.default_rng(0)
    requests = [Request(i, float(a), 1, 1e3, predicted_s=1.0) for i, a in enumerate(np.sort(rng.uniform(0, 50, 200)))]
    queue, last = ORDERS[name].queue(), None
    for request in requests:
        queue.add(request)
    for _ in requests:
        last = queue.after(51.3, last, UNBOUNDED)
        assert last is not None
    assert queue.after(51.3, last, UNBOUNDED) is None


def test_a_key_sees_columns_of_what_waits_also_once_more_came_and_some_left() -> None:
    seen: list[list[Any]] = []

    def key(columns: Any, now: float) -> Any:
        seen.append([columns.class_name.tolist(), columns.deadline_s.tolist()])
        with pytest.raises(AttributeError, match="requests have no column 'deadline'; they have id, arrival_s"):
            _ = columns.deadline
        return columns.deadline_s

    queue = MovingQueue(key)
    requests = [Request(id, 0.5, 3, 2 - id / 4, "text" * id) for id in range(4)]
    queue.add(requests[0])
    assert queue.after(1.0, None, UNBOUNDED) is requests[0]
    for request in requests[1:]:
        queue.add(request)
    assert queue.after(1.0, None, UNBOUNDED) is requests[3]
    queue.remove(requests[1])
    assert queue.after(1.0, None, UNBOUNDED) is requests[3]
    assert seen == [
        [[""], [2.5]],
        [["", "text", "texttext", "texttexttext"], [2.5, 2.25, 2.0, 1.75]],
        [["", "texttexttext", "texttext"], [2.5, 1.75, 2.0]],
    ]


@given(st.lists(st.integers(1, 9), max_size=40), st.data())
def test_a_sorted_queue_of_many_blocks_finds_the_first_that_fits(tokens: list[int], data: st.DataObject) -> None:
    requests = [Request(id, 0.0, number, 1.0, priority=id % 4) for id, number in enumerate(tokens)]
    queue, present = SortedQueue(lambda request: request.priority), list[Request]()
    with patch("flowsim.core.queues.MOST_IN_BLOCK", 3):
        for request in requests:
            queue.add(request)
            present.append(request)
            if data.draw(st.booleans()):
                queue.remove(present.pop(data.draw(st.integers(0, len(present) - 1))))
            last, room = data.draw(st.sampled_from([None, *requests])), data.draw(st.integers(0, 9))
            in_order = sorted(present, key=lambda of: (of.priority, of.id))
            later = [of for of in in_order if last is None or (of.priority, of.id) > (last.priority, last.id)]
            assert queue.after(0.0, last, room) is next((of for of in later if of.tokens <= room), None)
