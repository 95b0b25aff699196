"""A simulated instance: passes take the time that the cost model says, and so do checks, hand-offs and decisions."""

from __future__ import annotations

from typing import Any

import simpy

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.host_times import SWITCH_S
from flowsim.calibration.costs.predictor import Predictor
from flowsim.core.ledger import Ledger
from flowsim.core.passes import Execution, Part
from flowsim.core.policy import Policy
from flowsim.core.request import Request
from flowsim.core.timeline import Slice, Timeline
from flowsim.engine.instance import Instance


class SimulatedInstance(Instance):
    """One prefill instance, living in a SimPy environment.

    Args:
        env: the environment.
        cost: says what passes, checks and decisions take.
        chunk_tokens: most tokens of one forward.
        policy, predictor, requests, ledger, limits: as `Instance` takes them.
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
        chunk_tokens: int,
        **limits: Any,
    ) -> None:
        super().__init__(env, policy, predictor, requests, ledger, **limits)
        self._env = env
        self._cost = cost
        self._chunk_tokens = chunk_tokens
        self._further = 1 if cost.tp > 1 else 0
        self._stop_at: tuple[float, int] | None = None
        """The cut at which the running pass is going to stop: (its time, its number)."""
        self._began_s = 0.0
        """When the running stretch began; later than now while the runner is being told of it."""
        self._thinks_s = 0.0
        """When the scheduler began to think about its latest decision."""
        self._end: simpy.Event | None = None
        """The event that is to end the running stretch; an event that has been overtaken is not it."""

    def close(self) -> None:
        """Count the work on passes that will not complete, when the simulation ends before they do."""
        running = self.running
        if running is not None and self._end is not None:
            end_s = self._stop_at[0] if self._stop_at else running.timeline.duration_s
            running.elapsed_s = min(self._ran_s(running), end_s)
            if self._env.now > self._began_s:
                self._end_stretch(running, self._when(running, running.elapsed_s), completed=False)
        for execution in [*self.paused.values(), *([self.running] if self.running else [])]:
            self.log.busy_s += self._taken_s(execution)

    def _after(self, delay_s: float, callback: Any) -> simpy.Event:
        event: simpy.Event = self._env.timeout(delay_s if delay_s > 0.0 else 0.0)
        event.callbacks.append(callback)
        return event

    def _think(self) -> None:
        delay_s = self._cost.decision(self.seen)
        self._deciding, self._thinks_s = True, float(self._env.now)
        self.log.control_s += delay_s
        self.log.decisions += 1
        self._after(delay_s, self._decide)

    def _ran_s(self, running: Execution) -> float:
        return self._ran_by(running, float(self._env.now))

    def _ran_by(self, running: Execution, time_s: float) -> float:
        """How far the running pass has got at this time."""
        return max(time_s - running.begun_s, running.elapsed_s)

    def _when(self, running: Execution, elapsed_s: float) -> float:
        """When the running pass gets so far in its timeline."""
        return running.begun_s + elapsed_s

    def _taken_s(self, execution: Execution) -> float:
        """How long a pass has run, pauses left out, up to the end of its latest stretch; real seconds."""
        return execution.elapsed_s

    def _begin(self, parts: tuple[Part, ...]) -> Execution:
        slices = [Slice(tokens, request.context) for request, tokens in parts]
        execution = Execution(parts, self._cost.timeline(slices, self._cut, self._chunk_tokens))
        self._continue(execution)
        return execution

    def _continue(self, execution: Execution) -> None:
        now = self._env.now
        self._began_s = now + self._cost.resume_s
        self._begin_stretch(execution)
        timeline: Timeline = execution.timeline
        self._stop_at = timeline.next_cut(execution.elapsed_s, execution.passed) if self._at_cuts else None
        end_s = timeline.duration_s if self._stop_at is None else self._stop_at[0]
        then = self._complete if self._stop_at is None else self._reach_cut
        known_s = self._cost.complete_s if self._stop_at is None else self._cost.acknowledge_s
        self._end = self._after(self._when(execution, end_s) - now + known_s, then)

    def _begin_stretch(self, execution: Execution) -> None:
        """Note that the pass goes on at `_began_s`."""
        execution.begun_s = self._began_s - execution.elapsed_s

    def _stop(self, running: Execution) -> None:
        """Stop at the first cut since the scheduler began to think, or since SWITCH_S ago if that is later.

        The two share an interpreter: a runner that comes to a check meanwhile waits there, for at most so long. It is
        not so among tensor-parallel ranks, which hear of a signal from each other.
        """
        now = float(self._env.now)
        since_s = now if self._further else max(self._thinks_s, now - SWITCH_S)
        ran_s = self._ran_by(running, since_s)
        self._stop_at = running.timeline.next_cut(ran_s, running.passed, self._further)
        if self._stop_at is not None:
            ahead_s = max(self._when(running, self._stop_at[0]) - now, 0.0)
            self._end = self._after(ahead_s + self._cost.acknowledge_s, self._acknowledge)

    def _acknowledge(self, event: simpy.Event) -> None:
        if event is self._end:
            self._stand()
            self._acknowledged()

    def _reach_cut(self, event: simpy.Event) -> None:
        self._end = None
        self._stand()
        self._reached_cut()

    def _stand(self) -> None:
        """Have the running pass stand at the cut where it was going to stop."""
        running = self.running
        assert running is not None and self._stop_at is not None
        (running.elapsed_s, running.passed), self._stop_at = self._stop_at, None
        self._end_stretch(running, self._when(running, running.elapsed_s), completed=False)

    def _complete(self, event: simpy.Event) -> None:
        execution = self.running
        if event is not self._end or execution is None:
            return
        self._end = None
        timeline: Timeline = execution.timeline
        ended_s = self._when(execution, timeline.duration_s)
        self._end_stretch(execution, ended_s, completed=True)
        execution.elapsed_s = timeline.duration_s
        taken_s = self._taken_s(execution)
        if timeline.overhead_s:
            self.log.check_s += timeline.overhead_s * (taken_s / timeline.duration_s)
        self._completed(execution, taken_s, ended_s)

    def _end_stretch(self, execution: Execution, end_s: float, *, completed: bool) -> None:
        """Write down the stretch that ended then."""
        if self.log.stretches is not None:
            ids = tuple(request.id for request in execution.requests)
            self.log.stretches.append((self._began_s, end_s, ids, completed))
