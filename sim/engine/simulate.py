"""The engine: replays a trace on one or more prefill instances, in a SimPy environment."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter

import simpy
from msgspec.structs import force_setattr

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.pass_costs import PassCosts
from flowsim.core.event_recorder import EventRecorder
from flowsim.core.events import Event
from flowsim.core.ledger import Ledger, Log, Recorder
from flowsim.core.policy import Policy
from flowsim.core.predictor import Predictor
from flowsim.core.prefix_cache import Prefixes
from flowsim.core.request import Request
from flowsim.core.router import Router, make_router
from flowsim.core.server import ServerOptions
from flowsim.engine.closed_loop import ClosedLoop
from flowsim.engine.instance import Instance
from flowsim.engine.kv import KVCache, whole_blocks
from flowsim.engine.prefix_cache import PrefixCache
from flowsim.engine.simulated_device import SimulatedDevice
from flowsim.errors import InputError

PROGRESS_EVERY = 1000


@dataclass(frozen=True)
class Outcome:
    """What came of a replay.

    Attributes:
        ledger: one row per request.
        logs: one account per instance.
        stopped_s: when the replay ended, seconds.
        events: what happened on each instance (`flowsim.core.events`); None unless asked for.
        policies: the policy of each instance, with all that it has learned.
        cut_off: whether it was stopped then; else it ended by itself, and what is unfinished would never finish.
        return_s: seconds from a first token on an instance until its client has it.
        sent_s: of a closed loop, when each request was sent; None: when the trace says.
    """

    ledger: Ledger
    logs: Sequence[Log]
    stopped_s: float
    events: Sequence[Sequence[Event]] | None = None
    policies: Sequence[Policy] = ()
    cut_off: bool = False
    return_s: float = 0.0
    sent_s: Sequence[float] | None = None


class Arrivals:
    """Hands each request to its instance when it arrives; requests of one instant together, in order of id."""

    def __init__(
        self,
        env: simpy.Environment,
        requests: Sequence[Request],
        route: Callable[[Request], None],
    ) -> None:
        self._env = env
        self._instants = groupby(requests, attrgetter("arrival_s"))
        self._requests: Iterator[Request]
        """Those that arrive next."""
        self._route = route
        self._schedule()

    def _schedule(self) -> None:
        instant = next(self._instants, None)
        if instant is not None:
            arrival_s, self._requests = instant
            delay_s = arrival_s - self._env.now
            self._env.timeout(delay_s if delay_s > 0.0 else 0.0).callbacks.append(self._arrive)

    def _arrive(self, _: simpy.Event) -> None:
        for request in self._requests:
            self._route(request)
        self._schedule()


def simulate(
    requests: list[Request],
    policy: Policy,
    costs: PassCosts,
    predictor: Predictor,
    *,
    prefixes: Prefixes | None = None,
    until_s: float | None = None,
    concurrency: int | None = None,
    decode_s: Sequence[float] = (),
    events: bool = False,
    progress: Callable[[int], None] | None = None,
    router: Router | None = None,
) -> Outcome:
    """Replay requests until the last has finished, or until `until_s`.

    Args:
        requests: by the time when they were sent, `id` = position; they are used up.
        policy: the scheduler; every instance has a copy of its own.
        costs: what passes cost on every instance at the policy's cut, with what the stack adds
            (`flowsim.runs.serving_stack.with_stack`), and the server: of its stack only its jitter and its way back
            count here.
        predictor: what the policy believes they cost.
        prefixes: what an instance keeps of the requests' prefix blocks, and how large these are; None: no prefix cache.
        until_s: when to stop, seconds; what has not finished then stays unfinished.
        concurrency: of a closed loop, how many requests are outstanding (`flowsim.engine.closed_loop`); their times are
            then those of a send at second 0.
        decode_s: of a closed loop, seconds from the first token of each request to its last.
        events: whether to keep what happened on each instance.
        progress: called now and then with the number of arrivals so far.
        router: in place of the one that `server` names.

    Raises:
        InputError: the policy chose something that cannot be done, or left requests behind; no KV cache fits beside the
            weights.
    """
    assert costs.cut == policy.cut
    env, server = simpy.Environment(), costs.server
    predict_all(requests, predictor)
    loop = None if concurrency is None else ClosedLoop(env, requests, concurrency, server.return_s, decode_s)
    ledger, kv_tokens = Ledger(len(requests)), kv_capacity_tokens(server, costs.model)
    devices, instances = [], []
    for index in range(server.instances):
        recorder = (EventRecorder if events else Recorder)(ledger, index)
        kv = KVCache(kv_tokens) if prefixes is None else PrefixCache(kv_tokens, prefixes)
        device = SimulatedDevice(env, costs)
        devices.append(device)
        limits = server.slots, costs.model.max_context
        instances.append(Instance(device, policy, predictor, recorder, kv, *limits, loop))
    arrive = _counting(_routing(instances, router or make_router(server.router)), progress)
    if loop is not None:
        loop.start(arrive)
    else:
        coming = requests if server.jitter == "none" else sorted(requests, key=attrgetter("arrival_s"))
        Arrivals(env, coming, arrive)
    with _no_garbage_collector():
        env.run(until_s)
    for device, instance in zip(devices, instances, strict=True):
        device.close()
        instance.close(cut_off=until_s is not None)
    outcome = outcome_of(instances, float(env.now), cut_off=until_s is not None, return_s=server.return_s)
    return outcome if loop is None else replace(outcome, sent_s=loop.sent_s)


def predict_all(requests: Sequence[Request], predictor: Predictor) -> None:
    """Tell each request what it is believed to take, before any order ranks them."""
    for request in requests:
        whole_s = predictor.predict(request.input_length)
        force_setattr(request, "predicted_s", whole_s)
        force_setattr(request, "predicted_whole_s", whole_s)


def _routing(instances: Sequence[Instance], router: Router) -> Callable[[Request], None]:
    """Has a request arrive at the instance that the router chooses."""
    if len(instances) == 1:
        return instances[0].arrive
    held = [instance.requests for instance in instances]
    return lambda request: instances[router.route(request, held)].arrive(request)


def _counting(route: Callable[[Request], None], progress: Callable[[int], None] | None) -> Callable[[Request], None]:
    """The same, which tells `progress` now and then of how many it has been called with."""
    if progress is None:
        return route

    def counted(request: Request) -> None:
        route(request)
        if (request.id + 1) % PROGRESS_EVERY == 0:
            progress(request.id + 1)

    return counted


def outcome_of(
    instances: Sequence[Instance], stopped_s: float, *, cut_off: bool = False, return_s: float = 0.0
) -> Outcome:
    """What the recorders of these instances have taken down."""
    recorders = [instance.recorder for instance in instances]
    logs = [recorder.log for recorder in recorders]
    events = [recorder.events for recorder in recorders if isinstance(recorder, EventRecorder)] or None
    policies = [instance.policy for instance in instances]
    return Outcome(recorders[0].ledger, logs, stopped_s, events, policies, cut_off, return_s)


def kv_capacity_tokens(server: ServerOptions, model: CostModel) -> int:
    """Tokens of an instance's KV cache in whole blocks: as the server says, or else what fits beside the weights.

    Raises:
        InputError: nothing fits.
    """
    tokens = server.kv_tokens or model.kv_capacity_tokens
    if not tokens:
        problem = "leaves no memory for a KV cache beside the weights"
        raise InputError(model.name, problem, expected="a higher --tp, or --kv-tokens N")
    return whole_blocks(tokens, server.block_tokens)


@contextmanager
def _no_garbage_collector() -> Iterator[None]:
    """Without it: the engine makes no cycles, and a million requests would be walked again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
