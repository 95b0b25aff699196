"""A real device: passes are jobs of a runner, and time is read from `time.perf_counter`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import cached_property
from typing import Any, cast

from msgspec.structs import force_setattr

from flowsim.calibration.costs.pass_costs import PassCosts
from flowsim.calibration.gpu.batch import CacheSlice
from flowsim.calibration.gpu_engine.row_cache import RowCache
from flowsim.calibration.gpu_engine.runner import Job, JobOutcome, Member, Runner
from flowsim.core.pass_timeline import Slice
from flowsim.core.passes import Execution, Part
from flowsim.core.request import Request
from flowsim.engine.device import Listener


class WallClock:
    """Real time, seconds from `start`; it stands still between two calls of `tick`, so that a decision sees one time.

    Attributes:
        now: the time of the last `tick`, or of the event that is being handled.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._zero_s = 0.0

    def start(self) -> None:
        """Make the present time 0."""
        self._zero_s = time.perf_counter()

    def tick(self) -> float:
        """Read the time."""
        self.now = self.at(time.perf_counter())
        return self.now

    def at(self, counter_s: float) -> float:
        """The time at a reading of `time.perf_counter`."""
        return counter_s - self._zero_s


class JobTimeline:
    """The progress of a job, as instances and predictors ask about it.

    Attributes:
        overhead_s: 0, for nobody knows how long the pass would take without checks.
    """

    overhead_s = 0.0

    def __init__(self, job: Job, believed_s: Callable[[], float]) -> None:
        self.job = job
        self._believed_s = believed_s

    @cached_property
    def duration_s(self) -> float:
        """How long it takes in all, according to the cost model."""
        return self._believed_s()

    def progress(self, elapsed_s: float) -> tuple[int, float]:
        """After `elapsed_s`: tokens of the completed forwards, and seconds since the last of them ended."""
        tokens, ended_s = self.job.done
        return tokens, elapsed_s - ended_s


class GpuDevice:
    """Has a runner execute the passes of one instance (see `flowsim.engine.device.Device`).

    Its owner tells it what the runner says (`hear`), that time has passed (`ring`), and when all that is known has been
    taken in (`settle`).

    Args:
        clock: real time.
        runner: executes passes; the cache of its decoder fills with the prompts' keys and values.
        costs: what predictors may ask how long a pass takes.
        kv: which rows of the decoder's cache the requests have.

    Attributes:
        next_ids: for each request that has been computed, the next tokens of a forward, and its place there.
        hand_overs_s: from the end of a stretch of execution until the next began, where the scheduler had one ready.
        scattered: at how many decisions free rows did not count (`RowCache.scattered`).
        wake_at_s: when the scheduler is to be woken; infinite: at no time.
    """

    def __init__(self, clock: WallClock, runner: Runner, costs: PassCosts, kv: RowCache) -> None:
        self.clock = clock
        self.next_ids: dict[int, tuple[Any, int]] = {}
        self.hand_overs_s: list[float] = []
        self.scattered = 0
        self.wake_at_s = math.inf
        self._runner = runner
        self._ids = runner.decoder.random_ids
        self._costs = costs
        self._kv = kv
        self._running: Execution
        self._since_s = 0.0
        """When the running pass was handed to the runner."""
        self._thinking = self._signalled = False
        self._freed_s: float | None = None
        """When the runner came free, until the scheduler has dealt with that."""
        self._handing_over_s: float | None = None
        """When the runner came free, for the job that it was then given; None if it had been idle."""

    def connect(self, listener: Listener, stops_at_cuts: bool) -> None:
        """See `Device`."""
        self._listener, self._stops_at_cuts = listener, stops_at_cuts

    def tick(self) -> float:
        """See `Device`."""
        return self.clock.tick()

    def think(self, seen: int) -> None:
        """Decide in the next `settle`."""
        self._thinking = True

    def wake_at(self, time_s: float) -> None:
        """See `Device`."""
        self.wake_at_s = time_s

    def ring(self) -> None:
        """Wake the scheduler if it is time, by the clock's last tick."""
        if self.wake_at_s <= self.clock.now:
            self.wake_at_s = math.inf
            self._listener.woken()

    def settle(self) -> None:
        """Decide, if something has happened about which the scheduler may; then all that is known is dealt with.

        That takes `control_s`: from the clock's last tick, before the arrivals were put in order, until the runner has
        its order, if there is one. A simulation charges it as `CostModel.decision`.
        """
        if self._thinking:
            self._thinking = False
            self.scattered += self._kv.scattered
            began_s = self.clock.now
            self._listener.decide()
            self._listener.thought(began_s, self.clock.tick() - began_s)
        self._freed_s = None

    def hear(self, outcome: JobOutcome) -> None:
        """Take in what the runner tells. Whatever made a job fail is raised."""
        if outcome.error is not None:
            raise outcome.error
        running, job = self._running, outcome.job
        for name, time_s in (
            ("began_s", self.clock.at(job.began_s)),
            ("ended_s", self.clock.at(job.stopped_s)),
            ("elapsed_s", job.elapsed_s),
            ("taken_s", job.elapsed_s),
        ):
            force_setattr(running, name, time_s)
        self.clock.tick()
        if self._handing_over_s is not None:
            self.hand_overs_s.append(running.began_s - self._handing_over_s)
        self._freed_s = running.ended_s
        signalled, self._signalled = self._signalled, False
        if outcome.completed:
            self._keep_tokens(running, job)
            self._listener.completed()
        elif signalled:
            self._listener.acknowledged()
        else:
            self._listener.reached_cut()

    def begin(self, parts: tuple[Part, ...]) -> Execution:
        """See `Device`."""
        self.clock.tick()
        job = Job([self._member(request, tokens) for request, tokens in parts], self._costs.server.max_batched_tokens)
        self._start(job)
        slices = [Slice(tokens, request.context) for request, tokens in parts]
        self._running = Execution.of(parts, JobTimeline(job, lambda: self._costs.timeline(slices).duration_s))
        return self._running

    def resume(self, execution: Execution) -> None:
        """See `Device`."""
        self.clock.tick()
        self._running = execution
        self._start(cast(JobTimeline, execution.timeline).job)  # `begin` made it

    def stop(self, execution: Execution) -> None:
        """See `Device`."""
        self._signalled = True
        self._runner.signal()

    def elapsed_s(self, execution: Execution) -> float:
        """See `Device`."""
        return execution.elapsed_s + max(0.0, self.clock.now - self._since_s)

    def _start(self, job: Job) -> None:
        self._runner.start(job, to_next_cut=self._stops_at_cuts)
        self._since_s = self.clock.now
        self._handing_over_s, self._freed_s = self._freed_s, None

    def _member(self, request: Request, tokens: int) -> Member:
        """A stretch of a prompt in the cache; its token ids are drawn, the same ones however it is executed."""
        ids = self._ids(request.id, request.context, tokens)
        return Member(CacheSlice(tokens, request.context, self._kv.first_row(request)), ids)

    def _keep_tokens(self, execution: Execution, job: Job) -> None:
        """Keep the first token of every prompt that this pass has computed to its end."""
        for place, (request, tokens) in enumerate(execution.parts):
            if tokens == request.tokens:
                self.next_ids[request.id] = job.next_ids[place]
