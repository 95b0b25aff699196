"""What serving costs the host apart from passes: the real scheduler's decisions, and its hand-offs with the runner."""

from __future__ import annotations

import math
import statistics
import time
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.pass_costs import PassCosts
from flowsim.calibration.costs.predictor import SoloPredictor
from flowsim.calibration.gpu_engine.gpu_device import GpuDevice, WallClock
from flowsim.calibration.gpu_engine.replay import Replay, replay_on_device
from flowsim.calibration.gpu_engine.row_cache import RowCache
from flowsim.calibration.gpu_engine.runner import Job, JobOutcome, Runner
from flowsim.calibration.measure.repeats import RepeatLimits
from flowsim.core.event_recorder import EventRecorder
from flowsim.core.ledger import Ledger
from flowsim.core.request import Request
from flowsim.core.server import ServerOptions
from flowsim.engine.instance import Instance
from flowsim.engine.kv import taken_tokens
from flowsim.policies.registry import load_policy

FREE = CostModel("none", 1, {}, lambda tokens, context: 0.0)
UNLIMITED = 1 << 40
"""Tokens of a cache that is never full."""
LONGEST = 4096
APART_S = 5e-3
"""About as long as between two passes, so that a thread that sleeps has to be woken up."""
SHORT, BURST = 64, 5
"""Tokens of the prompts that are handed over, and how many come at once: all but the first wait."""
LONG, INTERRUPTIONS = 16384, 30
"""Tokens of the prompts that are preempted, and how often."""
INTERRUPTED_S, SPARED = (15e-3, 0.1), 3.0
"""How far apart interruptions are: within these seconds, and SPARED times what a short prompt takes."""
A_ROUND = 64
"""Requests that may arrive in a round: more than any pass of 2048 tokens has members."""


def time_decisions(seen: int, limits: RepeatLimits, apart_s: float = APART_S) -> list[float]:
    """Seconds of a decision among `seen` requests and passes: a mean over each round of one completion and arrivals.

    It is `flowsim.calibration.gpu_engine.gpu_device.GpuDevice.settle` under the policy flowprefill (S-EDF, in batches
    up to 2048 tokens), from taking the arrivals in until the runner has its order: what a replay logs as `control_s`,
    and what a simulation charges as `CostModel.decision`. A completion is followed by as many arrivals as make it
    `seen` again. Decisions are about as far apart as in a replay, so that the processor has turned to something else
    meanwhile.
    """
    scheduler = Scheduler([_request(i) for i in range(seen + A_ROUND * limits.most)])
    scheduler.arrive_until(seen, 0.0)
    samples, log = list[float](), scheduler.log
    for _ in limits.rounds(samples):
        before_s, before = log.control_s, log.decisions
        scheduler.complete(apart_s)
        scheduler.arrive_until(seen, apart_s)
        samples.append((log.control_s - before_s) / (log.decisions - before))
    return samples


class HandOffs(NamedTuple):
    """Samples of three hand-offs, seconds.

    Attributes:
        complete: from a pass's end until the scheduler knows.
        acknowledge: from a pass's stop at a cut until the scheduler, which has just signalled it, knows; `complete`
            where no pass was stopped.
        resume: from the scheduler's word until the runner begins on a pass, new or stopped: what a hand-over takes
            apart from learning of the last pass's end and deciding.
    """

    complete: list[float]
    acknowledge: list[float]
    resume: list[float]


