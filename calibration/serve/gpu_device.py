"""A real prefill instance: what its scheduler does is `flowsim.engine.instance`'s, what it does it with is a runner.

Times are read from `time.perf_counter`, seconds from the start of the replay.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.predictor import Predictor
from flowsim.calibration.gpu.batch import CacheSlice
from flowsim.calibration.gpu.kv_rows import CacheRows
from flowsim.calibration.serve.runner import Job, Member, Runner, Told
from flowsim.core.ledger import NEVER, Ledger
from flowsim.core.passes import Execution, Part
from flowsim.core.policy import Policy
from flowsim.core.request import Request
from flowsim.core.timeline import Slice
from flowsim.engine.instance import Instance


class Preemption(NamedTuple):
    """One pause of a pass, seconds: the scheduler's signal, the runner's stop, the scheduler's knowing, the resumption.

    If the policy wakes at cuts there is no signal; then `signal_s` is `stopped_s`.
    """

    head: int
    signal_s: float
    stopped_s: float
    acknowledged_s: float
    resumed_s: float


class WallClock:
    """Real time, seconds from `start`; it stands still between two calls of `tick`, so that a decision sees one time.

    Attributes:
        now: the time of the last `tick`, or of the event that is being handled.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._zero_s = 0.0

    def start(self) -> None:
        """Let it be 0."""
        self._zero_s = time.perf_counter()

    def tick(self) -> float:
        """Read the time."""
        self.now = self.at(time.perf_counter())
        return self.now

    def at(self, counter_s: float) -> float:
        """The time at a reading of `time.perf_counter`."""
        return counter_s - self._zero_s


class Course:
    """How a pass really goes, as policies and predictors ask it."""

    def __init__(self, job: Job, believed_s: Callable[[], float]) -> None:
        self.job = job
        self._believed_s = believed_s

    @cached_property
    def duration_s(self) -> float:
        """How long it takes in all, as the cost model says."""
        return self._believed_s()

    def progress(self, elapsed_s: float) -> tuple[int, float]:
        """What is behind after `elapsed_s`: tokens of the ended forwards, and seconds since the last of them."""
        tokens, ended_s = self.job.behind
        return tokens, elapsed_s - ended_s


