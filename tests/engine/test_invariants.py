"""What holds for every replay, whatever the policy, the costs, the limits and the trace."""

from __future__ import annotations

import math
from inspect import signature
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.core.events import Completed, Launched, Rejected, Reused, Stretch, stretches
from flowsim.core.operators import CHECKED_AFTER
from flowsim.core.pass_timeline import Slice
from flowsim.core.policy import AroundPolicy, Policy
from flowsim.core.prefix_cache import Prefixes, Retention
from flowsim.core.request import Request
from flowsim.core.server import ServerOptions
from flowsim.engine.kv import taken_tokens
from flowsim.engine.simulate import Outcome
from flowsim.policies.catalogue import TABLE
from flowsim.policies.chunked import Chunked
from flowsim.policies.fcfs import FCFS
from flowsim.policies.overload import DOver
from flowsim.policies.registry import PolicySpec, policy_class
from support.costs import random_boost, random_cost, service
from support.timelines import replay_exactly

cuts, wakes = st.sampled_from(sorted(CHECKED_AFTER)), st.sampled_from(["events", "cuts"])
caps = st.sampled_from([1, 20, 64, 8192])


def policy_of(name: str, **options: Any) -> Policy:
    """A shipped policy with those of these options that it has."""
    make = policy_class(PolicySpec(name))
    return make(**{option: value for option, value in options.items() if option in signature(make).parameters})


policies = st.builds(policy_of, st.sampled_from([*TABLE]), cut=cuts, wake=wakes, batch_tokens=caps, budget=caps)
servers = st.builds(
    ServerOptions,
    instances=st.integers(1, 3),
    router=st.sampled_from(["round-robin", "least-work"]),
    slots=st.sampled_from([1, 2, 128]),
    max_batched_tokens=st.sampled_from([5, 32, 8192]),
    kv_tokens=st.sampled_from([40, 100, 10**6]),
    block_tokens=st.sampled_from([1, 16]),
)
rows = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.001, 0.02, 0.3]),  # gap
        st.integers(1, 60),  # tokens
        st.sampled_from([0.01, 0.1, 1.0, math.inf]),  # SLO
    ),
    min_size=1,
    max_size=25,
)


def cost_of(seed: int) -> CostModel:
    """Any costs; a rested GPU is faster in half of the cases."""
    rng = np.random.default_rng(seed)
    cost = random_cost(rng)
    cost.boost = random_boost(rng, 0.02) if seed % 2 else None
    return cost


seeds = st.integers(0, 2**32)
costs = seeds.map(cost_of)


class Replay(NamedTuple):
    requests: list[Request]
    outcome: Outcome

    def of_instance(self, index: int) -> list[Request]:
        """What it was given and took."""
        ledger = self.outcome.ledger
        return [r for r in self.requests if ledger.instance[r.id] == index and not ledger.rejected[r.id]]


def replay(
    policy: Any,
    cost: CostModel,
    server: ServerOptions,
    drawn: Any,
    until_s: float | None = None,
    prefixes: Prefixes | None = None,
    blocks: Any = None,
) -> Replay:
    arrivals = list(accumulate(gap_s for gap_s, _, _ in drawn))
    shapes = [(at, tokens, slo_s) for at, (_, tokens, slo_s) in zip(arrivals, drawn, strict=True)]
    requests, copies = (
        [
            Request(
                i, *shape, kv_tokens=taken_tokens(shape[1], server.block_tokens), blocks=blocks[i] if blocks else ()
            )
            for i, shape in enumerate(shapes)
        ]
        for _ in range(2)
    )
    outcome = replay_exactly(copies, policy, cost, server, prefixes=prefixes, until_s=until_s, events=True)
    return Replay(requests, outcome)


def ran(replayed: Replay, index: int) -> list[Stretch]:
    assert replayed.outcome.events is not None
    return stretches(replayed.outcome.events[index])


def most_at_once(held: list[tuple[float, float, int]]) -> int:
    """The largest sum of amounts held at the same time, of (from, to, amount); what ends makes room first."""
    changes = sorted([(begin, 1, n) for begin, _, n in held] + [(end, 0, -n) for _, end, n in held])
    return max(accumulate((n for _, _, n in changes), initial=0))


common = settings(max_examples=150)
anything = given(policies, costs, servers, rows)


