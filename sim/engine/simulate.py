"""The engine: replays a trace on one or more prefill instances, in a SimPy environment."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import simpy

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.predictor import Predictor
from flowsim.core.ledger import Ledger, Log
from flowsim.core.policy import Policy
from flowsim.core.request import Request
from flowsim.core.router import make_router
from flowsim.core.server import ServerOptions
from flowsim.engine.device import SimulatedInstance
from flowsim.engine.power import BoostedInstance
from flowsim.errors import InputError

PROGRESS_EVERY = 1000


@dataclass(frozen=True)
class Outcome:
    """What came of a replay: a row a request, a log an instance, and the time when the simulation stopped."""

    ledger: Ledger
    logs: Sequence[Log]
    stopped_s: float


class Arrivals:
    """Hands each request to its instance when it arrives; requests of one instant together, in order of id."""

    def __init__(
        self,
        env: simpy.Environment,
        requests: Sequence[Request],
        route: Callable[[Request], None],
        progress: Callable[[int], None] | None,
    ) -> None:
        self._env = env
        self._requests = requests
        self._route = route
        self._progress = progress
        self._next = 0
        self._schedule()

    def _schedule(self) -> None:
        if self._next < len(self._requests):
            delay_s = self._requests[self._next].arrival_s - self._env.now
            self._env.timeout(max(delay_s, 0.0)).callbacks.append(self._arrive)

    def _arrive(self, _: simpy.Event) -> None:
        requests, index = self._requests, self._next
        arrival_s = requests[index].arrival_s
        while index < len(requests) and requests[index].arrival_s == arrival_s:
            self._route(requests[index])
            index += 1
            if self._progress is not None and index % PROGRESS_EVERY == 0:
                self._progress(index)
        self._next = index
        self._schedule()


def simulate(
    requests: list[Request],
    policy: Policy,
    cost: CostModel,
    predictor: Predictor,
    server: ServerOptions | None = None,
    *,
    until_s: float | None = None,
    stretches: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Outcome:
    """Replay requests until the last has finished, or until `until_s`.

    Args:
        requests: in order of arrival, `id` = position; they are used up.
        policy: the scheduler of every instance.
        cost: what passes cost on every instance.
        predictor: what the policy believes they cost.
        server: instances and their limits; default `ServerOptions()`.
        until_s: when to stop, seconds; what has not finished then stays unfinished.
        stretches: whether to log every uninterrupted stretch of execution.
        progress: called now and then with the number of arrivals so far.

    Raises:
        InputError: the policy chose something that cannot be done, or the cost model knows no recorded forwards.
    """
    server = server or ServerOptions()
    cost = cost.with_graphs(server.graph_tokens)
    env = simpy.Environment()
    ledger = Ledger(len(requests))
    for request in requests:  # before any order ranks them
        request.predicted_s = predictor.predict(request.tokens, request.context)
    make = SimulatedInstance if cost.boost is None else partial(BoostedInstance, cost.boost)
    instances = [
        make(
            env,
            policy,
            cost,
            predictor,
            requests,
            ledger,
            kv_tokens=whole_blocks(server, cost),
            slots=server.slots,
            chunk_tokens=server.max_batched_tokens,
            stretches=stretches,
        )
        for _ in range(server.instances)
    ]
    router = make_router(server.router)

    def route(request: Request) -> None:
        index = router.route(request, instances)
        ledger.instance[request.id] = index
        instances[index].arrive(request)

    Arrivals(env, requests, route, progress)
    with _no_garbage_collector():
        env.run(until_s)
    for instance in instances:
        instance.close()
    return Outcome(ledger, [instance.log for instance in instances], float(env.now))


def whole_blocks(server: ServerOptions, cost: CostModel) -> int:
    """Tokens of an instance's KV cache: what the server says or else the cost model, in whole blocks."""
    tokens = server.kv_tokens or cost.kv_capacity_tokens
    if not tokens:
        raise InputError(
            f"{cost.name}: found no memory for a KV cache beside the weights; allowed: a higher --tp, or --kv-tokens N"
        )
    return tokens // server.block_tokens * server.block_tokens


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
