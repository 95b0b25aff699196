"""A device in a SimPy environment: passes, checks, hand-overs and decisions take what the cost model says."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import simpy
from msgspec.structs import force_setattr

from flowsim.calibration.costs.host_times import StopTimes
from flowsim.calibration.costs.pass_costs import PassCosts
from flowsim.core.pass_timeline import Slice, Timeline
from flowsim.core.passes import Execution, Part
from flowsim.engine.device import Listener
from flowsim.engine.speed import speed_of


class SimulatedDevice:
    """Executes passes in simulated time.

    Args:
        env: the environment.
        costs: what passes take, and of their model what checks and decisions take.
    """

    def __init__(self, env: simpy.Environment, costs: PassCosts) -> None:
        self.clock = env
        self._timeline_of = costs.timeline
        self._cost = costs.model
        self._max_batched_tokens = costs.server.max_batched_tokens
        self._further = 1 if self._cost.tp > 1 else 0
        self._speed = speed_of(self._cost.boost, self._max_batched_tokens)
        self._running: Execution | None = None
        """The pass that is being executed."""
        self._timeline: Timeline
        self._stop_at: tuple[float, int] | None = None
        """The cut at which it is going to stop: (its time, its number)."""
        self._end: simpy.Event | None = None
        """The event that will end it; an event that has been superseded is ignored."""
        self._thinks_s = 0.0
        """When the scheduler began to think about its latest decision."""
        self._wake_at_s = math.inf
        """When the scheduler is to be woken."""
        self._alarm: simpy.Event | None = None
        """The event that looks whether it is time; it may come too early, but not too late."""
        self._alarm_s = math.inf
        self._at_cut: Execution | None = None
        """The pass that stands at a cut until the scheduler, which wakes there, has decided."""
        self._stop_times: StopTimes
        """What that takes."""

    def connect(self, listener: Listener, stops_at_cuts: bool) -> None:
        """See `Device`."""
        self._listener, self._stops_at_cuts = listener, stops_at_cuts

    def tick(self) -> float:
        """The time; nothing has to be read."""
        now: float = self.clock.now
        return now

    def think(self, seen: int) -> None:
        """See `Device`."""
        if self._at_cut is None:
            delay_s = self._cost.decision(seen)
        else:
            self._stop_times = self._cost.stop_times(self._forward_tokens(self._at_cut), seen)
            delay_s = self._stop_times.decision_s
        self._thinks_s = self.clock.now
        self._listener.thought(self._thinks_s, delay_s)
        self._after(delay_s, self._decide)

    def wake_at(self, time_s: float) -> None:
        """See `Device`."""
        self._wake_at_s = time_s
        if time_s < self._alarm_s:
            self._alarm_s, self._alarm = time_s, self._after(time_s - self.clock.now, self._ring)

    def begin(self, parts: tuple[Part, ...]) -> Execution:
        """See `Device`."""
        slices = tuple([Slice(tokens, request.context) for request, tokens in parts])
        timeline = self._timeline_of(slices)
        execution = Execution.of(parts, timeline)
        self._run(execution, timeline)
        return execution

    def resume(self, execution: Execution) -> None:
        """See `Device`."""
        self._run(execution, cast(Timeline, execution.timeline))  # `begin` made it

    def stop(self, execution: Execution) -> None:
        """Stop at the first cut since the scheduler began to think, or since `switch_s` ago if that is later.

        The two share an interpreter: a runner that comes to a check meanwhile waits there, but no longer than that.
        Not so among tensor-parallel ranks, which learn of a signal from each other.
        """
        now = float(self.clock.now)
        since_s = now if self._further else max(self._thinks_s, now - self._cost.switch_s)
        elapsed_s = self._speed.elapsed_at(since_s)
        self._stop_at = self._timeline.next_cut(elapsed_s, execution.passed, self._further)
        if self._stop_at is not None:
            ahead_s = max(self._speed.time_of(self._stop_at[0]) - now, 0.0)
            self._end = self._after(ahead_s + self._cost.acknowledge_s, self._acknowledge)

    def elapsed_s(self, execution: Execution) -> float:
        """See `Device`."""
        return self._speed.elapsed_at(float(self.clock.now))

    def close(self) -> None:
        """Bring the pass that is being executed up to date, when the simulation ends before it does."""
        running = self._running
        if running is None:
            return
        end_s = self._stop_at[0] if self._stop_at else self._timeline.duration_s
        if self.clock.now > running.began_s:
            self._speed.end(running, min(self._speed.elapsed_at(float(self.clock.now)), end_s))
            self._listener.cut_off()

    def _after(self, delay_s: float, callback: Callable[[simpy.Event], None]) -> simpy.Event:
        event: simpy.Event = self.clock.timeout(delay_s if delay_s > 0.0 else 0.0)
        event.callbacks.append(callback)
        return event

    def _decide(self, event: simpy.Event) -> None:
        self._listener.decide()

    def _ring(self, event: simpy.Event) -> None:
        if event is not self._alarm:
            return
        self._alarm_s, self._alarm = math.inf, None
        if self._wake_at_s <= self.clock.now:
            self._wake_at_s = math.inf
            self._listener.woken()
        elif self._wake_at_s < math.inf:
            self.wake_at(self._wake_at_s)

    def _run(self, execution: Execution, timeline: Timeline) -> None:
        """Execute a pass from where it is: to its next cut if it stops at each, else to its end.

        A pass that stops at each cut pays at each for word of it, a decision and an order, even if it proceeds. So does
        the real one: its runner executes one segment, tells the scheduler's thread and waits for the next order
        (`to_next_cut` in `flowsim.calibration.gpu_engine.runner`).
        """
        cost, now = self._cost, self.clock.now
        self._running, self._timeline = execution, timeline
        force_setattr(execution, "began_s", now + self._order_s(execution))
        self._speed.begin(execution, timeline)
        self._stop_at = timeline.next_cut(execution.elapsed_s, execution.passed) if self._stops_at_cuts else None
        if self._stop_at is None:
            end_s, known_s, then = timeline.duration_s, cost.complete_s, self._complete
        else:
            known_s = cost.known_at_cut_s(self._forward_tokens(execution))
            end_s, then = self._stop_at[0], self._reach_cut
        self._end = self._after(self._speed.time_of(end_s) - now + known_s, then)

    def _order_s(self, execution: Execution) -> float:
        """From the scheduler's word until the runner begins on this pass."""
        at_cut, self._at_cut = self._at_cut, None
        if at_cut is None:
            return self._cost.resume_s
        return self._stop_times.proceed_s if at_cut is execution else self._stop_times.other_s

    def _forward_tokens(self, execution: Execution) -> int:
        return min(execution.batch_tokens, self._max_batched_tokens)

    def _acknowledge(self, event: simpy.Event) -> None:
        if event is self._end:
            self._stand()
            self._listener.acknowledged()

    def _reach_cut(self, event: simpy.Event) -> None:
        self._at_cut = self._running
        self._stand()
        self._listener.reached_cut()

    def _stand(self) -> None:
        """Have the running pass stand at the cut where it was going to stop."""
        running, stop_at = self._running, self._stop_at
        assert running is not None and stop_at is not None
        self._running = self._stop_at = None
        elapsed_s, passed = stop_at
        force_setattr(running, "passed", passed)
        self._speed.end(running, elapsed_s)

    def _complete(self, event: simpy.Event) -> None:
        running = self._running
        if event is not self._end or running is None:
            return
        self._running = None
        self._speed.end(running, self._timeline.duration_s)
        self._listener.completed()
