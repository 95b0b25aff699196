"""A choice that cannot be is told with what the policy saw."""

from __future__ import annotations

from typing import Any

import pytest

from flowsim.core.passes import Decision, Pass
from flowsim.core.request import Request
from flowsim.errors import InputError
from support.costs import pencil
from support.timelines import Chooses, simulated


def first(view: Any) -> Request:
    request: Request = next(iter(view.waiting))
    return request


STALE: list[Any] = []


def remember(view: Any) -> Any:
    """Runs the first request, and names its execution again when that has completed."""
    if view.running:
        STALE[:] = [view.running]
        return None
    if STALE:
        return STALE.pop()
    return Pass.whole(first(view))


@pytest.mark.parametrize(
    ("choice", "complaint"),
    [
        (lambda view: Pass.whole(Request(7, 0.0, 1, 1.0)), "Request(7,"),
        (lambda view: Pass(((first(view), 11),)), "11 tokens of Request(0,"),
        (lambda view: Pass(((first(view), 0),)), "0 tokens of Request(0,"),
        (lambda view: Pass(((first(view), 1.5),)), "1.5 tokens of Request(0,"),
        (lambda view: Pass((first(view),)), "expected pairs of a request and its tokens"),
        (lambda view: Pass.whole(first(view), first(view)), "does not wait, or is named twice"),
        (lambda view: Pass.whole(first(view), first(view)), "(2 waiting, 0 started, 0 paused, nothing runs)"),
        (lambda view: Decision(Pass.whole(first(view)), reject=[first(view)]), "(2 waiting, 0 started, 0 paused"),
        (lambda view: Pass(()), "a pass without requests"),
        (lambda view: Pass({first(view).id: 7}), "chose a pass with {0: 7}; expected pairs of a request and its"),
        (lambda view: Pass.whole(*view.waiting), "too few KV blocks are free"),
        (lambda view: first(view), "expected a Pass"),
        (remember, "neither running nor paused"),
    ],
)
def test_a_policy_that_chooses_what_cannot_be_is_told_so(choice: Any, complaint: str) -> None:
    with pytest.raises(InputError) as error:
        simulated(Chooses(choice), pencil(), (1.0, 10, 9.0), (1.0, 10, 9.0), (2.0, 1, 9.0), kv_tokens=12)
    message = str(error.value)
    assert message.startswith("policy Chooses at ")
    assert complaint in message
    assert "\n" not in message


def test_a_policy_without_a_free_slot_is_told_so() -> None:
    greedy = Chooses(lambda view: Pass.whole(first(view)) if view.waiting else view.running)
    with pytest.raises(InputError, match="no runner slot is free"):
        simulated(greedy, pencil(), (0.0, 10, 9.0), (1.0, 10, 9.0), slots=1)