class RealInstance(Instance):
    """A prefill instance whose passes a runner really executes.

    Args:
        clock: real time.
        runner: executes passes; the cache of its decoder fills with the prompts' keys and values.
        cost: what predictors may ask how long a pass takes.
        chunk_tokens: most tokens of one forward.
        policy, predictor, requests, ledger, limits: as `Instance` takes them.
    """

    clock: WallClock

    def __init__(
        self,
        clock: WallClock,
        policy: Policy,
        predictor: Predictor,
        requests: list[Request],
        ledger: Ledger,
        *,
        runner: Runner,
        cost: CostModel,
        chunk_tokens: int,
        **limits: Any,
    ) -> None:
        super().__init__(clock, policy, predictor, requests, ledger, **limits)
        self.preemptions: list[Preemption] = []
        self.next_ids: dict[int, tuple[Any, int]] = {}
        self.hand_overs_s: list[float] = []
        self.acknowledged_s: list[float] = []
        self.scattered = 0
        self._paused_at: dict[int, int] = {}
        """Where in `preemptions` the pause of every paused pass is, by its head."""
        self._freed_s: float | None = None
        """When the runner came free, until the scheduler has dealt with that."""
        self._handing_over_s: float | None = None
        """When the runner came free, for the job that it was then given; None if it had been idle."""
        self._wall = clock
        self._runner = runner
        self._cost = cost
        self._chunk_tokens = chunk_tokens
        self._rows = CacheRows(runner.decoder.rows)
        self._starts: dict[int, int] = {}
        """The first cache row of every request that has been launched and has not finished."""
        self._ids = runner.decoder.random_ids

    def settle(self) -> None:
        """Decide, if something has happened about which the scheduler may; then all that is known is dealt with.

        That takes `control_s`: from the clock's last tick, before the arrivals were put in order, until the runner has
        its order, if there is one. It is what a simulation charges as `CostModel.decision`.
        """
        if self._deciding:
            begin_s = self._wall.now
            self._decide()
            self.log.control_s += self._wall.tick() - begin_s
        self._freed_s = None

    def hear(self, told: Told) -> None:
        """Take in what the runner tells. Whatever made a job fail is raised."""
        running = self.running
        assert running is not None
        if told.error is not None:
            raise told.error
        job = told.job
        self._freed_s = self._wall.at(job.stopped_s)
        self.acknowledged_s.append(self._wall.tick() - self._freed_s)
        running.elapsed_s = job.elapsed_s
        self._note(running, job, told.completed)
        if told.completed:
            self._keep_tokens(running, job)
            self._completed(running, job.elapsed_s, self._wall.at(job.stopped_s))
        elif self._chosen is None:
            self._reached_cut()
        else:
            self._acknowledged()

    def _think(self) -> None:
        self._deciding = True
        self.log.decisions += 1

    def _choose(self) -> Any:
        """Ask the policy, which sees no more of the cache as free than its longest free stretch of rows.

        Then whatever it begins finds rows. A prompt too long for that waits, as if there were no blocks for it.
        """
        scattered = max(0, self.free_tokens - self._rows.longest)
        self.scattered += scattered > 0
        self.free_tokens -= scattered
        choice = super()._choose()
        self.free_tokens += scattered
        self._wall.tick()
        return choice

    def _ran_s(self, running: Execution) -> float:
        return running.elapsed_s + max(0.0, self._wall.now - running.begun_s)

    def _launch(self, choice: Any) -> None:
        self._wall.tick()
        super()._launch(choice)

    def _begin(self, parts: tuple[Part, ...]) -> Execution:
        job = Job([self._member(request, tokens) for request, tokens in parts], self._chunk_tokens)
        self._start(job)
        stretches = [Slice(tokens, request.context) for request, tokens in parts]
        believed = self._cost.timeline
        course = Course(job, lambda: believed(stretches, self._cut, self._chunk_tokens).duration_s)
        execution = Execution(parts, course)
        execution.begun_s = self._wall.now
        return execution

    def _continue(self, execution: Execution) -> None:
        execution.begun_s = self._wall.now
        self._start(execution.timeline.job)

    def _start(self, job: Job) -> None:
        self._runner.start(job, to_next_cut=self._at_cuts)
        self._handing_over_s, self._freed_s = self._freed_s, None

    def _stop(self, running: Execution) -> None:
        self._runner.signal()

    def _pause(self, running: Execution) -> None:
        stopped_s = self._wall.at(running.timeline.job.stopped_s)
        signal_s = stopped_s if self._at_cuts else self._signal_s
        self._paused_at[running.id] = len(self.preemptions)
        self.preemptions.append(Preemption(running.id, signal_s, stopped_s, self._wall.now, NEVER))
        super()._pause(running)

    def _advance(self, request: Request, tokens: int, duration_s: float, ended_s: float) -> None:
        super()._advance(request, tokens, duration_s, ended_s)
        if not request.tokens:
            self._rows.give(self._starts.pop(request.id), request.kv_tokens)

    def _member(self, request: Request, tokens: int) -> Member:
        """A stretch of a prompt in the cache; its token ids are drawn, the same ones however it is executed."""
        if request.id not in self._starts:
            self._starts[request.id] = self._rows.take(request.kv_tokens)
        ids = self._ids(request.id, request.context, tokens)
        return Member(CacheSlice(tokens, request.context, self._starts[request.id]), ids)

    def _note(self, running: Execution, job: Job, completed: bool) -> None:
        """Write down the stretch that has ended, and when the pass was resumed if it had been paused."""
        began_s, stopped_s = self._wall.at(job.began_s), self._wall.at(job.stopped_s)
        if self._handing_over_s is not None:
            self.hand_overs_s.append(began_s - self._handing_over_s)
        if (place := self._paused_at.pop(running.id, None)) is not None:
            self.preemptions[place] = self.preemptions[place]._replace(resumed_s=began_s)
        if self.log.stretches is not None:
            ids = tuple(request.id for request in running.requests)
            self.log.stretches.append((began_s, stopped_s, ids, completed))

    def _keep_tokens(self, execution: Execution, job: Job) -> None:
        """The first token of every prompt that this pass has computed to its end."""
        for place, (request, tokens) in enumerate(execution.parts):
            if tokens == request.tokens:
                self.next_ids[request.id] = job.next_ids[place]