@common
@given(policies, costs, servers, rows, st.one_of(st.none(), st.floats(0.01, 3.0)))
def test_every_arrival_ends_in_exactly_one_state(
    policy: Any, cost: CostModel, server: ServerOptions, drawn: Any, until_s: float | None
) -> None:
    replayed = replay(policy, cost, server, drawn, until_s)
    ledger = replayed.outcome.ledger
    assert replayed.outcome.events is not None
    by = {event.request: event.by for kept in replayed.outcome.events for event in kept if isinstance(event, Rejected)}
    assert "policy" not in by.values() or isinstance(policy, DOver) or policy.admission != "all"
    for request, rejected, started_s, finished_s in zip(
        replayed.requests, ledger.rejected, ledger.started_s, ledger.finished_s, strict=True
    ):
        arrived = until_s is None or request.arrival_s < until_s
        assert (by.get(request.id) == "limits") == (arrived and request.kv_tokens > server_tokens(server))
        assert rejected == (request.id in by)
        assert (ledger.instance[request.id] >= 0) == arrived
        if rejected or not arrived:
            assert math.isnan(started_s) and math.isnan(finished_s)
        elif until_s is None:
            assert request.arrival_s - 1e-9 <= started_s < finished_s
        else:
            assert math.isnan(finished_s) or request.arrival_s - 1e-9 <= started_s < finished_s < until_s


def server_tokens(server: ServerOptions) -> int:
    assert server.kv_tokens is not None
    return server.kv_tokens // server.block_tokens * server.block_tokens


@common
@given(policies, costs, servers, rows, st.one_of(st.none(), st.floats(0.01, 3.0)))
def test_a_device_does_one_thing_at_a_time_and_its_time_adds_up(
    policy: Any, cost: CostModel, server: ServerOptions, drawn: Any, until_s: float | None
) -> None:
    replayed = replay(policy, cost, server, drawn, until_s)
    for index, log in enumerate(replayed.outcome.logs):
        spans = [(begin, end) for begin, end, _, _ in ran(replayed, index)]
        assert all(begin <= end + 1e-9 for begin, end in spans)
        assert all(end <= begin + 1e-9 for (_, end), (begin, _) in pairwise(spans))
        assert log.busy_s == pytest.approx(sum(end - begin for begin, end in spans))
        assert -1e-9 <= log.check_s <= log.busy_s + 1e-9
        assert log.control_s >= 0 and all(blocking_s >= 0 for blocking_s in log.blocking_s)


@common
@anything
def test_service_is_the_time_of_the_passes_that_computed_a_request(
    policy: Any, cost: CostModel, server: ServerOptions, drawn: Any
) -> None:
    replayed = replay(policy, cost, server, drawn)
    ledger = replayed.outcome.ledger
    served = [0.0] * len(drawn)
    for index in range(server.instances):
        for begin, end, ids, _ in ran(replayed, index):
            for id in ids:
                served[id] += end - begin
    assert ledger.service_s == pytest.approx(served)
    if policy.wake == "events" or policy.cut == "none":
        stops = [ids for i in range(server.instances) for _, _, ids, done in ran(replayed, i) if not done]
        assert ledger.preemptions == [sum(id in ids for ids in stops) for id in range(len(drawn))]
        assert sum(log.preemptions for log in replayed.outcome.logs) == len(stops)


@common
@given(policies, servers, rows, st.sampled_from([0.0, 0.001]))
def test_work_done_is_work_asked_and_checks(policy: Any, server: ServerOptions, drawn: Any, check_s: float) -> None:
    """At a second a token and nothing fixed, neither order nor batching nor cutting makes work or loses any."""
    replayed = replay(policy, service(layers=4, check_s=check_s), server, drawn)
    asked = sum(r.input_length for i in range(server.instances) for r in replayed.of_instance(i))
    busy_s = sum(log.busy_s for log in replayed.outcome.logs)
    overhead_s = sum(log.check_s for log in replayed.outcome.logs)
    forwards = (busy_s - overhead_s - asked) / (check_s or 1.0)  # each is read out with a check of its own
    assert forwards == pytest.approx(round(forwards), abs=1e-6)
    completed = sum(done for i in range(server.instances) for _, _, _, done in ran(replayed, i))
    assert round(forwards) >= (completed if check_s else 0)
    assert overhead_s == pytest.approx(0.0) or (check_s and policy.cut not in ("none", "chunk"))


@common
@anything
def test_kv_blocks_and_slots_are_never_exceeded(
    policy: Any, cost: CostModel, server: ServerOptions, drawn: Any
) -> None:
    replayed = replay(policy, cost, server, drawn)
    ledger = replayed.outcome.ledger
    for index in range(server.instances):
        held = [(ledger.started_s[r.id], ledger.finished_s[r.id], r.kv_tokens) for r in replayed.of_instance(index)]
        assert most_at_once(held) <= server_tokens(server)
        launched: dict[tuple[int, ...], float] = {}
        passes = []
        for begin, end, ids, done in ran(replayed, index):
            launched.setdefault(ids, begin)
            if done:
                passes.append((launched.pop(ids), end, 1))
        assert not launched
        assert most_at_once(passes) <= server.slots


