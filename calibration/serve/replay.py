"""The real counterpart of `flowsim.engine.simulate`: replays requests on the device at hand, with the same policies.

Two threads, as in FlowPrefill: this one takes in the arrivals as they fall due, hears from the runner, and schedules;
the runner (`flowsim.calibration.serve.runner`) launches. What the scheduler does about an event is
`flowsim.engine.instance`'s,
the same code as in a simulation. Times are read from `time.perf_counter`, seconds from the start of the replay.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.predictor import Predictor
from flowsim.calibration.gpu.quiet_host import SCHEDULER, steady
from flowsim.calibration.serve.gpu_device import Preemption, RealInstance, WallClock
from flowsim.calibration.serve.runner import Runner, Told
from flowsim.core.ledger import Ledger
from flowsim.core.policy import Policy
from flowsim.core.request import Request
from flowsim.core.server import ServerOptions
from flowsim.engine.simulate import Outcome, whole_blocks

AWAKE_S = 3e-4
"""For how long the scheduler waits for an arrival awake."""


@dataclass(frozen=True)
class Replay:
    """What came of a real replay.

    Attributes:
        outcome: as `flowsim.engine.simulate.simulate` gives it.
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


def execute(
    requests: list[Request],
    policy: Policy,
    cost: CostModel,
    predictor: Predictor,
    runner: Runner,
    server: ServerOptions | None = None,
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
    server = server or ServerOptions()
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