def time_hand_offs(runner: Runner, rounds: int) -> HandOffs:
    """Time what passes between the scheduler and the runner as prompts are served.

    First short prompts in bursts, all but the first of which wait; then long ones, each preempted again and again by
    short ones.
    """
    short = min(SHORT, runner.decoder.rows)
    served = _serve(
        [Request(i, i // BURST * APART_S, short, math.inf) for i in range(rounds)], "fcfs:batch_tokens=1", runner
    )
    (log,) = served.outcome.logs
    known_s, decision_s = statistics.median(served.acknowledged_s), log.control_s / log.decisions
    resumes = [max(0.0, s - known_s - decision_s) for s in served.hand_overs_s]
    least_s, most_s = INTERRUPTED_S
    apart_s = min(max(least_s, SPARED * statistics.median(served.outcome.ledger.service_s)), most_s)
    stopped = _serve(_interrupted(runner.decoder.rows, rounds, apart_s), "edf", runner).preemptions
    acknowledges = [pause.acknowledged_s - pause.stopped_s for pause in stopped]
    return HandOffs(served.acknowledged_s, acknowledges or served.acknowledged_s, resumes)


def time_proceeding(runner: Runner, tokens: int) -> list[float]:
    """Seconds from each stop at a cut until the same pass runs on, one prompt alone whose policy wakes at operators."""
    return _serve([Request(0, 0.0, tokens, math.inf)], "edf:wake=cuts", runner).hand_overs_s


def _serve(requests: list[Request], policy: str, runner: Runner) -> Replay:
    loaded, predictor = load_policy(policy), SoloPredictor("none", lambda n, context: 0.0)
    return replay_on_device(requests, loaded, PassCosts(FREE, ServerOptions(), loaded.cut), predictor, runner)


def _interrupted(rows: int, rounds: int, apart_s: float) -> list[Request]:
    """Long prompts, each followed by urgent short ones; arrivals are `apart_s` apart."""
    long = max(1, min(LONG, rows - 4 * SHORT))
    short = min(SHORT, rows)
    tokens = [short if i % (INTERRUPTIONS + 1) else long for i in range(rounds)]
    slos = [0.1 if n == short else 60.0 for n in tokens]
    return [Request(i, i * apart_s, n, slo_s) for i, (n, slo_s) in enumerate(zip(tokens, slos, strict=True))]


class Idle:
    """A runner that takes orders and executes nothing; and its decoder, which only knows rows and tokens."""

    rows = UNLIMITED

    def __init__(self) -> None:
        self.decoder = self
        self.job: Job | None = None
        self.signalled = False
        self._ids = np.zeros(LONGEST, np.int64)

    def random_ids(self, prompt: int, first: int, tokens: int) -> NDArray[np.int64]:
        """The tokens of a prompt."""
        return self._ids[first : first + tokens]

    def start(self, job: Job, *, to_next_cut: bool = False) -> None:
        """Have this job be the one that runs."""
        self.job = job

    def signal(self) -> None:
        """Have it stop."""
        self.signalled = True

    def outcome(self, *, completed: bool) -> JobOutcome:
        """The word that it has completed, or stopped."""
        assert self.job is not None
        job, self.signalled = self.job, False
        job.stopped_s = time.perf_counter()
        job.next_ids = dict.fromkeys(range(A_ROUND), (None, 0))
        return JobOutcome(job, completed)


def _request(id: int) -> Request:
    """Of 64 to 4063 tokens, with an SLO of 0.25 s to 10.2 s."""
    tokens = 64 + id * 104729 % 4000
    slo_s = 0.25 + 0.01 * (id * 7919 % 997)
    return Request(id, 0.0, tokens, slo_s, predicted_s=_predicted_s(tokens, 0), kv_tokens=taken_tokens(tokens, 16))


def _predicted_s(tokens: int, context: int) -> float:
    return ((1e-13 * tokens + 1e-9) * tokens + 2e-5) * tokens + 0.01


class Scheduler:
    """The real scheduler under the policy flowprefill, on a device that takes orders and executes nothing.

    Args:
        requests: those that may arrive, in this order.

    Attributes:
        log: what it does with its time.
    """

    def __init__(self, requests: list[Request]) -> None:
        clock = WallClock()
        clock.start()
        self._runner, self._arrivals = Idle(), iter(requests)
        recorder, kv = EventRecorder(Ledger(len(requests))), RowCache(UNLIMITED, UNLIMITED)
        predictor, policy = SoloPredictor("cubic", _predicted_s), load_policy("flowprefill")
        costs = PassCosts(FREE, ServerOptions(), policy.cut)
        self._device = GpuDevice(clock, cast(Runner, self._runner), costs, kv)
        self._instance = Instance(self._device, policy, predictor, recorder, kv, 128)
        self.log = recorder.log

    def arrive_until(self, seen: int, apart_s: float) -> None:
        """Have requests arrive, `apart_s` apart, until a decision looks at `seen` requests and passes."""
        while self._instance.seen < seen:
            time.sleep(apart_s)
            self._device.clock.tick()
            self._instance.arrive(next(self._arrivals))
            self._device.settle()
            if self._runner.signalled:
                self._hear(completed=False)

    def complete(self, apart_s: float) -> None:
        """Have the running pass complete after `apart_s`."""
        time.sleep(apart_s)
        self._hear(completed=True)

    def _hear(self, *, completed: bool) -> None:
        self._device.hear(self._runner.outcome(completed=completed))
        self._device.clock.tick()
        self._device.settle()
