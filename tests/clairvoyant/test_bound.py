"""The bound: no policy is above it, and the oracle shows how near it one can come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowsim.calibration.costs.cost_model import CostModel, GraphCost, free
from flowsim.calibration.costs.pass_costs import PassCosts
from flowsim.clairvoyant.bound import Bound, Clairvoyant
from flowsim.core.prefix_cache import Prefixes, Retention
from flowsim.core.request import Request
from flowsim.core.server import ServerOptions
from flowsim.engine.kv import taken_tokens
from flowsim.policies.catalogue import TABLE
from flowsim.policies.registry import load_policy
from flowsim.runs.costs import load_cost
from support.costs import pencil, random_cost, service
from support.timelines import replay_exactly

CACHES = [None, Prefixes(Retention.parse("ideal"), 16), Prefixes(Retention.parse("lru:20"), 16)]  # type: ignore[arg-type]


def requests(*rows: tuple[float, int, float]) -> Callable[[], list[Request]]:
    return lambda: [Request(id, *row) for id, row in enumerate(rows)]


def test_a_bound_by_hand() -> None:
    """Of two long prompts and an urgent one only one long prompt is late, whatever one does; one is hopeless."""
    rows = requests((0.0, 10, 12.0), (0.0, 10, 13.0), (1.0, 1, 2.0), (50.0, 9, 8.0))
    found = Clairvoyant(rows, np.ones(4, bool), service(layers=10), ServerOptions(block_tokens=1)).both
    assert found == Bound(counted=4, hopeless=1, most=2, least=2)
    assert (found.upper, found.lower) == (0.5, 0.5)


def test_chunks_that_run_as_recordings_which_cost_less_per_token_are_reckoned_with() -> None:
    """A token takes 1 ms in operators and 0.5 ms in recordings: 192 tokens take 192 ms, in two chunks 64 ms + 64 ms."""
    graph = GraphCost(128, lambda size: size * 0.5e-3, free, free)
    costs = CostModel(
        "by hand", 1, {"down_proj": lambda tokens: tokens * 1e-3}, lambda tokens, context: 0.0, graph=graph
    )
    rows, server = requests((0.0, 192, 0.15)), ServerOptions(block_tokens=1, graph_tokens=128)
    assert attained(rows, load_policy("chunked:128"), costs, server, None) == 1
    assert Clairvoyant(rows, np.ones(1, bool), costs, server).both.most == 1


def test_where_no_request_counts_nothing_is_bounded() -> None:
    assert Bound(0, 0, 0, 0).facts() == [("bound", "none: no request counts")]


def test_what_no_instance_can_hold_is_hopeless() -> None:
    rows, server = requests((0.0, 10, 100.0), (20.0, 5, 100.0)), ServerOptions(block_tokens=1, kv_tokens=8)
    assert Clairvoyant(rows, np.ones(2, bool), pencil(), server).both == Bound(2, 1, 1, 1)


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 9), st.integers(1, 30)), min_size=1, max_size=12
    )
)
def test_the_order_of_sending_does_not_matter(drawn: list[tuple[int, int, int, int]]) -> None:
    """A frontend that takes 0 to 9 s lets later requests overtake."""
    rows = [(sent + late, tokens, late + slo, float(sent)) for sent, late, tokens, slo in drawn]
    server = ServerOptions(block_tokens=1, jitter="exponential:1")
    found = []
    for ordered in (sorted(rows, key=lambda row: row[3]), sorted(rows)):
        these = lambda rows=ordered: [  # noqa: E731
            Request(id, *row, sent_s=sent_s) for id, (*row, sent_s) in enumerate(rows)
        ]
        found.append(Clairvoyant(these, np.ones(len(rows), bool), pencil(), server).upper)
    assert found[0] == found[1]


def test_requests_that_do_not_count_need_no_time() -> None:
    rows = requests((0.0, 10, 10.5), (0.0, 9, 10.5))
    counted = np.array([True, False])
    assert Clairvoyant(rows, counted, pencil(), ServerOptions(block_tokens=1)).both == Bound(1, 0, 1, 1)


def test_two_instances_serve_two_at_once() -> None:
    rows = requests((0.0, 10, 10.0), (0.0, 10, 10.0))
    server = ServerOptions(block_tokens=1, instances=2)
    assert Clairvoyant(rows, np.ones(2, bool), pencil(), server).both == Bound(2, 0, 2, 2)


def test_the_load_is_the_least_work_per_second_of_each_instance() -> None:
    """Ten tokens of 0.8 s of linear operators arrive every 5 s, of which the third fits nowhere."""
    rows, costs = requests((0.0, 10, 9.0), (5.0, 10, 0.1), (10.0, 90, 9.0)), pencil(layers=2)
    for instances in (1, 2):
        server = ServerOptions(block_tokens=1, kv_tokens=80, instances=instances)
        load = Clairvoyant(rows, np.zeros(3, bool), costs, server).offered_load
        assert load == pytest.approx(0.2 * 2 * 16 / 3 / instances, rel=2e-3)
    at_once = requests((1.0, 10, 9.0), (1.0, 10, 9.0))
    assert Clairvoyant(at_once, np.ones(2, bool), costs, ServerOptions(block_tokens=1)).offered_load == np.inf


def workload(rng: np.random.Generator, costs: CostModel, server: ServerOptions, n: int) -> Callable[[], list[Request]]:
    """Requests at about what the server can do, with SLOs from tight to loose and shared prefixes."""
    tokens = np.minimum(rng.lognormal(5, 1.2, n).astype(int) + 1, 3000)
    unchecked = PassCosts(costs, server, "none")
    solo_s = np.array([unchecked.solo_s(int(count)) for count in tokens])
    arrival_s = np.cumsum(rng.exponential(solo_s.mean() / rng.uniform(0.5, 2.5) / server.instances, n))
    slo_s = solo_s * rng.uniform(0.8, 12, n) + solo_s.mean() * rng.uniform(0, 3)
    starts = rng.integers(0, 5, n)

    def make() -> list[Request]:
        columns = zip(arrival_s.tolist(), tokens.tolist(), slo_s.tolist(), starts.tolist(), strict=True)
        return [
            Request(
                id,
                at_s,
                count,
                due_s,
                kv_tokens=taken_tokens(count, 16),
                blocks=tuple(1000 * start + i for i in range(count // 16)),
            )
            for id, (at_s, count, due_s, start) in enumerate(columns)
        ]

    return make


def attained(
    make: Callable[[], list[Request]], policy: Any, costs: CostModel, server: ServerOptions, cache: Any
) -> int:
    rows = make()
    due_s = [request.deadline_s for request in rows]
    outcome = replay_exactly(rows, policy, costs, server, prefixes=cache)
    return sum(done_s <= due for done_s, due in zip(outcome.ledger.finished_s, due_s, strict=True))


@given(seed=st.integers(0, 1_000_000))
@settings(max_examples=25, deadline=None)
def test_no_policy_is_above_the_bound(seed: int) -> None:
    rng = np.random.default_rng(seed)
    costs = random_cost(rng) if rng.random() < 0.7 else load_cost(None, "llama3-8b", "h200", 1)
    server = ServerOptions(
        instances=int(rng.choice([1, 1, 2])),
        max_batched_tokens=int(rng.choice([256, 1024, 8192])),
        kv_tokens=20_000,
        graph_tokens=int(rng.choice([0, 256])) if costs.graph else 0,
    )
    cache = CACHES[rng.integers(len(CACHES))]
    make = workload(rng, costs, server, n=int(rng.integers(1, 60)))
    found = Clairvoyant(make, np.ones(len(make()), bool), costs, server, cache).both
    assert found.least <= found.most <= found.counted - found.hopeless
    for name in TABLE:
        assert attained(make, load_policy(name), costs, server, cache) <= found.most, name


def test_the_optimum_of_measured_costs_is_known_within_a_few_per_cent() -> None:
    rng, costs, server = np.random.default_rng(5), load_cost(None, "llama3-8b", "h200", 1), ServerOptions()
    make = workload(rng, costs, server, n=300)
    found = Clairvoyant(make, np.ones(300, bool), costs, server).both
    assert 0.9 * found.most <= found.least


@pytest.mark.parametrize("instances", [1, 2])
def test_the_bound_is_the_same_each_time(instances: int) -> None:
    server = ServerOptions(instances=instances)
    costs = load_cost(None, "llama3-8b", "h200", 1)
    make = workload(np.random.default_rng(1), costs, server, n=80)
    assert len({Clairvoyant(make, np.ones(80, bool), costs, server).both for _ in range(2)}) == 1
