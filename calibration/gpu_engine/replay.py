"""The real counterpart of `flowsim.engine.simulate`: replays requests on the device at hand, with the same policies.

Two threads, as in FlowPrefill: this one takes in the arrivals as they fall due, hears from the runner, and schedules;
the runner (`flowsim.calibration.gpu_engine.runner`) launches. What the scheduler does about an event is the same code
as in a simulation (`flowsim.engine.instance`). Times are read from `time.perf_counter`, seconds from the start of the
replay.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from flowsim.calibration.costs.pass_costs import PassCosts
from flowsim.calibration.gpu.quiet_host import SCHEDULER, quiet_host
from flowsim.calibration.gpu_engine.gpu_device import GpuDevice, WallClock
from flowsim.calibration.gpu_engine.row_cache import RowCache
from flowsim.calibration.gpu_engine.runner import JobOutcome, Runner
from flowsim.core.event_recorder import EventRecorder
from flowsim.core.events import Completed, Event, Pause, Stopped, pauses
from flowsim.core.ledger import Ledger
from flowsim.core.policy import Policy
from flowsim.core.predictor import Predictor
from flowsim.core.request import Request
from flowsim.engine.instance import Instance
from flowsim.engine.simulate import Outcome, kv_capacity_tokens, outcome_of, predict_all

AWAKE_S = 3e-4
"""For how long the scheduler waits for an arrival awake."""


@dataclass(frozen=True)
class Replay:
    """What came of a real replay.

    Attributes:
        outcome: as `flowsim.engine.simulate.simulate` gives it, with its events.
        lateness_s: how late each request was taken in, seconds after its arrival was due, shape [n].
        hand_overs_s: from the end of a stretch of execution until the next began, where the scheduler had one ready.
        first_tokens: the first token of each request; -1 where there is none.
        scattered: at how many decisions the free rows of the cache were in stretches too short to count them all as
            free; a simulation does not know about that.
        crowded: forwards launched without a graph because the recording of their size was in use; nor about that.
    """

    outcome: Outcome
    lateness_s: list[float]
    hand_overs_s: list[float]
    first_tokens: list[int]
    scattered: int
    crowded: int

    @property
    def preemptions(self) -> list[Pause]:
        """Every preemption, in order of acknowledgement."""
        return pauses(self.events)

    @property
    def acknowledged_s(self) -> list[float]:
        """From each end of a stretch of execution until the scheduler knew, seconds."""
        ends = [event for event in self.events if isinstance(event, Stopped | Completed)]
        return [event.time_s - event.ended_s for event in ends]

    @property
    def events(self) -> Sequence[Event]:
        """What happened, in the order in which the scheduler learned of it."""
        assert self.outcome.events is not None
        return self.outcome.events[0]


def replay_on_device(
    requests: list[Request],
    policy: Policy,
    costs: PassCosts,
    predictor: Predictor,
    runner: Runner,
) -> Replay:
    """Replay requests on the runner's device, in real time, until the last has finished.

    Args:
        requests: in order of arrival, `id` = position; they are used up.
        policy: the scheduler.
        costs: what the policy's predictor may ask; of their server the limits, and one instance.
        predictor: what the policy believes that passes take.
        runner: executes the passes. If the replay is broken off, the runner may still be at work on one.

    Raises:
        InputError: the policy chose something that cannot be done, or left requests behind; the device ran out of
            memory.
    """
    server = costs.server
    predict_all(requests, predictor)
    clock, outcomes, recorder = WallClock(), SimpleQueue[JobOutcome](), EventRecorder(Ledger(len(requests)))
    runner.serve(costs.cut, outcomes.put, server.graph_tokens)
    with quiet_host(runner.decoder.device.type, SCHEDULER):
        rows = runner.decoder.rows
        kv = RowCache(min(kv_capacity_tokens(server, costs.model), rows), rows)
        device = GpuDevice(clock, runner, costs, kv)
        instance = Instance(device, policy, predictor, recorder, kv, server.slots, costs.model.max_context)
        lateness_s = _serve(instance, device, requests, outcomes)
        instance.close()
    return Replay(
        outcome_of([instance], clock.now),
        lateness_s,
        device.hand_overs_s,
        _first_tokens(device, len(requests)),
        device.scattered,
        runner.crowded,
    )


def _first_tokens(device: GpuDevice, n: int) -> list[int]:
    tokens = [-1] * n
    for id, (ids, place) in device.next_ids.items():
        tokens[id] = int(ids[place])
    return tokens


def _serve(
    instance: Instance, device: GpuDevice, requests: list[Request], outcomes: SimpleQueue[JobOutcome]
) -> list[float]:
    """The scheduler's loop: wait for something to happen or fall due, take in all there is, decide once; lateness."""
    lateness_s, clock = list[float](), device.clock
    clock.start()
    while len(lateness_s) < len(requests) or instance.running is not None or device.wake_at_s < math.inf:
        next_s = requests[len(lateness_s)].arrival_s if len(lateness_s) < len(requests) else math.inf
        next_s = min(next_s, device.wake_at_s)
        for word in _heard(outcomes, next_s - clock.tick() if next_s < math.inf else None):
            device.hear(word)
        clock.tick()
        while len(lateness_s) < len(requests) and requests[len(lateness_s)].arrival_s <= clock.now:
            request = requests[len(lateness_s)]
            lateness_s.append(clock.now - request.arrival_s)
            instance.arrive(request)
        device.ring()
        device.settle()
    return lateness_s


def _heard(outcomes: SimpleQueue[JobOutcome], due_s: float | None) -> Iterator[JobOutcome]:
    """What the runner has said, waiting for it at most `due_s` seconds; awake at the end, as a sleep ends late."""
    end_s = time.perf_counter() + (math.inf if due_s is None else due_s)
    try:
        try:
            yield outcomes.get(timeout=None if due_s is None else max(due_s - AWAKE_S, 0.0))
        except Empty:
            while outcomes.empty() and time.perf_counter() < end_s:
                time.sleep(0)  # lets the runner have the interpreter
        while True:
            yield outcomes.get_nowait()
    except Empty:
        return
