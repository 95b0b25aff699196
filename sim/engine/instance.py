"""One prefill instance: its runner slots, its passes, and what its scheduler does with a device.

The life of a pass: the policy names it, it is launched, it completes. Or, before that, the policy names another:
the scheduler signals, the device runs on to its next cut and acknowledges (the blocking time), the pass is paused
where it stopped, keeping its slot and its KV blocks, and the other is launched. While the scheduler decides or waits
for an acknowledgement, new events wait for it; then it decides once for all of them.

All of that is the same whether the device is simulated or real (`flowsim.engine.device`). What becomes of each request
is told in `flowsim.engine.instance_requests`.
"""

from __future__ import annotations

import math

from msgspec.structs import force_setattr

from flowsim.core.ledger import Recorder
from flowsim.core.passes import Execution, Pass
from flowsim.core.policy import Policy
from flowsim.core.predictor import Predictor
from flowsim.core.request import Request
from flowsim.engine.check_choice import renewed
from flowsim.engine.closed_loop import ClosedLoop
from flowsim.engine.device import Device
from flowsim.engine.instance_policy import InstancePolicy
from flowsim.engine.instance_requests import InstanceRequests
from flowsim.engine.kv import KVCache


class Instance:
    """One prefill instance.

    Args:
        device: executes its passes, and tells it (`flowsim.engine.device.Listener`).
        policy: decides what runs; the instance makes a copy of its own.
        predictor: what the policy believes about costs.
        recorder: is told what happens.
        kv: its KV cache.
        slots: passes that may be launched and not completed.
        max_context: tokens of the model's context; a longer prompt is rejected.
        loop: the closed loop that sends the requests, if one does; their times are then not known beforehand.

    Attributes:
        requests: those that are here; their attributes that a view shows are the instance's, too.
    """

    def __init__(
        self,
        device: Device,
        policy: Policy,
        predictor: Predictor,
        recorder: Recorder,
        kv: KVCache,
        slots: int,
        max_context: float = math.inf,
        loop: ClosedLoop | None = None,
    ) -> None:
        self.clock = device.clock
        self.predictor = predictor
        self.kv = kv
        self._max_context = max_context
        self.requests = InstanceRequests(kv, predictor, recorder, loop)
        self._prefixes = self.requests.prefixes
        self.waiting, self.started = self.requests.waiting, self.requests.started
        self.attained, self.missed = self.requests.attained, self.requests.missed
        self.paused: dict[int, Execution] = {}
        self.running: Execution | None = None
        self.free_slots = slots
        self.number = recorder.instance
        self._device = device
        self.recorder = recorder
        self.thought = recorder.thought
        """See `flowsim.engine.device.Listener`."""
        self._policy = InstancePolicy(policy, self)
        at_cuts = policy.wake == "cuts" and policy.cut != "none"
        self._decides_meanwhile = policy.cut != "none" and not at_cuts
        """Whether the scheduler decides while a pass is being executed."""
        self._deciding = False
        self._due = False
        """Whether something happened that the scheduler, busy, has not looked at."""
        self._unseen_s: float | None = None
        """Since when something has happened that the scheduler has not looked at."""
        self._wake_at_s = math.inf
        """When its timer is due."""
        self._launched = False
        """Whether a pass ever was."""
        self._chosen: Pass | Execution | None = None
        """What is launched as soon as the running pass has stopped."""
        self._tokens_left: list[int] = []
        """Of each request of the pass that was chosen, how many tokens were left when it was."""
        self._signal_s = 0.0
        self._standing = False
        """Whether the running pass stands at a cut until the scheduler, which wakes at cuts, has decided."""
        device.connect(self, at_cuts)

    @property
    def policy(self) -> Policy:
        """Its own policy, with all that it has learned."""
        return self._policy.policy

    @property
    def seen(self) -> int:
        """How many requests and passes a decision looks at now: those that wait, have started, are paused or run."""
        return len(self.waiting.requests) + len(self.started) + len(self.paused) + (self.running is not None)

    def arrive(self, request: Request) -> None:
        """Take a request in, or reject it if the KV cache could never hold it, or the model's context cannot."""
        now = self.clock.now
        self.recorder.arrived(now, request.id)
        if request.kv_tokens > self.kv.capacity_tokens or request.input_length > self._max_context:
            self.requests.reject(request, now, "limits")
            return
        self._policy.happened = "the arrival of request", request.id
        if self._policy.hears_arrivals:
            if self._prefixes is not None:
                self._prefixes.look_up(request)
            self._policy.arrived(request, now)
        try:
            self.requests.add(request)
        except BaseException as error:  # whatever the user's order does
            raise self._policy.blamed(error) from error
        self._wake(now)

    def close(self, *, cut_off: bool = False) -> None:
        """The run ends, `cut_off` or because nothing more will happen: account for the passes that have not completed.

        Raises:
            InputError: the policy left requests behind; if the run is cut off, it ran none at all.
        """
        idle = self.running is None and not self._deciding and self._wake_at_s == math.inf
        if idle and (self.waiting.requests or self.started or self.paused) and not (cut_off and self._launched):
            raise self._policy.idle(self.seen)
        unfinished = [*self.paused.values(), *([self.running] if self.running else [])]
        for execution in unfinished:
            self.recorder.unfinished(self.clock.now, execution.id, execution.taken_s)
        if unfinished or self._deciding:
            self.recorder.ended(self.clock.now)

    # What the device tells.

    def decide(self) -> None:
        """Ask the policy, and do what it says."""
        running, standing = self.running, self._standing
        if running is not None and not standing:
            self._measure(running, self._device.elapsed_s(running))
        choice, rejected, wake_at_s = self._policy.choose(self.clock.now)
        now = self._device.tick()
        if self.recorder.keeps_events:
            self._record(now, choice)
        unseen_s, self._unseen_s = self._unseen_s, None
        self._deciding = self._due = self._standing = False
        for request in rejected:
            self.requests.reject(request, now, "policy")
        if wake_at_s != self._wake_at_s:
            self._wake_at_s = wake_at_s
            self._device.wake_at(wake_at_s)
        if choice is None or choice is running:
            if running is not None and standing:
                self._resume(running)
        elif running is None:
            self._launch(choice, now)
        elif standing:
            self._preempt(running, now, now if unseen_s is None else unseen_s)
            self._launch(choice, now)
        else:
            self._chosen, self._signal_s = choice, now
            if isinstance(choice, Pass):
                self._tokens_left = [request.tokens for request, _ in choice.parts]
            self._device.stop(running)
            self.recorder.signalled(now, running.id)

    def reached_cut(self) -> None:
        """The running pass stands at a cut; ask the policy, which wakes at every cut."""
        running = self._stopped()
        self._policy.happened = "a cut of pass", running.id
        self._standing = True
        self._measure(running, running.elapsed_s)
        self._deciding = True
        self._device.think(self.seen)

    def acknowledged(self) -> None:
        """The running pass has stopped, as it was told; launch what was chosen in its place."""
        running, chosen = self._stopped(), self._chosen
        assert chosen is not None
        self._chosen = None
        self._policy.happened = "the stop of pass", running.id
        now = self.clock.now
        self._preempt(running, now, self._signal_s)
        self._launch(chosen, now)
        if self._due:
            self._wake(self.clock.now)

    def woken(self) -> None:
        """The timer that the policy set is due; ask it as soon as it can be asked."""
        self._wake_at_s = math.inf
        self._policy.woken()
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
        self._policy.happened = "the completion of pass", execution.id
        taken_s, timeline = execution.taken_s, execution.timeline
        overhead_s = timeline.overhead_s
        ended_s = execution.ended_s
        finished = self.requests.completed(execution.parts, ended_s)
        self.recorder.completed(
            now,
            execution.id,
            execution.members,
            finished,
            execution.began_s,
            ended_s,
            taken_s,
            overhead_s * (taken_s / timeline.duration_s) if overhead_s else 0.0,
            None if chosen is None else now - self._signal_s,
        )
        if self._policy.hears_completions:
            self._policy.completed(execution, now)
        if chosen is not None:
            self._chosen = None
            self._launch(chosen if self._prefixes is None else renewed(chosen, self._tokens_left), now)
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
            self._deciding = True
            self._device.think(self.seen)

    def _record(self, now: float, choice: Pass | Execution | None) -> None:
        head = choice.parts[0][0] if isinstance(choice, Pass) else choice
        running = self.running
        self.recorder.decided(
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
        self.recorder.stopped(self.clock.now, running.id, running.members, running.began_s, running.ended_s)
        return running

    def _preempt(self, running: Execution, now: float, since_s: float) -> None:
        """Put the running pass, which has stopped, aside; it blocked another from `since_s` on."""
        self._measure(running, running.elapsed_s)
        self.paused[running.id] = running
        self.running = None
        self.recorder.preempted(now, running.id, running.members, now - since_s)

    def _measure(self, execution: Execution, elapsed_s: float) -> None:
        """Bring up to date what policies see of an execution that has got so far."""
        done, since_s = execution.timeline.progress(elapsed_s)
        tokens = execution.batch_tokens - done
        force_setattr(execution, "tokens", tokens)
        force_setattr(execution, "predicted_s", self.predictor.left(execution, elapsed_s, tokens, since_s))

    def _launch(self, choice: Pass | Execution, now: float) -> None:
        if isinstance(choice, Execution):
            if self.paused.pop(choice.id, None) is not choice:
                raise self._policy.impossible(f"chose {choice}, which is neither running nor paused")
            self.running = choice
            self._resume(choice)
            return
        if (wrong := self.requests.take(choice.parts, now)) is not None:
            raise self._policy.impossible(wrong)
        self._launched = True
        self.free_slots -= 1
        if self.free_slots < 0:
            raise self._policy.impossible("chose a pass for which no runner slot is free")
        self.running = execution = self._device.begin(choice.parts)
        self.recorder.launched(self.clock.now, execution.id, execution.members, execution.shares)

    def _resume(self, execution: Execution) -> None:
        self._device.resume(execution)
        self.recorder.resumed(self.clock.now, execution.id)
