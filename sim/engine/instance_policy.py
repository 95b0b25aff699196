"""The policy of one instance: it is asked, it hears of what happens, and whatever is wrong with it is said.

What is said names the policy, the time, what had happened, and what the policy saw.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from flowsim.core.passes import Decision, Execution, Pass
from flowsim.core.policy import Policy, blaming, own
from flowsim.core.request import Request
from flowsim.engine.check_choice import fault
from flowsim.engine.view import InstanceView, Viewed
from flowsim.errors import InputError, raised
from flowsim.io.counts import number_of
from flowsim.io.signals import is_of_signal

State = tuple[int, int, int, Execution | None]
"""How many requests wait, have started and how many passes are paused, and what runs."""
WOKEN = ("its timer", -1)
MOST_IDLE_WAKES = 10_000
"""How often its timer may wake a policy, one time after another, while nothing runs and nobody arrives."""


class InstancePolicy:
    """An instance's own policy, a copy of the one that was given.

    Args:
        policy: as given.
        instance: what it sees.

    Attributes:
        policy: the copy.
        hears_arrivals: whether it has `on_arrival`.
        hears_completions: whether it has `on_completion`.
        happened: what has happened last, for a message: ("the arrival of request", 12).
    """

    def __init__(self, policy: Policy, instance: Viewed) -> None:
        self.policy = own(policy)
        self._instance = instance
        self._view = InstanceView(instance)
        with blaming(f"policy {type(policy).__name__}"):
            self._on_arrival = getattr(self.policy, "on_arrival", None)
            self._on_completion = getattr(self.policy, "on_completion", None)
            self._choose = self.policy.choose
        self.hears_arrivals = self._on_arrival is not None
        self.hears_completions = self._on_completion is not None
        self.happened = ("the beginning", -1)
        self._idle_wakes = 0
        self._saw = self._state()

    def woken(self) -> None:
        """Its timer is due. InputError: nothing else has happened for too long."""
        if self.happened is not WOKEN:
            self.happened, self._idle_wakes = WOKEN, 0
        self._idle_wakes += self._instance.running is None
        if self._idle_wakes > MOST_IDLE_WAKES:
            raise self.wrong(f"its timer woke it {self._idle_wakes:,} times and it ran nothing")

    def arrived(self, request: Request, now: float) -> None:
        """Tell the policy of an arrival."""
        if self._on_arrival is not None:
            self._call(self._on_arrival, request, self._view.at(now))

    def completed(self, execution: Execution, now: float) -> None:
        """Tell the policy of a completion."""
        if self._on_completion is not None:
            self._call(self._on_completion, execution, self._view.at(now))

    def choose(self, now: float) -> tuple[Pass | Execution | None, Sequence[Request], float]:
        """What the policy decides, as a `Decision` has it."""
        self._saw = self._state()
        rejected: Sequence[Request] = ()
        wake_at, wrong = math.inf, None
        try:  # as `_call` does, but this is the most frequent call of a replay
            choice: Any = self._choose(self._view.at(now))
            if isinstance(choice, Decision):
                choice, rejected, timer = choice
                wake_at = math.inf if timer is None else timer
                wrong = self._fault(rejected, wake_at, now)
            wrong = wrong or fault(choice)
        except BaseException as error:
            raise self.blamed(error) from error
        if wrong is not None:
            raise self.wrong(*wrong)
        return choice, rejected, wake_at

    def idle(self, requests: int) -> InputError:
        """The error for a policy that leaves this number of requests unserved."""
        expected = "a pass, a Decision that rejects them, or one with a time to be asked again"
        return self.wrong(f"chose nothing for {number_of(requests, 'request')}, and nothing will happen", expected)

    def impossible(self, problem: str) -> InputError:
        """The error for a choice that cannot be launched: as `wrong`, with what the policy saw when it chose."""
        return self._error(problem, "", self._saw)

    def wrong(self, problem: str, expected: str = "") -> InputError:
        """The error for something that is wrong with the policy."""
        return self._error(problem, expected, self._state())

    def _error(self, problem: str, expected: str, seen: State) -> InputError:
        event, id = self.happened
        happened = event if id < 0 else f"{event} {id}"
        name, now = type(self.policy).__name__, self._instance.clock.now
        waiting, started, paused, running = seen
        runs = "nothing runs" if running is None else f"{running.id} runs"
        counts = f"{waiting} waiting, {started} started, {paused} paused, {runs}"
        return InputError(f"policy {name} at {now:.6f} s, after {happened} ({counts})", problem, expected=expected)

    def blamed(self, error: BaseException) -> InputError:
        """The error for what the policy, or an order of its own, has raised; what a signal has raised goes on."""
        if is_of_signal(error):
            raise error
        return self.wrong(raised(error) if isinstance(error, InputError) else f"raised {raised(error)}")

    def _call(self, method: Callable[..., Any], *arguments: object) -> Any:
        try:
            return method(*arguments)
        except BaseException as error:  # whatever the user's policy does
            raise self.blamed(error) from error

    def _fault(self, rejected: Any, wake_at: Any, now: float) -> tuple[str, str] | None:
        """What is wrong with the rest of a decision, and what was expected."""
        waiting = self._instance.waiting.requests
        if not isinstance(rejected, list | tuple):
            return f"rejected {rejected!r}", "a list of requests"
        seen = set[int]()
        for request in rejected:
            if not isinstance(request, Request) or waiting.get(request.id) is not request:
                return f"rejected {request!r}, which is not waiting", ""
            if request.id in seen:
                return f"rejected {request!r} twice", ""
            seen.add(request.id)
        if not isinstance(wake_at, int | float) or not wake_at > now:
            return f"asked to be woken at {wake_at!r}", "seconds, after now"
        return None

    def _state(self) -> State:
        instance = self._instance
        return len(instance.waiting.requests), len(instance.started), len(instance.paused), instance.running
