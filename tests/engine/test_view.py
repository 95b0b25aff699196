"""What a policy sees of an instance; the instance is its parts, put there by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from flowsim.calibration.costs.predictor import SoloPredictor
from flowsim.core.order import Fixed
from flowsim.core.pass_timeline import Forward, Timeline
from flowsim.core.passes import Execution
from flowsim.core.request import Request
from flowsim.engine.kv import KVCache
from flowsim.engine.view import InstanceView
from flowsim.engine.waiting import Waiting
from flowsim.errors import InputError

EARLIEST = Fixed(lambda candidate: candidate.deadline_s)


def request(id: int, due_s: float, tokens: int = 4) -> Request:
    return Request(id, 0.0, tokens, due_s)


def executing(head: Request) -> Execution:
    timeline = Timeline([Forward(head.tokens, (), 0.0, 1, 1.0, 1.0)], "none")
    return Execution.of(((head, head.tokens),), timeline)


def seen(
    *waiting: Request,
    running: Execution | None = None,
    paused: tuple[Execution, ...] = (),
    started: tuple[Request, ...] = (),
    free_slots: int = 2,
    kv_tokens: int = 100,
) -> InstanceView:
    """The view of an instance in this state at 3 s."""
    queue = Waiting()
    for one in waiting:
        queue.add(one)
    instance: Any = SimpleNamespace(
        predictor=SoloPredictor("by hand", lambda tokens, context: tokens + 10.0 * context),
        kv=KVCache(kv_tokens),
        waiting=queue,
        running=running,
        free_slots=free_slots,
        number=3,
        attained={"text": 2},
        missed={"file": 1},
        started={one.id: one for one in started},
        paused={one.id: one for one in paused},
    )
    return InstanceView(instance).at(3.0)


def test_a_view_shows_the_parts_of_its_instance() -> None:
    late, soon, begun = request(0, 9.0), request(1, 5.0), request(2, 7.0)
    running, paused = executing(request(3, 8.0)), executing(request(4, 8.0))
    view = seen(late, soon, running=running, paused=(paused,), started=(begun,))
    assert (view.now, type(view.now)) == (3.0, float)
    assert (list(view.waiting), list(view.started), list(view.paused)) == ([late, soon], [begun], [paused])
    assert (view.running, view.free_slots, view.free_tokens) == (running, 2, 100)
    assert view.predict(4, 2) == 24.0
    for tokens, context in ((-5, 0), (5, -1)):
        with pytest.raises(InputError, match=f"^predict: was asked for {tokens} tokens on top of {context}; expected"):
            view.predict(tokens, context)


def test_the_first_is_the_best_of_all_that_can_go_on() -> None:
    waiting, running = request(0, 5.0), executing(request(1, 8.0))
    paused, begun = executing(request(2, 7.0)), request(3, 6.0)
    assert seen().first(EARLIEST) is None
    assert seen(running=running).first(EARLIEST) is running
    assert seen(running=running, paused=(paused,)).first(EARLIEST) is paused
    assert seen(running=running, paused=(paused,), started=(begun,)).first(EARLIEST) is begun
    assert seen(waiting, running=running, paused=(paused,), started=(begun,)).first(EARLIEST) is waiting


def test_without_a_slot_or_room_nothing_new_goes_first() -> None:
    waiting, paused, begun = request(0, 5.0), executing(request(2, 7.0)), request(3, 6.0)
    assert seen(waiting, paused=(paused,), started=(begun,), free_slots=0).first(EARLIEST) is paused
    assert seen(waiting, paused=(paused,), started=(begun,), kv_tokens=3).first(EARLIEST) is begun
    assert seen(waiting, kv_tokens=3).first(EARLIEST) is None


def test_the_next_waiting_request_that_is_small_enough() -> None:
    first, second, third = request(0, 5.0, 9), request(1, 6.0, 2), request(2, 7.0, 4)
    view = seen(first, second, third)
    assert view.next_waiting(EARLIEST) is first
    assert view.next_waiting(EARLIEST, max_tokens=4) is second
    assert view.next_waiting(EARLIEST, second) is third
    assert view.next_waiting(EARLIEST, second, 3) is None