class Watched(AroundPolicy):
    """A policy that looks at its view, and then leaves the choice to another."""

    def __init__(self, policy: Any, server: ServerOptions) -> None:
        super().__init__(policy)
        self.server = server

    def choose(self, view: Any) -> Any:
        passes = [*view.paused, *([view.running] if view.running else [])]
        held = {r.id: r.kv_tokens for execution in passes for r in execution.requests}
        held |= {r.id: r.kv_tokens for r in view.started}
        assert view.free_tokens == server_tokens(self.server) - sum(held.values()) >= 0
        assert view.free_slots == self.server.slots - len(passes) >= 0
        assert view.running not in view.paused
        assert not held.keys() & {r.id for r in view.waiting}
        assert [r.id for r in view.waiting] == sorted(r.id for r in view.waiting)
        assert all(r.arrival_s <= view.now + 1e-9 and r.context == 0 for r in view.waiting)
        assert all(0 < r.context < r.input_length == r.context + r.tokens for r in view.started)
        assert all(0 < execution.tokens <= execution.batch_tokens for execution in view.paused)
        # A pass that has ended, of which the scheduler has not heard yet, has none left.
        assert view.running is None or 0 <= view.running.tokens <= view.running.batch_tokens
        return self.policy.choose(view)


@common
@anything
def test_what_a_policy_sees_adds_up_at_every_decision(
    policy: Any, cost: CostModel, server: ServerOptions, drawn: Any
) -> None:
    replay(Watched(policy, server), cost, server, drawn)


@common
@given(st.one_of(st.builds(FCFS, caps), st.builds(Chunked, caps)), costs, servers, rows)
def test_first_come_first_served_keeps_the_order(
    policy: Any, cost: CostModel, server: ServerOptions, drawn: Any
) -> None:
    replayed = replay(policy, cost, server, drawn)
    ledger = replayed.outcome.ledger
    for index in range(server.instances):
        ids = [r.id for r in replayed.of_instance(index)]
        for times in (ledger.started_s, ledger.finished_s):
            assert all(times[a] <= times[b] for a, b in pairwise(ids))


@common
@anything
def test_no_first_token_comes_before_the_device_alone_could_have_made_it(
    policy: Any, cost: CostModel, server: ServerOptions, drawn: Any
) -> None:
    replayed = replay(policy, cost, server, drawn)
    for request in (r for i in range(server.instances) for r in replayed.of_instance(i)):
        lead, layer, head, _ = cost.launches([Slice(request.input_length, 0)])
        alone_s = sum(launch.device_s for launch in [*lead, *layer * cost.layers, head])
        if cost.boost is not None:
            alone_s /= 1 + cost.boost.gain(server.max_batched_tokens)
        assert replayed.outcome.ledger.finished_s[request.id] - request.arrival_s >= alone_s - 1e-9


retentions = st.sampled_from(["ideal", "lru:1", "lru:4", "lru:100"])


@common
@given(policies, costs, servers, rows, retentions, st.integers(1, 3), st.randoms(use_true_random=False))
def test_nobody_reuses_what_no_pass_has_computed_there_and_shared_blocks_fit(
    policy: Any, cost: CostModel, server: ServerOptions, drawn: Any, text: str, blocks_each: int, random: Any
) -> None:
    size, retention = server.block_tokens * blocks_each, Retention.parse(text)
    assert retention is not None
    ids: dict[tuple[int, ...], int] = {}
    blocks = []
    for _, tokens, _ in drawn:
        words = tuple(random.randrange(4) // 3 for _ in range(tokens // size))
        blocks.append([ids.setdefault(words[: i + 1], len(ids)) for i in range(len(words))])
    replayed = replay(policy, cost, server, drawn, prefixes=Prefixes(retention, size), blocks=blocks)
    assert replayed.outcome.events is not None
    for events in replayed.outcome.events:
        computed: set[int] = set()
        context, shares, holding = dict[int, int](), dict[int, Any](), dict[int, Request]()
        for event in events:
            if isinstance(event, Reused):
                assert event.tokens < replayed.requests[event.request].input_length
                assert set(blocks[event.request][: event.tokens // size]) <= computed
                assert replayed.outcome.ledger.cached_tokens[event.request] == event.tokens
                context[event.request] = event.tokens
            elif isinstance(event, Launched):
                shares[event.execution] = list(zip(event.members, event.tokens, strict=True))
                holding |= {id: replayed.requests[id] for id in event.members}
                shared = [blocks[id][: context.get(id, 0) // size] for id in holding]
                alone = sum(r.kv_tokens for r in holding.values()) - size * sum(map(len, shared))
                assert alone + size * len(set().union(*shared)) <= server_tokens(server)
            elif isinstance(event, Completed):
                for id, tokens in shares.pop(event.execution):
                    context[id] = context.get(id, 0) + tokens
                    computed |= set(blocks[id][: context[id] // size])
                for id in event.finished:
                    assert context[id] == holding.pop(id).input_length
        assert not holding


@common
@given(policies, seeds, servers, rows)
def test_the_same_input_gives_the_same_bytes(policy: Any, seed: int, server: ServerOptions, drawn: Any) -> None:
    first, second = (replay(policy, cost_of(seed), server, drawn).outcome for _ in range(2))
    assert repr((vars(first.ledger), first.logs)) == repr((vars(second.ledger), second.logs))
