"""The engine against the slow reference engine, on random workloads: every time stamp, count and log."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.pass_costs import PassCosts
from flowsim.calibration.costs.predictor import make_predictor
from flowsim.core.events import stretches
from flowsim.core.operators import CHECKED_AFTER
from flowsim.core.order import Fixed, Moving, Order
from flowsim.core.passes import Pass
from flowsim.core.predictor import Predictor
from flowsim.core.prefix_cache import Prefixes, Retention
from flowsim.core.request import Request
from flowsim.core.server import ServerOptions
from flowsim.engine.kv import taken_tokens
from flowsim.engine.simulate import simulate
from flowsim.policies.chunked import Chunked
from flowsim.policies.edf import EDF
from flowsim.policies.fcfs import FCFS
from flowsim.policies.flowprefill import FlowPrefill
from flowsim.policies.parts.batching import fill
from flowsim.policies.parts.orders import ORDERS
from flowsim.policies.sjf import SJF
from support.costs import coincident_cost, random_boost, random_cost
from support.reference.simulate import Loop, step_through

TOLERANCE = 1e-9
CUTS = tuple(CHECKED_AFTER)


@dataclass(frozen=True)
class AsReleased:
    """`step` and `form` of the released FlowPrefill, written down from its description; drives the reference only."""

    cut: str
    wake: str
    batch_tokens: int = 2048
    reserve: float = 0.1

    def choose(self, view: Any) -> Any:
        batches = [*view.paused, *([view.running] if view.running else [])]
        order = sorted([*batches, *view.waiting], key=lambda x: (-priority(view, x), x.arrival_s, x.id))
        head = order[0] if order else None
        if head in view.waiting and (view.free_slots < 1 or head.kv_tokens > view.free_tokens):
            order = [x for x in order if x not in view.waiting]
            head = order[0] if order else None
        if head not in view.waiting:
            return head
        return Pass.whole(*self.form(view, head, [x for x in order if x in view.waiting and x is not head]))

    def form(self, view: Any, head: Request, rest: list[Request]) -> list[Request]:
        batch, tokens, free = [head], head.tokens, view.free_tokens - head.kv_tokens
        if tokens > self.batch_tokens or head.deadline_s - view.now < self.reserve * head.slo_s:
            return batch
        for other in rest:
            if tokens + other.tokens > self.batch_tokens or other.kv_tokens > free:
                continue
            if head.deadline_s - view.now - view.predict(tokens + other.tokens) < self.reserve * head.slo_s:
                break
            batch.append(other)
            tokens, free = tokens + other.tokens, free - other.kv_tokens
        return batch


def priority(view: Any, candidate: Any) -> float:
    """+1 / deadline while it can make it, else -1 / deadline."""
    slack = candidate.deadline_s - view.now - max(candidate.predicted_s, 0.0)
    return (1 if slack > 0 else -1) / candidate.deadline_s


SHORTEST_TIME = Fixed(lambda candidate: round(candidate.predicted_s, 9))  # equal lengths tie, whatever the rounding
LEAST_LAXITY = Moving(lambda candidate, now: np.round(candidate.deadline_s - now - candidate.predicted_s, 9))
"""Rounded, since a tie must be one whatever the last digit of `now`, which the two engines do not share."""


@dataclass(frozen=True)
class InOrder:
    """Preemption in a given order, with batches."""

    order: Order
    cut: Any
    wake: Any
    batch_tokens: int

    def choose(self, view: Any) -> Any:
        head = view.first(self.order)
        if not isinstance(head, Request):
            return head
        return Pass.whole(*fill(view, self.order, head, self.batch_tokens))


@dataclass(frozen=True)
class Stepwise(InOrder):
    """Passes over a part of one prompt, of those begun and those not, in a given order."""

    def choose(self, view: Any) -> Any:
        head = view.first(self.order)
        return Pass(((head, min(head.tokens, self.batch_tokens)),)) if isinstance(head, Request) else head


class Workload(NamedTuple):
    """What both engines are given."""

    policy: Any
    reference_policy: Any
    cost: CostModel
    predictor: str
    server: ServerOptions
    rows: list[tuple[float, int, float]]
    until_s: float | None
    prefixes: Prefixes | None = None
    blocks: Sequence[Sequence[int]] = ()
    concurrency: int | None = None
    decode_s: Sequence[float] = ()

    def requests(self) -> list[Request]:
        size, blocks = self.server.block_tokens, self.blocks or [()] * len(self.rows)
        sent_s = math.nan if self.concurrency is None else 0.0
        return [
            Request(i, *row, kv_tokens=taken_tokens(row[1], size), blocks=blocks[i], sent_s=sent_s)
            for i, row in enumerate(self.rows)
        ]

    def make_loop(self) -> Loop | None:
        if self.concurrency is None:
            return None
        return Loop(self.requests(), self.concurrency, self.server.return_s, self.decode_s)

    def costs(self) -> PassCosts:
        return PassCosts(self.cost, self.server, self.policy.cut)

    def make_predictor(self) -> Predictor:
        return make_predictor(self.predictor, self.costs(), seed=1)


def random_workload(seed: int) -> Workload:
    """A workload of 10 to 40 requests in which as much as possible differs from seed to seed."""
    rng = np.random.default_rng(seed)
    cost = random_cost(rng)
    policy, reference_policy = random_policy(rng)
    n = int(rng.integers(10, 40))
    lengths = rng.choice([rng.integers(1, 400, n), rng.choice([1, 16, 64, 300], n), rng.integers(1, 64, n)])
    server = ServerOptions(
        instances=int(rng.choice([1, 1, 2, 3])),
        router=str(rng.choice(["round-robin", "least-work"])),
        slots=int(rng.choice([1, 2, 3, 128])),
        max_batched_tokens=int(rng.choice([7, 64, 128, 8192])),
        kv_tokens=int(rng.choice([300, 500, 1 << 20])),
        block_tokens=int(rng.choice([1, 16])),
        graph_tokens=int(rng.choice([0, 0, 64, 256])),
    )
    costs = PassCosts(cost, server, policy.cut)
    solo = [costs.solo_s(int(length)) for length in lengths]
    gaps = rng.exponential(float(np.mean(solo)) / server.instances / rng.uniform(0.5, 2.0), n)
    gaps[rng.random(n) < rng.choice([0.0, 0.3])] = 0.0
    slo = np.array(solo) * rng.uniform(0.5, 12.0, n)
    slo[rng.random(n) < rng.choice([0.0, 0.2])] = math.inf
    arrivals = np.cumsum(gaps)
    until_s = float(arrivals[-1] * rng.uniform(0.3, 1.0)) if rng.random() < 0.3 else None
    rows = [(float(a), int(t), float(s)) for a, t, s in zip(arrivals, lengths, slo, strict=True)]
    predictor = str(rng.choice(["exact", "cubic", "biased:0.6", "biased:1.7", "noisy:0.5"]))
    return Workload(policy, reference_policy, cost, predictor, server, rows, until_s or None)


def random_policy(rng: np.random.Generator) -> tuple[Any, Any]:
    """A policy, and what drives the reference engine: the same, but for FlowPrefill its transcription."""
    cut, wake = str(rng.choice(CUTS)), str(rng.choice(["events", "cuts"]))
    cap = int(rng.choice([1, 64, 256, 2048]))
    kind = rng.choice(["fcfs", "chunked", "sjf", "edf", "srpt", "laxity", "stepwise", "flowprefill", "flowprefill"])
    if kind == "flowprefill":
        reserve = float(rng.choice([0.1, 0.3]))
        options = {"cut": cut, "wake": wake, "batch_tokens": cap, "reserve": reserve}
        return FlowPrefill(**options), AsReleased(**options)
    policy = {
        "fcfs": FCFS(cap),
        "chunked": Chunked(cap),
        "sjf": SJF(cap, cut=cut, wake=wake),
        "edf": EDF(cut=cut, wake=wake),
        "srpt": InOrder(SHORTEST_TIME, cut, wake, cap),
        "laxity": InOrder(LEAST_LAXITY, cut, wake, cap),
        "stepwise": Stepwise(LEAST_LAXITY, cut, wake, max(cap, 32)),
    }[str(kind)]
    return policy, policy


def coincident_workload(seed: int) -> Workload:
    """A workload whose every time is a multiple of 1/4 s, so that much happens at the same moment, exactly."""
    rng = np.random.default_rng([1, seed])
    cost = coincident_cost(rng)
    policy, reference_policy = random_policy(rng)
    n = int(rng.integers(5, 25))
    lengths = rng.integers(1, 9, n)
    server = ServerOptions(
        instances=int(rng.choice([1, 2])),
        slots=int(rng.choice([1, 2, 128])),
        max_batched_tokens=int(rng.choice([3, 8192])),
        kv_tokens=int(rng.choice([12, 1 << 20])),
        block_tokens=int(rng.choice([1, 4])),
    )
    costs = PassCosts(cost, server, policy.cut)
    solo = np.array([costs.solo_s(int(n)) for n in lengths])
    gaps = rng.exponential(float(solo.mean()) / server.instances / rng.uniform(0.5, 2.0), n)
    arrivals, slos = np.cumsum(quarters(gaps)), quarters(solo * rng.uniform(0.5, 12.0, n))
    until_s = float(quarters(arrivals[-1] * 0.7)) if rng.random() < 0.3 else None
    rows = [(float(a), int(t), float(s)) for a, t, s in zip(arrivals, lengths, slos, strict=True)]
    return Workload(policy, reference_policy, cost, "exact", server, rows, until_s or None)


def quarters(seconds: Any) -> Any:
    return np.round(seconds * 4) / 4


def with_boost(w: Workload, seed: int) -> Workload:
    """The same workload on a GPU that is faster when it has rested."""
    costs = PassCosts(w.cost, ServerOptions(graph_tokens=w.server.graph_tokens), "none")
    typical_s = float(np.mean([costs.solo_s(tokens) for _, tokens, _ in w.rows]))
    w.cost.boost = random_boost(np.random.default_rng([2, seed]), typical_s)
    return w


either = pytest.mark.parametrize("boost_tokens", [False, True], ids=["sustained", "boost_tokens"])


@either
@pytest.mark.parametrize("seed", range(250))
def test_engine_agrees_with_reference(seed: int, boost_tokens: bool) -> None:
    w = random_workload(seed)
    check_agreement(with_boost(w, seed) if boost_tokens else w)


@either
@pytest.mark.parametrize("seed", range(100))
def test_engine_agrees_with_reference_when_much_happens_at_once(seed: int, boost_tokens: bool) -> None:
    w = coincident_workload(seed)
    check_agreement(with_boost(w, seed) if boost_tokens else w)


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("seed", range(6))
def test_engine_agrees_with_reference_in_every_order_of_the_policies(name: str, seed: int) -> None:
    w = random_workload(seed)
    policy = InOrder(ORDERS[name], w.policy.cut, w.policy.wake, batch_tokens=64)
    check_agreement(w._replace(policy=policy, reference_policy=policy))


def in_a_loop(w: Workload, seed: int) -> Workload:
    """The same requests in a closed loop, with times in the frontend, on the way back and for decodes."""
    rng = np.random.default_rng([5, seed])
    usual_s = float(np.mean([w.cost.forward_s(tokens) for _, tokens, _ in w.rows]))
    frontend_s, decode_s = (rng.exponential(usual_s, len(w.rows)) * rng.choice([0.0, 1.0]) for _ in range(2))
    rows = [(float(s), tokens, slo_s) for s, (_, tokens, slo_s) in zip(frontend_s, w.rows, strict=True)]
    server = replace(w.server, return_s=float(rng.choice([0.0, usual_s / 3])))
    several = int(rng.integers(1, 9))
    return w._replace(rows=rows, server=server, until_s=None, concurrency=several, decode_s=decode_s.tolist())


@either
@pytest.mark.parametrize("seed", range(60))
def test_engine_agrees_with_reference_in_a_closed_loop(seed: int, boost_tokens: bool) -> None:
    w = in_a_loop(random_workload(seed), seed)
    check_agreement(with_boost(w, seed) if boost_tokens else w)


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("seed", range(4))
def test_engine_agrees_with_reference_in_a_closed_loop_in_every_order(name: str, seed: int) -> None:
    w = in_a_loop(random_workload(seed), seed)
    policy = InOrder(ORDERS[name], w.policy.cut, w.policy.wake, batch_tokens=64)
    check_agreement(w._replace(policy=policy, reference_policy=policy))


def with_prefixes(w: Workload, seed: int) -> Workload:
    """The same workload with a prefix cache, and prompts that begin alike: turns of conversations, or any blocks."""
    rng = np.random.default_rng([3, seed])
    size = w.server.block_tokens * int(rng.choice([1, 2, 4]))
    retention = Retention.parse(str(rng.choice(["ideal", "lru:1", "lru:3", "lru:10", "lru:1000"])))
    assert retention is not None
    ids: dict[tuple[int, ...], int] = {}
    blocks = []
    for _, length, _ in w.rows:
        words = tuple((rng.random(length // size) < 0.2).astype(int).tolist())
        chain = [ids.setdefault(words[: i + 1], len(ids)) for i in range(len(words))]
        blocks.append(chain if seed % 4 else rng.integers(0, 6, len(words)).tolist())
    return w._replace(prefixes=Prefixes(retention, size), blocks=blocks)


@pytest.mark.parametrize("seed", range(40))
def test_engine_agrees_with_reference_in_a_closed_loop_with_a_prefix_cache(seed: int) -> None:
    check_agreement(in_a_loop(with_prefixes(random_workload(seed), seed), seed))


@settings(max_examples=100)
@given(st.integers(0, 2**32), st.booleans(), st.sampled_from([random_workload, coincident_workload]))
def test_engine_agrees_with_reference_when_prefixes_are_cached(seed: int, boost_tokens: bool, draw: Any) -> None:
    w = with_prefixes(draw(seed), seed)
    check_agreement(with_boost(w, seed) if boost_tokens else w)


def check_agreement(w: Workload) -> None:
    outcome = simulate(
        w.requests(),
        w.policy,
        w.costs(),
        w.make_predictor(),
        prefixes=w.prefixes,
        until_s=w.until_s,
        concurrency=w.concurrency,
        decode_s=w.decode_s,
        events=True,
    )
    until_s, loop = w.until_s or math.inf, w.make_loop()
    expected = step_through(
        w.requests(), w.reference_policy, w.cost, w.make_predictor(), w.server, until_s, w.prefixes, loop
    )
    if loop:
        close(outcome.sent_s, loop.sent_s)
    ledger, rows = outcome.ledger, expected.rows
    never = math.nan
    absent = SimpleNamespace(started_s=never, finished_s=never, service_s=0.0, preemptions=0, rejected=False, cached=0)
    rows = [rows.get(i, absent) for i in range(len(w.rows))]
    assert ledger.instance == [expected.instance.get(i, -1) for i in range(len(w.rows))]
    assert ledger.rejected == [row.rejected for row in rows]
    assert ledger.cached_tokens == [row.cached for row in rows]
    assert outcome.events is not None
    for log, events, site in zip(outcome.logs, outcome.events, expected.sites, strict=True):
        ran = stretches(events)
        assert [s[2:] for s in ran] == [s[2:] for s in site.stretches]
        close([s[:2] for s in ran], [s[:2] for s in site.stretches])
        assert (log.decisions, log.preemptions) == (site.decisions, site.preemptions)
        close(log.blocking_s, site.blocking_s)
        close(
            [log.busy_s, log.check_s, log.control_s, log.deciding_s, log.hand_over_s],
            [site.busy_s, site.check_s, site.control_s, site.deciding_s, site.hand_over_s],
        )
        close(log.busy_s + log.deciding_s + log.hand_over_s + site.idle_s, expected.end_s)
    for name in ("started_s", "finished_s", "service_s", "preemptions"):
        close(getattr(ledger, name), [getattr(row, name) for row in rows])


def close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(np.array(found), np.array(expected), rtol=0, atol=TOLERANCE)
