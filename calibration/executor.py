"""The real counterpart of `flowsim.engine`: replays requests on the device at hand, with the same policies.

Two threads, as in FlowPrefill: this one takes in the arrivals as they fall due, hears from the runner, and schedules;
the runner (`flowsim.calibration.runner`) launches. What the scheduler does about an event is `flowsim.instance`'s,
the same code as in a simulation. Times are read from `time.perf_counter`, seconds from the start of the replay.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from flowsim.calibration.cache import CacheRows
from flowsim.calibration.cost import CostModel
from flowsim.calibration.operators import CacheSlice
from flowsim.calibration.predictor import Predictor
from flowsim.calibration.runner import Job, Member, Runner, Told
from flowsim.calibration.steady import SCHEDULER, steady
from flowsim.engine import Outcome, Server, whole_blocks
from flowsim.execution import Execution, Part
from flowsim.forward import Slice
from flowsim.instance import Instance
from flowsim.ledger import NEVER, Ledger
from flowsim.policy import Policy
from flowsim.request import Request

AWAKE_S = 3e-4
"""For how long the scheduler waits for an arrival awake."""


class Preemption(NamedTuple):
    """One pause of a pass, seconds: the scheduler's signal, the runner's stop, the scheduler's knowing, the resumption.

    If the policy wakes at cuts there is no signal; then `signal_s` is `stopped_s`.
    """

    head: int
    signal_s: float
    stopped_s: float
    acknowledged_s: float
    resumed_s: float


@dataclass(frozen=True)
class Replay:
    """What came of a real replay.

    Attributes:
        outcome: as `flowsim.engine.simulate` gives it.
        preemptions: in order of their acknowledgement.
        lateness_s: how late each request was taken in, seconds after its arrival was due, shape [n].
        acknowledged_s: from each end of a stretch of execution until the scheduler knew.
        hand_overs_s: from the end of a stretch of execution until the next began, where the scheduler had one ready.
        first_tokens: the first token of each request; -1 where there is none.
        scattered: at how many decisions the free rows of the cache were in stretches too short to count them all as
            free, which a simulation knows nothing of.
        crowded: forwards launched without a graph because the recording of their size was in use, which it neither
            knows of.
    """

    outcome: Outcome
    preemptions: tuple[Preemption, ...]
    lateness_s: list[float]
    acknowledged_s: list[float]
    hand_overs_s: list[float]
    first_tokens: list[int]
    scattered: int
    crowded: int


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


def execute(
    requests: list[Request],
    policy: Policy,
    cost: CostModel,
    predictor: Predictor,
    runner: Runner,
    server: Server | None = None,
    *,
    stretches: bool = False,
) -> Replay:
    """Replay requests on the runner's device, in real time, until the last has finished.

    Args:
        requests: in order of arrival, `id` = position; they are used up.
        policy: the scheduler.
        cost: what the policy's predictor may ask.
        predictor: what the policy believes that passes take.
        runner: executes the passes. If the replay is broken off, the runner may still be at work on one.
        server: limits; one instance.
        stretches: whether to log every uninterrupted stretch of execution.

    Raises:
        InputError: the policy chose something that cannot be done, or the device ran out of memory.
    """
    server = server or Server()
    for request in requests:  # before any order ranks them
        request.predicted_s = predictor.predict(request.tokens, request.context)
    ledger, clock, events = Ledger(len(requests)), WallClock(), SimpleQueue[Told]()
    ledger.instance = [0] * len(requests)
    runner.serve(policy.cut, events.put, server.graph_tokens)
    with steady(runner.decoder.device.type, SCHEDULER):
        instance = RealInstance(
            clock,
            policy,
            predictor,
            requests,
            ledger,
            runner=runner,
            cost=cost,
            chunk_tokens=server.max_batched_tokens,
            kv_tokens=min(whole_blocks(server, cost), runner.decoder.rows),
            slots=server.slots,
            stretches=stretches,
        )
        lateness_s = _serve(instance, clock, requests, events)
    tokens = [-1] * len(requests)
    for id, (ids, place) in instance.next_ids.items():
        tokens[id] = int(ids[place])
    outcome = Outcome(ledger, [instance.log], clock.now)
    return Replay(
        outcome,
        tuple(instance.preemptions),
        lateness_s,
        instance.acknowledged_s,
        instance.hand_overs_s,
        tokens,
        instance.scattered,
        runner.crowded,
    )


def _serve(
    instance: RealInstance,
    clock: WallClock,
    requests: list[Request],
    events: SimpleQueue[Told],
) -> list[float]:
    """The scheduler's loop: wait for the runner or the next arrival, take in all there is, decide once; lateness."""
    lateness_s = list[float]()
    clock.start()
    while len(lateness_s) < len(requests) or instance.running is not None:
        due_s = requests[len(lateness_s)].arrival_s - clock.tick() if len(lateness_s) < len(requests) else None
        for told in _heard(events, due_s):
            instance.hear(told)
        clock.tick()
        while len(lateness_s) < len(requests) and requests[len(lateness_s)].arrival_s <= clock.now:
            request = requests[len(lateness_s)]
            lateness_s.append(clock.now - request.arrival_s)
            instance.arrive(request)
        instance.settle()
    return lateness_s


def _heard(events: SimpleQueue[Told], due_s: float | None) -> Iterator[Told]:
    """What the runner has told, waiting for it at most `due_s` seconds, the last of them awake: a sleep ends late."""
    end_s = time.perf_counter() + (math.inf if due_s is None else due_s)
    try:
        try:
            yield events.get(timeout=None if due_s is None else max(due_s - AWAKE_S, 0.0))
        except Empty:
            while events.empty() and time.perf_counter() < end_s:
                time.sleep(0)  # lets the runner have the interpreter
        while True:
            yield events.get_nowait()
    except Empty:
        return
