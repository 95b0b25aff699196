"""One prefill instance: its queues, its KV blocks and runner slots, the device, and its scheduler's own time.

The life of a pass: the policy names it, it is launched, it completes. Or, before that, the policy names another:
the scheduler signals, the device runs on to its next cut and acknowledges (the blocking time), the pass is paused
where it stopped, keeping its slot and its KV blocks, and the other is launched. While the scheduler decides or waits
for an acknowledgement, new events wait for it; then it decides once for all of them.
"""

from __future__ import annotations

from collections import OrderedDict
from numbers import Integral
from typing import Any

import simpy

from flowsim.calibration.cost import CostModel
from flowsim.calibration.predictor import Predictor
from flowsim.errors import InputError, said
from flowsim.execution import Execution, Pass
from flowsim.forward import Slice
from flowsim.ledger import Ledger, Log
from flowsim.order import Order, Queue
from flowsim.policy import Policy
from flowsim.request import Request
from flowsim.view import InstanceView

MOST_ORDERS = 16


class Instance:
    """One prefill instance, living in a SimPy environment.

    Args:
        env: the environment.
        policy: decides what runs.
        cost: says what passes, checks and decisions take.
        predictor: what the policy believes of the cost.
        requests: all rows of the trace (the policy's orders rank them once).
        ledger: where the requests' rows are written.
        kv_tokens: tokens of its KV cache.
        slots: passes that may be launched and not completed.
        chunk_tokens: most tokens of one forward.
        stretches: whether to log every stretch of execution.
    """

    def __init__(
        self,
        env: simpy.Environment,
        policy: Policy,
        cost: CostModel,
        predictor: Predictor,
        requests: list[Request],
        ledger: Ledger,
        *,
        kv_tokens: int,
        slots: int,
        chunk_tokens: int,
        stretches: bool = False,
    ) -> None:
        self.env = env
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
        self._cost = cost
        self._cut = policy.cut
        self._at_cuts = policy.wake == "cuts" and policy.cut != "none"
        self._chunk_tokens = chunk_tokens
        self._further = 1 if cost.tp > 1 else 0
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
        self._stop: tuple[float, int] | None = None
        """The cut at which the running pass is going to stop: (its time, its number)."""
        self._began_s = 0.0
        """When the running stretch began; later than now while a pass is being resumed."""
        self._end: simpy.Event | None = None
        """The event that is to end the running stretch; an event that has been overtaken is not it."""

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
            raise InputError(f"{self._who()} raised {said(error)}") from error
        self.wake()

    def wake(self) -> None:
        """Have the scheduler decide, as soon as it can and if a decision can change anything."""
        if self._unseen_s is None:
            self._unseen_s = self.env.now
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

    def close(self) -> None:
        """Count the work on passes that will not complete, when the simulation ends before they do."""
        running = self.running
        if running is not None and self._end is not None:
            ran_s = self._ran_s(running)
            running.elapsed_s = min(ran_s, self._stop[0]) if self._stop else ran_s
            if self.env.now > self._began_s:
                self._log_stretch(running, running.begun_s + running.elapsed_s, completed=False)
        for execution in [*self.paused.values(), *([self.running] if self.running else [])]:
            self.log.busy_s += execution.elapsed_s

    def _after(self, delay_s: float, callback: Any) -> simpy.Event:
        event: simpy.Event = self.env.timeout(delay_s if delay_s > 0.0 else 0.0)
        event.callbacks.append(callback)
        return event

    def _think(self) -> None:
        seen = len(self.waiting) + len(self.started) + len(self.paused) + (self.running is not None)
        delay_s = self._cost.decision(seen)
        self._deciding = True
        self.log.control_s += delay_s
        self.log.decisions += 1
        self._after(delay_s, self._decide)

    def _decide(self, _: Any) -> None:
        running = self.running
        stopped = running is not None and self._end is None
        if running is not None and not stopped:
            self._measure(running, self._ran_s(running))
        choice = self._choose()
        unseen_s, self._unseen_s = self._unseen_s, None
        self._deciding = self._due = False
        if choice is None or choice is running:
            if running is not None and stopped:
                self._continue(running)
        elif running is None:
            self._launch(choice)
        elif stopped:
            self.log.blocking_s.append(self.env.now - (self.env.now if unseen_s is None else unseen_s))
            self._pause(running)
            self._launch(choice)
        else:
            self._signal(running, choice)

    def _choose(self) -> Pass | Execution | None:
        try:
            return self._policy.choose(self._view)
        except (Exception, SystemExit) as error:  # whatever the user's policy does
            raise InputError(f"{self._who()} raised {said(error)}") from error

    def _signal(self, running: Execution, choice: Pass | Execution) -> None:
        """Tell the running pass to stop at its next cut; past its last one it completes instead."""
        self._chosen, self._signal_s = choice, self.env.now
        self._stop = running.timeline.next_cut(self._ran_s(running), running.passed, self._further)
        if self._stop is not None:
            stop_s = running.begun_s + self._stop[0]
            self._end = self._after(stop_s - self.env.now + self._cost.acknowledge_s, self._acknowledge)

    def _acknowledge(self, event: simpy.Event) -> None:
        running, chosen = self.running, self._chosen
        if event is not self._end or running is None or chosen is None:
            return
        self.log.blocking_s.append(self.env.now - self._signal_s)
        self._chosen = None
        self._stand(running)
        self._pause(running)
        self._launch(chosen)
        if self._due:
            self.wake()

    def _stand(self, running: Execution) -> None:
        """Have the running pass stand at the cut where it was going to stop."""
        assert self._stop is not None
        (running.elapsed_s, running.passed), self._stop = self._stop, None
        self._log_stretch(running, running.begun_s + running.elapsed_s, completed=False)

    def _ran_s(self, running: Execution) -> float:
        """How far the running pass has got by now, seconds of its timeline."""
        return max(float(self.env.now) - running.begun_s, running.elapsed_s)

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
            self._continue(choice, self._cost.resume_s)
            return
        if not isinstance(choice, Pass) or not isinstance(choice.parts, tuple | list):
            raise self._refuse(f"{choice!r}, allowed is a Pass, a paused or the running Execution, or None")
        for part in choice.parts:
            self._take(part)
        self.free_slots -= 1
        if self.free_slots < 0 or self.free_tokens < 0 or not choice.parts:
            lacks = "no request" if not choice.parts else "no free runner slot, or no KV blocks for all of it"
            raise self._refuse(f"a pass with {lacks}")
        slices = [Slice(tokens, request.context) for request, tokens in choice.parts]
        timeline = self._cost.timeline(slices, self._cut, self._chunk_tokens)
        self.running = Execution(choice.parts, timeline)
        self._continue(self.running)

    def _take(self, part: Any) -> None:
        if not (isinstance(part, tuple) and len(part) == 2 and isinstance(part[0], Request)):
            raise self._refuse(f"a pass with {part!r}, allowed are pairs of a request and its tokens")
        request, tokens = part
        if not (isinstance(tokens, Integral) and 0 < int(tokens) <= request.tokens):
            raise self._refuse(f"{tokens} tokens of {request}")
        if self.waiting.pop(request.id, None) is not None:
            self.free_tokens -= request.kv_tokens
            self.ledger.started_s[request.id] = self.env.now
            for queue in self._queues.values():
                queue.remove(request)
        elif self.started.pop(request.id, None) is None:
            raise self._refuse(f"{request}, which is neither waiting nor started")

    def _continue(self, execution: Execution, delay_s: float = 0.0) -> None:
        """Set the device going on an execution, from where it is, after `delay_s`."""
        now = self.env.now
        self._began_s = now + delay_s
        execution.begun_s = self._began_s - execution.elapsed_s
        timeline = execution.timeline
        self._stop = timeline.next_cut(execution.elapsed_s, execution.passed) if self._at_cuts else None
        end_s = timeline.duration_s if self._stop is None else self._stop[0]
        then = self._complete if self._stop is None else self._reach_cut
        self._end = self._after(execution.begun_s + end_s - now, then)

    def _reach_cut(self, event: simpy.Event) -> None:
        """Stand at a cut and ask the policy, which wakes at every cut."""
        assert self.running is not None
        self._end = None
        self._stand(self.running)
        self._measure(self.running, self.running.elapsed_s)
        self._think()

    def _complete(self, event: simpy.Event) -> None:
        execution = self.running
        if event is not self._end or execution is None:
            return
        self.running = self._end = None
        self.free_slots += 1
        self.log.busy_s += execution.timeline.duration_s
        self.log.check_s += execution.timeline.overhead_s
        self._log_stretch(execution, self.env.now, completed=True)
        for request, tokens in execution.parts:
            self._advance(request, tokens, execution.timeline.duration_s)
        chosen = self._chosen
        if chosen is not None:
            self._chosen = None
            self.log.blocking_s.append(self.env.now - self._signal_s)
            self._launch(chosen)
        self.wake()

    def _advance(self, request: Request, tokens: int, duration_s: float) -> None:
        """Book computed tokens; a prompt computed to its end has its first token."""
        self.ledger.service_s[request.id] += duration_s
        request.context += tokens
        request.tokens -= tokens
        if request.tokens:
            request.predicted_s = self.predictor.predict(request.tokens, request.context)
            self.started[request.id] = request
            return
        self.ledger.finished_s[request.id] = self.env.now
        self.free_tokens += request.kv_tokens
        alone_s = self.predictor.predict(request.input_length - request.cached, request.cached)
        self._work_ns -= round(alone_s * 1e9)

    def _log_stretch(self, execution: Execution, end_s: float, *, completed: bool) -> None:
        if self.log.stretches is not None:
            ids = tuple(request.id for request in execution.requests)
            self.log.stretches.append((self._began_s, end_s, ids, completed))

    def _refuse(self, what: str) -> InputError:
        return InputError(f"{self._who()} chose {what}")

    def _who(self) -> str:
        return f"policy {type(self._policy).__name__} at {self.env.now:.6f} s"
