"""One prefill instance: its queues, its KV blocks and runner slots, and what its scheduler does with a device.

The life of a pass: the policy names it, it is launched, it completes. Or, before that, the policy names another:
the scheduler signals, the device runs on to its next cut and acknowledges (the blocking time), the pass is paused
where it stopped, keeping its slot and its KV blocks, and the other is launched. While the scheduler decides or waits
for an acknowledgement, new events wait for it; then it decides once for all of them.

All of that is here, and is the same whether the device is simulated (`flowsim.engine.device`) or real
(`flowsim.calibration.serve.gpu_device`): a device has a clock, and methods that begin, continue and stop a pass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from numbers import Integral
from typing import Any, Protocol

from flowsim.calibration.costs.predictor import Predictor
from flowsim.core.ledger import Ledger, Log
from flowsim.core.order import Order, Queue
from flowsim.core.passes import Execution, Part, Pass
from flowsim.core.policy import Policy
from flowsim.core.request import Request
from flowsim.engine.view import InstanceView
from flowsim.errors import InputError, raised

MOST_ORDERS = 16


class Clock(Protocol):
    """What tells the time: a SimPy environment, or a real clock."""

    @property
    def now(self) -> float:
        """The time, seconds."""


class Instance(ABC):
    """One prefill instance; its subclasses know the device.

    A subclass tells of what its device did by calling `_reached_cut`, `_acknowledged` and `_completed`.

    Args:
        clock: tells the time.
        policy: decides what runs.
        predictor: what the policy believes of the cost.
        requests: all rows of the trace (the policy's orders rank them once).
        ledger: where the requests' rows are written.
        kv_tokens: tokens of its KV cache.
        slots: passes that may be launched and not completed.
        stretches: whether to log every stretch of execution.
    """

    def __init__(
        self,
        clock: Clock,
        policy: Policy,
        predictor: Predictor,
        requests: list[Request],
        ledger: Ledger,
        *,
        kv_tokens: int,
        slots: int,
        stretches: bool = False,
    ) -> None:
        self.clock = clock
        self.predictor = predictor
        self.ledger = ledger
        self.log = Log(stretches=[] if stretches else None)
        self.waiting: OrderedDict[int, Request] = OrderedDict()
        self.started: OrderedDict[int, Request] = OrderedDict()
        self.paused: dict[int, Execution] = {}
        self.running: Execution | None = None
        self.kv_tokens = self.free_tokens = kv_tokens
        self.free_slots = slots
        self._work_ns = 0
        """`work_s` in whole nanoseconds, whose sums are exact: routers compare them, and ties must be ties."""
        self._policy = policy
        self._cut = policy.cut
        self._at_cuts = policy.wake == "cuts" and policy.cut != "none"
        self._requests = requests
        self._queues: dict[Order, Queue] = {}
        self._view = InstanceView(self)
        self._deciding = False
        self._due = False
        """Whether something happened that the scheduler, busy, has not looked at."""
        self._unseen_s: float | None = None
        """Since when something has happened that the scheduler has not looked at."""
        self._chosen: Pass | Execution | None = None
        """What is launched as soon as the running pass has stopped."""
        self._signal_s = 0.0
        self._standing = False
        """Whether the running pass stands at a cut until the scheduler, which wakes at cuts, has decided."""

    @abstractmethod
    def _think(self) -> None:
        """Have `_decide` called as soon as the scheduler has made up its mind; until then `_deciding` holds."""

    @abstractmethod
    def _ran_s(self, running: Execution) -> float:
        """How long the running pass has run by now, pauses left out, seconds."""

    @abstractmethod
    def _begin(self, parts: tuple[Part, ...]) -> Execution:
        """Set the device going on a new pass."""

    @abstractmethod
    def _continue(self, execution: Execution) -> None:
        """Set the device going on a pass that stands at a cut or is paused, from where it stopped."""

    @abstractmethod
    def _stop(self, running: Execution) -> None:
        """Have the device stop at the next cut and acknowledge; a pass without a further one completes."""

    @property
    def seen(self) -> int:
        """How many requests and passes a decision looks at now: those that wait, have started, are paused or run."""
        return len(self.waiting) + len(self.started) + len(self.paused) + (self.running is not None)

    @property
    def work_s(self) -> float:
        """Predicted seconds, to the nanosecond, of the requests that came here and have not finished."""
        return self._work_ns * 1e-9

    def arrive(self, request: Request) -> None:
        """Take a request in, or turn it away if the KV cache could never hold it."""
        if request.kv_tokens > self.kv_tokens:
            self.ledger.rejected[request.id] = True
            return
        self._work_ns += round(request.predicted_s * 1e9)
        self.waiting[request.id] = request
        try:
            for queue in self._queues.values():
                queue.add(request)
        except Exception as error:  # whatever the user's order does
            raise InputError(f"{self._who()} raised {raised(error)}") from error
        self.wake()

    def wake(self) -> None:
        """Have the scheduler decide, as soon as it can and if a decision can change anything."""
        if self._unseen_s is None:
            self._unseen_s = self.clock.now
        if self._deciding or self._chosen is not None:
            self._due = True
        elif not (self.waiting or self.started or self.paused):
            self._unseen_s = None
        elif self.running is None or (self._cut != "none" and not self._at_cuts):
            self._think()

    def queue(self, order: Order) -> Queue:
        """The waiting requests in this order; the queue is made when a policy first asks for the order."""
        queue = self._queues.get(order)
        if queue is None:
            if len(self._queues) == MOST_ORDERS:
                raise self._refuse(f"by its {MOST_ORDERS + 1}th order, allowed are orders made once, outside of choose")
            queue = self._queues[order] = order.queue(self._requests)
            for request in self.waiting.values():
                queue.add(request)
        return queue

    def _decide(self, _: Any = None) -> None:
        running, standing = self.running, self._standing
        if running is not None and not standing:
            self._measure(running, self._ran_s(running))
        choice = self._choose()
        unseen_s, self._unseen_s = self._unseen_s, None
        self._deciding = self._due = False
        if choice is None or choice is running:
            if running is not None and standing:
                self._standing = False
                self._continue(running)
        elif running is None:
            self._launch(choice)
        elif standing:
            self._standing = False
            self.log.blocking_s.append(self.clock.now - (self.clock.now if unseen_s is None else unseen_s))
            self._pause(running)
            self._launch(choice)
        else:
            self._chosen, self._signal_s = choice, self.clock.now
            self._stop(running)

    def _choose(self) -> Pass | Execution | None:
        try:
            return self._policy.choose(self._view)
        except (Exception, SystemExit) as error:  # whatever the user's policy does
            raise InputError(f"{self._who()} raised {raised(error)}") from error

    def _reached_cut(self) -> None:
        """The running pass stands at a cut; ask the policy, which wakes at every cut."""
        assert self.running is not None
        self._standing = True
        self._measure(self.running, self.running.elapsed_s)
        self._think()

    def _acknowledged(self) -> None:
        """The running pass has stopped, as it was told; launch what was chosen in its place."""
        running, chosen = self.running, self._chosen
        assert running is not None and chosen is not None
        self.log.blocking_s.append(self.clock.now - self._signal_s)
        self._chosen = None
        self._pause(running)
        self._launch(chosen)
        if self._due:
            self.wake()

    def _completed(self, execution: Execution, duration_s: float, ended_s: float) -> None:
        """The running pass completed at that time; it ran for so long."""
        self.running = None
        self.free_slots += 1
        self.log.busy_s += duration_s
        for request, tokens in execution.parts:
            self._advance(request, tokens, duration_s, ended_s)
        chosen = self._chosen
        if chosen is not None:
            self._chosen = None
            self.log.blocking_s.append(self.clock.now - self._signal_s)
            self._launch(chosen)
        self.wake()

    def _pause(self, running: Execution) -> None:
        self._measure(running, running.elapsed_s)
        self.paused[running.id] = running
        self.running = None
        self.log.preemptions += 1
        for request, _ in running.parts:
            self.ledger.preemptions[request.id] += 1

    def _measure(self, execution: Execution, elapsed_s: float) -> None:
        """Bring up to date what policies see of an execution that has run so long."""
        done, since_s = execution.timeline.progress(elapsed_s)
        execution.tokens = execution.batch_tokens - done
        execution.predicted_s = self.predictor.left(execution, elapsed_s, execution.tokens, since_s)

    def _launch(self, choice: Pass | Execution) -> None:
        if isinstance(choice, Execution):
            if self.paused.pop(choice.id, None) is not choice:
                raise self._refuse(f"{choice} is neither running nor paused")
            self.running = choice
            self._continue(choice)
            return
        if not isinstance(choice, Pass) or not isinstance(choice.parts, tuple | list):
            raise self._refuse(f"{choice!r}, allowed is a Pass, a paused or the running Execution, or None")
        for part in choice.parts:
            self._take(part)
        self.free_slots -= 1
        if self.free_slots < 0 or self.free_tokens < 0 or not choice.parts:
            lacks = "no request" if not choice.parts else "no free runner slot, or no KV blocks for all of it"
            raise self._refuse(f"a pass with {lacks}")
        self.running = self._begin(choice.parts)

    def _take(self, part: Any) -> None:
        if not (isinstance(part, tuple) and len(part) == 2 and isinstance(part[0], Request)):
            raise self._refuse(f"a pass with {part!r}, allowed are pairs of a request and its tokens")
        request, tokens = part
        if not (isinstance(tokens, Integral) and 0 < int(tokens) <= request.tokens):
            raise self._refuse(f"{tokens} tokens of {request}")
        if self.waiting.pop(request.id, None) is not None:
            self.free_tokens -= request.kv_tokens
            self.ledger.started_s[request.id] = self.clock.now
            for queue in self._queues.values():
                queue.remove(request)
        elif self.started.pop(request.id, None) is None:
            raise self._refuse(f"{request}, which is neither waiting nor started")

    def _advance(self, request: Request, tokens: int, duration_s: float, ended_s: float) -> None:
        """Book computed tokens; a prompt computed to its end has its first token."""
        self.ledger.service_s[request.id] += duration_s
        request.context += tokens
        request.tokens -= tokens
        if request.tokens:
            request.predicted_s = self.predictor.predict(request.tokens, request.context)
            self.started[request.id] = request
            return
        self.ledger.finished_s[request.id] = ended_s
        self.free_tokens += request.kv_tokens
        alone_s = self.predictor.predict(request.input_length - request.cached, request.cached)
        self._work_ns -= round(alone_s * 1e9)

    def _refuse(self, what: str) -> InputError:
        return InputError(f"{self._who()} chose {what}")

    def _who(self) -> str:
        return f"policy {type(self._policy).__name__} at {self.clock.now:.6f} s"
