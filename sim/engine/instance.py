"""One prefill instance: its queues, its KV blocks and runner slots, and what its scheduler does with a device.

The life of a pass: the policy names it, it is launched, it completes. Or, before that, the policy names another:
the scheduler signals, the device runs on to its next cut and acknowledges (the blocking time), the pass is paused
where it stopped, keeping its slot and its KV blocks, and the other is launched. While the scheduler decides or waits
for an acknowledgement, new events wait for it; then it decides once for all of them.

All of that is the same whether the device is simulated or real (`flowsim.engine.device`).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from numbers import Integral
from typing import Any

from flowsim.core.ledger import Recorder
from flowsim.core.passes import Execution, Pass
from flowsim.core.policy import Policy
from flowsim.core.predictor import Predictor
from flowsim.core.request import Request
from flowsim.engine.choice import fault, renewed
from flowsim.engine.device import Device
from flowsim.engine.kv import KVCache
from flowsim.engine.prefix_cache import PrefixCache, PrefixWaiting
from flowsim.engine.view import InstanceView
from flowsim.engine.waiting import Waiting
from flowsim.errors import InputError, raised


class Instance:
    """One prefill instance.

    Args:
        device: executes its passes, and tells it (`flowsim.engine.device.Listener`).
        policy: decides what runs.
        predictor: what the policy believes about costs.
        requests: all requests of the trace, in order of arrival.
        recorder: is told what happens.
        kv: its KV cache.
        slots: passes that may be launched and not completed.
        max_context: tokens of the model's context; a longer prompt is rejected.
    """

    def __init__(
        self,
        device: Device,
        policy: Policy,
        predictor: Predictor,
        requests: Sequence[Request],
        recorder: Recorder,
        kv: KVCache,
        slots: int,
        max_context: float = math.inf,
    ) -> None:
        self.clock = device.clock
        self.predictor = predictor
        self.kv = kv
        self._max_context = max_context
        self._prefixes = PrefixWaiting(requests, kv, predictor) if isinstance(kv, PrefixCache) else None
        self.waiting = Waiting(requests) if self._prefixes is None else self._prefixes
        self.started: OrderedDict[int, Request] = OrderedDict()
        self.paused: dict[int, Execution] = {}
        self.running: Execution | None = None
        self.free_slots = slots
        self._work_ns = 0
        """`work_s` in whole nanoseconds, whose sums are exact: routers compare them, and ties must be ties."""
        self._share_ns: dict[int, int] = {}
        """What each request adds to that."""
        self._device = device
        self._policy = policy
        self._recorder = recorder
        self.thought = recorder.thought
        """See `flowsim.engine.device.Listener`."""
        self._view = InstanceView(self)
        at_cuts = policy.wake == "cuts" and policy.cut != "none"
        self._decides_meanwhile = policy.cut != "none" and not at_cuts
        """Whether the scheduler decides while a pass is being executed."""
        self._deciding = False
        self._due = False
        """Whether something happened that the scheduler, busy, has not looked at."""
        self._unseen_s: float | None = None
        """Since when something has happened that the scheduler has not looked at."""
        self._chosen: Pass | Execution | None = None
        """What is launched as soon as the running pass has stopped."""
        self._tokens_left: list[int] = []
        """Of each request of the pass that was chosen, how many tokens were left when it was."""
        self._signal_s = 0.0
        self._standing = False
        """Whether the running pass stands at a cut until the scheduler, which wakes at cuts, has decided."""
        device.connect(self, policy.cut, at_cuts)

    @property
    def seen(self) -> int:
        """How many requests and passes a decision looks at now: those that wait, have started, are paused or run."""
        return len(self.waiting.requests) + len(self.started) + len(self.paused) + (self.running is not None)

    @property
    def work_s(self) -> float:
        """Predicted seconds, to the nanosecond, of the requests that came here and have not finished.

        As predicted at their arrival, with what was cached then.
        """
        return self._work_ns * 1e-9

    def arrive(self, request: Request) -> None:
        """Take a request in, or reject it if the KV cache could never hold it, or the model's context cannot."""
        now = self.clock.now
        self._recorder.arrived(now, request.id)
        if request.kv_tokens > self.kv.capacity_tokens or request.input_length > self._max_context:
            self._recorder.rejected(now, request.id)
            return
        try:
            self.waiting.add(request)
        except Exception as error:  # whatever the user's order does
            raise self._wrong(f"raised {raised(error)}") from error
        self._share_ns[request.id] = share_ns = round(request.predicted_s * 1e9)
        self._work_ns += share_ns
        self._wake(now)

    def close(self) -> None:
        """The run ends: account for the passes that have not completed."""
        unfinished = [*self.paused.values(), *([self.running] if self.running else [])]
        for execution in unfinished:
            self._recorder.unfinished(self.clock.now, execution.id, execution.taken_s)
        if unfinished or self._deciding:
            self._recorder.ended(self.clock.now)

    # What the device tells.

    def decide(self) -> None:
        """Ask the policy, and do what it says."""
        running, standing = self.running, self._standing
        if running is not None and not standing:
            self._measure(running, self._device.elapsed_s(running))
        choice = self._choose()
        now = self._device.tick()
        if self._recorder.keeps_events:
            self._record(now, choice)
        unseen_s, self._unseen_s = self._unseen_s, None
        self._deciding = self._due = self._standing = False
        if choice is None or choice is running:
            if running is not None and standing:
                self._resume(running)
        elif running is None:
            self._launch(choice)
        elif standing:
            self._preempt(running, now, now if unseen_s is None else unseen_s)
            self._launch(choice)
        else:
            self._chosen, self._signal_s = choice, now
            if isinstance(choice, Pass):
                self._tokens_left = [request.tokens for request, _ in choice.parts]
            self._device.stop(running)
            self._recorder.signalled(now, running.id)

    def reached_cut(self) -> None:
        """The running pass stands at a cut; ask the policy, which wakes at every cut."""
        running = self._stopped()
        self._standing = True
        self._measure(running, running.elapsed_s)
        self._think()

    def acknowledged(self) -> None:
        """The running pass has stopped, as it was told; launch what was chosen in its place."""
        running, chosen = self._stopped(), self._chosen
        assert chosen is not None
        self._chosen = None
        self._preempt(running, self.clock.now, self._signal_s)
        self._launch(chosen)
        if self._due:
            self._wake(self.clock.now)

    def cut_off(self) -> None:
        """The run ends while the running pass is being executed."""
        self._stopped()

    def completed(self) -> None:
        """The running pass has completed; launch what was chosen to replace it, if anything was."""
        execution, now, chosen = self.running, self.clock.now, self._chosen
        assert execution is not None
        self.running = None
        self.free_slots += 1
        taken_s, timeline = execution.taken_s, execution.timeline
        overhead_s = timeline.overhead_s
        finished = tuple([request.id for request, tokens in execution.parts if self._advance(request, tokens)])
        if self._prefixes is not None:
            self._prefixes.refresh()
        self._recorder.completed(
            now,
            execution.id,
            execution.members,
            finished,
            execution.began_s,
            execution.ended_s,
            taken_s,
            overhead_s * (taken_s / timeline.duration_s) if overhead_s else 0.0,
            None if chosen is None else now - self._signal_s,
        )
        if chosen is not None:
            self._chosen = None
            self._launch(chosen if self._prefixes is None else renewed(chosen, self._tokens_left))
        self._wake(now)

    # What the scheduler does.

    def _wake(self, now: float) -> None:
        """Have the scheduler decide, as soon as it can and if a decision can change anything."""
        if self._unseen_s is None:
            self._unseen_s = now
        if self._deciding or self._chosen is not None:
            self._due = True
        elif not (self.waiting.requests or self.started or self.paused):
            self._unseen_s = None
        elif self.running is None or self._decides_meanwhile:
            self._think()

    def _think(self) -> None:
        self._deciding = True
        self._device.think(self.seen)

    def _choose(self) -> Pass | Execution | None:
        try:
            choice = self._policy.choose(self._view)
        except (Exception, SystemExit) as error:  # whatever the user's policy does
            raise self._wrong(f"raised {raised(error)}") from error
        if (wrong := fault(choice)) is not None:
            raise self._wrong(*wrong)
        return choice

    def _record(self, now: float, choice: Pass | Execution | None) -> None:
        head = choice.parts[0][0] if isinstance(choice, Pass) else choice
        running = self.running
        self._recorder.decided(
            now,
            len(self.waiting.requests),
            len(self.started),
            len(self.paused),
            None if running is None else running.id,
            None if head is None else head.id,
        )

    def _stopped(self) -> Execution:
        running = self.running
        assert running is not None
        self._recorder.stopped(self.clock.now, running.id, running.members, running.began_s, running.ended_s)
        return running

    def _preempt(self, running: Execution, now: float, since_s: float) -> None:
        """Put the running pass, which has stopped, aside; it blocked another from `since_s` on."""
        self._measure(running, running.elapsed_s)
        self.paused[running.id] = running
        self.running = None
        self._recorder.preempted(now, running.id, running.members, now - since_s)

    def _measure(self, execution: Execution, elapsed_s: float) -> None:
        """Bring up to date what policies see of an execution that has got so far."""
        done, since_s = execution.timeline.progress(elapsed_s)
        execution.tokens = execution.batch_tokens - done
        execution.predicted_s = self.predictor.left(execution, elapsed_s, execution.tokens, since_s)

    def _launch(self, choice: Pass | Execution) -> None:
        if isinstance(choice, Execution):
            if self.paused.pop(choice.id, None) is not choice:
                raise self._wrong(f"chose {choice}, which is neither running nor paused")
            self.running = choice
            self._resume(choice)
            return
        for request, tokens in choice.parts:
            self._take(request, tokens)
        if self._prefixes is not None:
            self._prefixes.refresh()
        self.free_slots -= 1
        if self.free_slots < 0:
            raise self._wrong("chose a pass for which no runner slot is free")
        self.running = execution = self._device.begin(choice.parts)
        self._recorder.launched(self.clock.now, execution.id, execution.members, execution.shares)

    def _resume(self, execution: Execution) -> None:
        self._device.resume(execution)
        self._recorder.resumed(self.clock.now, execution.id)

    def _take(self, request: Request, tokens: Any) -> None:
        if not ((type(tokens) is int or isinstance(tokens, Integral)) and 0 < int(tokens) <= request.tokens):
            raise self._wrong(f"chose {tokens} tokens of {request}")
        if self.waiting.remove(request):
            if not self.kv.take(request):
                raise self._wrong("chose a pass for which too few KV blocks are free")
            if request.cached:
                self._recorder.reused(self.clock.now, request.id, request.cached)
        elif self.started.pop(request.id, None) is None:
            raise self._wrong(f"chose {request}, which is neither waiting nor started")

    def _advance(self, request: Request, tokens: int) -> bool:
        """Book computed tokens; whether the request is through: computed to its end, it has its first token.

        Here a request would turn from prefilling to decoding, or leave with its KV for an instance that decodes.
        """
        before = request.context
        request.context += tokens
        request.tokens -= tokens
        if self._prefixes is not None:
            self._prefixes.computed(request, before)
        if request.tokens:
            request.predicted_s = self.predictor.predict(request.tokens, request.context)
            self.started[request.id] = request
            return False
        self.kv.give_back(request)
        self._work_ns -= self._share_ns.pop(request.id)
        return True

    def _wrong(self, problem: str, expected: str = "") -> InputError:
        place = f"policy {type(self._policy).__name__} at {self.clock.now:.6f} s"
        return InputError(place, problem, expected=expected)
