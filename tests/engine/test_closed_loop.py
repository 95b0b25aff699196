"""A closed loop: timelines that a pencil follows, the slow reference on random workloads, and what always holds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.core.passes import Decision, Pass
from flowsim.core.request import Request
from flowsim.core.server import ServerOptions
from flowsim.engine.simulate import Outcome
from flowsim.policies.catalogue import TABLE
from flowsim.policies.edf import EDF
from flowsim.policies.fcfs import FCFS
from flowsim.policies.registry import load_policy
from flowsim.policies.sjf import SJF
from support.costs import pencil, random_cost
from support.timelines import replay_exactly

Rows = list[tuple[float, int, float]]
"""Time in the frontend, tokens, SLO."""


def loop(policy: Any, concurrency: int, *rows: Any, decode_s: Any = None, **limits: Any) -> Outcome:
    """A closed loop of these rows on costs of a second per token: tokens, SLO, and the time in the frontend."""
    cost = limits.pop("cost", pencil())
    server = ServerOptions(block_tokens=1, **limits)
    made = [(row[2] if len(row) > 2 else 0.0, row[0], row[1] if len(row) > 1 else math.inf) for row in rows]
    return replay(policy, cost, server, made, concurrency, decode_s or [0.0] * len(rows))


def requests_of(rows: Rows) -> list[Request]:
    return [Request(i, *row, kv_tokens=row[1], sent_s=0.0) for i, row in enumerate(rows)]


def replay(policy: Any, cost: CostModel, server: ServerOptions, rows: Rows, n: int, decode_s: Any) -> Outcome:
    made = requests_of(rows)
    return replay_exactly(made, policy, cost, server, concurrency=n, decode_s=decode_s, events=True)


def test_one_at_a_time() -> None:
    outcome = loop(FCFS(), 1, [3], [1], [2])
    assert outcome.sent_s == [0.0, 3.0, 4.0]
    assert outcome.ledger.finished_s == [3.0, 4.0, 6.0]


def test_two_at_a_time() -> None:
    """The third is sent when the first is through, the fourth when the short second is."""
    outcome = loop(FCFS(1), 2, [3], [1], [5], [2])
    assert outcome.sent_s == [0.0, 0.0, 3.0, 4.0]
    assert outcome.ledger.started_s == [0.0, 3.0, 4.0, 9.0]
    assert outcome.ledger.finished_s == [3.0, 4.0, 9.0, 11.0]


def test_a_batch_sends_as_many_as_it_had() -> None:
    outcome = loop(SJF(), 2, [2], [3], [4], [1])
    assert outcome.sent_s == [0.0, 0.0, 5.0, 5.0]
    assert outcome.ledger.finished_s == [5.0, 5.0, 10.0, 10.0]


def test_the_ways_in_and_back_are_the_clients() -> None:
    """Sent at 0, there at 1 s, its first token at 4 s, with the client at 6 s."""
    outcome = loop(FCFS(), 1, [3, 9.0, 1.0], [1, 9.0, 0.5], return_s=2.0)
    assert outcome.sent_s == [0.0, 6.0]
    assert outcome.ledger.started_s == [1.0, 6.5]
    assert outcome.ledger.finished_s == [4.0, 7.5]


def test_a_client_waits_for_its_last_token_where_the_log_knows_it() -> None:
    """The first holds its place until 7 s, the second until 5 s."""
    assert loop(FCFS(1), 2, [3], [1], [4], [1], decode_s=[4.0, 1.0, 0.0, 0.0]).sent_s == [0.0, 0.0, 5.0, 7.0]


def test_no_client_knows_more_than_the_scheduler() -> None:
    """The device is through at 3 s, and the scheduler knows at 3.5 s."""
    assert loop(FCFS(), 1, [3], [1], cost=pencil(complete_s=0.5)).sent_s == [0.0, 3.5]


def test_a_rejected_request_makes_room_for_the_next() -> None:
    """The second never fits: it is turned away on arrival, at 4 s, which its client knows at 5 s."""
    outcome = loop(FCFS(), 1, [3], [11], [2], kv_tokens=10, return_s=1.0)
    assert outcome.ledger.rejected == [False, True, False]
    assert outcome.sent_s == [0.0, 4.0, 5.0]


class Picky:
    """Serves what is due within 10 s, and rejects the rest."""

    cut, wake = "none", "events"

    def choose(self, view: Any) -> Any:
        waiting = list(view.waiting)
        patient = [request for request in waiting if request.slo_s > 10.0]
        kept = [request for request in waiting if request not in patient]
        return Decision(Pass.whole(kept[0]) if kept and view.running is None else view.running, patient)


def test_one_rejected_by_the_policy_does_too() -> None:
    outcome = loop(Picky(), 1, [3, 99.0], [1, 9.0], [2, 99.0], [4, 9.0])
    assert outcome.ledger.rejected == [True, False, True, False]
    assert outcome.sent_s == [0.0, 0.0, 1.0, 1.0]


def test_deadlines_are_those_of_the_send() -> None:
    """The third is sent at 1 s and due at 6, the fourth at 2 s and due at 6.5; counted from 0 it would go first."""
    outcome = loop(EDF(), 2, [1, 2.0], [1, 3.0], [4, 5.0], [1, 4.5])
    assert outcome.sent_s == [0.0, 0.0, 1.0, 2.0]
    assert outcome.ledger.started_s == [0.0, 1.0, 2.0, 6.0]


def test_the_trace_may_be_shorter_than_the_loop() -> None:
    assert loop(FCFS(1), 5, [3], [1]).sent_s == [0.0, 0.0]


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 2**32),
    st.sampled_from(sorted(TABLE)),
    st.integers(1, 6),
    st.integers(1, 3),
    st.lists(st.tuples(st.sampled_from([0.0, 0.02]), st.integers(1, 60), st.sampled_from([0.01, 0.3])), min_size=1),
)
def test_as_many_as_the_loop_has_are_outstanding(
    seed: int, name: str, several: int, instances: int, rows: Rows
) -> None:
    """Never more than N at a time, fewer only until the scheduler knows; all are sent in order and come to an end."""
    policy, server = load_policy(name), ServerOptions(instances=instances, kv_tokens=55, block_tokens=1, return_s=0.01)
    cost = random_cost(np.random.default_rng(seed))
    outcome = replay(policy, cost, server, rows, several, [0.1 * (id % 2) for id in range(len(rows))])
    ledger, sent_s = outcome.ledger, outcome.sent_s
    assert sent_s is not None
    assert sent_s == sorted(sent_s)
    assert len(sent_s) == len(rows)
    gone_s = np.array(ledger.finished_s) + 0.01 + 0.1 * (np.arange(len(rows)) % 2)
    gone_s = np.where(ledger.rejected, np.array(ledger.rejected_s) + 0.01, gone_s)
    assert not np.isnan(gone_s).any()
    for id, now in enumerate(sent_s[several:], several):
        together = sum(other == now for other in sent_s[id + 1 :])
        assert (gone_s[:id] > now + 1e-9).sum() + together < several
        assert (gone_s[:id] + cost.complete_s > now - 1e-9).sum() >= several
