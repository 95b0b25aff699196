"""What serving costs the host beside passes: the real scheduler's decisions, and its hand-offs with the runner."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator
from typing import cast

import numpy as np
from numpy.typing import NDArray

from flowsim.calibration.cost import CostModel
from flowsim.calibration.executor import RealInstance, WallClock, execute
from flowsim.calibration.predictor import Predictor
from flowsim.calibration.runner import Job, Runner, Told
from flowsim.calibration.timing import Limits
from flowsim.ledger import Ledger
from flowsim.policies.fcfs import FCFS
from flowsim.policy import load_policy
from flowsim.request import Request

FREE = CostModel("none", 1, {}, lambda tokens, context: 0.0)
UNLIMITED = 1 << 40
"""Tokens of a cache that holds whatever is begun."""
LONGEST = 4096
APART_S = 5e-3
"""About as long as between two passes, so that a thread that sleeps has to be woken up."""
SHORT, BURST = 64, 5
"""Tokens of the prompts that are handed over, and how many come at once: all but the first wait."""
A_ROUND = 64
"""Requests that a round may take in: more than any pass of 2048 tokens has members."""


def time_decisions(seen: int, limits: Limits, apart_s: float = APART_S) -> list[float]:
    """Seconds of a decision among `seen` requests and passes: a mean over each round of one completion and arrivals.

    It is `flowsim.calibration.executor.RealInstance.settle` under the policy flowprefill (S-EDF, in batches up to 2048
    tokens), from taking the arrivals in until the runner has its order: what a replay logs as `control_s`, and what a
    simulation charges as `CostModel.decision`. A completion is followed by as many arrivals as make it `seen` again.
    Decisions are about as far apart as in a replay, so that the processor has turned to something else meanwhile.
    """
    runner = Idle()
    requests = [_request(i) for i in range(seen + A_ROUND * limits.most)]
    instance, arrivals = _instance(requests, runner), iter(requests)
    _arrive_until(seen, instance, arrivals, runner, 0.0)
    samples, log = list[float](), instance.log
    for _ in limits.rounds(samples):
        before_s, before = log.control_s, log.decisions
        _complete(instance, runner, apart_s)
        _arrive_until(seen, instance, arrivals, runner, apart_s)
        samples.append((log.control_s - before_s) / (log.decisions - before))
    return samples


def time_hand_offs(runner: Runner, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of starting and of acknowledging a pass, as short prompts are served that come in bursts.

    Acknowledging: from the runner's stop until the scheduler knows. Starting: what else passes until the runner begins
    on the next pass, but for the decision; with the decision and the acknowledgement it makes up a hand-over.
    """
    tokens = min(SHORT, runner.decoder.rows)
    requests = [Request(i, i // BURST * APART_S, tokens, math.inf) for i in range(rounds)]
    replay = execute(requests, FCFS(batch_tokens=1), FREE, Predictor("none", lambda n, context: 0.0), runner)
    (log,) = replay.outcome.logs
    decision_s, acknowledge_s = log.control_s / log.decisions, statistics.median(replay.acknowledged_s)
    return [max(0.0, s - acknowledge_s - decision_s) for s in replay.hand_overs_s], replay.acknowledged_s


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

    def told(self, *, completed: bool) -> Told:
        """The word that it has completed, or stopped."""
        assert self.job is not None
        job, self.signalled = self.job, False
        job.stopped_s = time.perf_counter()
        job.next_ids = dict.fromkeys(range(A_ROUND), (None, 0))
        return Told(job, completed)


def _request(id: int) -> Request:
    """Of 64 to 4063 tokens, with an SLO of 0.25 s to 10.2 s."""
    tokens = 64 + id * 104729 % 4000
    request = Request(id, 0.0, tokens, 0.25 + 0.01 * (id * 7919 % 997), block_tokens=16)
    request.predicted_s = _predicted_s(tokens, 0)
    return request


def _predicted_s(tokens: int, context: int) -> float:
    return ((1e-13 * tokens + 1e-9) * tokens + 2e-5) * tokens + 0.01


def _instance(requests: list[Request], runner: Idle) -> RealInstance:
    clock = WallClock()
    clock.start()
    return RealInstance(
        clock,
        load_policy("flowprefill"),
        Predictor("cubic", _predicted_s),
        requests,
        Ledger(len(requests)),
        runner=cast(Runner, runner),
        cost=FREE,
        chunk_tokens=8192,
        kv_tokens=UNLIMITED,
        slots=128,
    )


def _arrive_until(seen: int, instance: RealInstance, arrivals: Iterator[Request], runner: Idle, apart_s: float) -> None:
    while instance.seen < seen:
        time.sleep(apart_s)
        instance.clock.tick()
        instance.arrive(next(arrivals))
        instance.settle()
        if runner.signalled:
            _hear(instance, runner, completed=False)


def _complete(instance: RealInstance, runner: Idle, apart_s: float) -> None:
    time.sleep(apart_s)
    _hear(instance, runner, completed=True)


def _hear(instance: RealInstance, runner: Idle, *, completed: bool) -> None:
    instance.hear(runner.told(completed=completed))
    instance.clock.tick()
    instance.settle()
