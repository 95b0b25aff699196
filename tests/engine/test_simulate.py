"""The engine on costs that a pencil follows: whole timelines as literals, limits, and policies that misbehave.

`pencil` costs: a token takes a second in each layer, a fifth of it in each of the five checked operators. So the
cuts of 10 tokens lie 2 s apart at operator level, and a layer takes 10 s.
"""

from __future__ import annotations

import math
import tracemalloc
from typing import Any, ClassVar

import pytest

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.core.order import Fixed, Moving
from flowsim.core.passes import Pass
from flowsim.core.request import Request
from flowsim.core.server import ServerOptions
from flowsim.errors import InputError
from flowsim.policies.chunked import Chunked
from flowsim.policies.edf import EDF
from flowsim.policies.fcfs import FCFS
from flowsim.policies.sjf import SJF
from support.costs import pencil
from support.timelines import URGENT, Chooses, ran, replay_exactly, simulated


def test_the_cost_model_says_how_many_tokens_fit_unless_the_server_does() -> None:
    assert simulated(FCFS(), pencil(kv_capacity_tokens=10), (0.0, 11, 9.0)).ledger.rejected == [True]
    assert simulated(FCFS(), pencil(kv_capacity_tokens=10), (0.0, 11, 9.0), kv_tokens=11).ledger.rejected == [False]


# Batches, chunks, and the end of the replay.


def test_members_of_a_batch_finish_together() -> None:
    outcome = simulated(SJF(), pencil(), (0.0, 2, 9.0), (0.0, 3, 9.0))
    assert outcome.ledger.finished_s == [5.0, 5.0]
    assert outcome.ledger.service_s == [5.0, 5.0]


def test_chunked_prefill_steps() -> None:
    outcome = simulated(Chunked(4), pencil(), (0.0, 6, 9.0), (1.0, 3, 9.0))
    assert ran(outcome) == [(0.0, 4.0, (0,), True), (4.0, 8.0, (0, 1), True), (8.0, 9.0, (1,), True)]
    assert outcome.ledger.started_s == [0.0, 4.0]
    assert outcome.ledger.finished_s == [8.0, 9.0]
    assert outcome.ledger.service_s == [8.0, 5.0]


@pytest.mark.parametrize(
    ("until_s", "expected", "busy_s"),
    [
        (0.5, [], 0.0),  # being started
        (2.0, [(1.0, 2.0, (0,), False)], 1.0),  # in a pass
        (3.5, [(1.0, 3.0, (0,), False)], 2.0),  # stopped, not yet acknowledged
        (4.5, [(1.0, 3.0, (0,), False)], 2.0),  # the other being started
        (6.5, [(1.0, 3.0, (0,), False), (5.0, 6.0, (1,), False)], 3.0),  # ended, not yet known to have
        (7.5, [(1.0, 3.0, (0,), False), (5.0, 6.0, (1,), True)], 3.0),  # being resumed
        (9.0, [(1.0, 3.0, (0,), False), (5.0, 6.0, (1,), True), (8.0, 9.0, (0,), False)], 4.0),
    ],
)
def test_what_has_not_finished_by_the_end_stays_unfinished(until_s: float, expected: Any, busy_s: float) -> None:
    outcome = simulated(EDF(), pencil(acknowledge_s=1.0, resume_s=1.0), *URGENT, until_s=until_s)
    (log,) = outcome.logs
    assert ran(outcome) == expected
    assert log.busy_s == busy_s
    assert math.isnan(outcome.ledger.finished_s[0])
    assert outcome.ledger.instance == [0, 0 if until_s > 3.0 else -1]


def test_an_idle_end_and_an_empty_trace() -> None:
    assert simulated(FCFS(), pencil(), (0.0, 1, 9.0), until_s=50.0).ledger.finished_s == [1.0]
    assert simulated(FCFS(), pencil()).logs[0].decisions == 0


def test_a_begun_prompt_is_predicted_anew_on_its_context() -> None:
    class Watches(Chunked):
        """Chunks of 4 tokens; keeps what it sees of begun prompts."""

        seen: ClassVar[list[tuple[int, int, float]]] = []

        def choose(self, view: Any) -> Pass | None:
            self.seen.extend((request.context, request.tokens, request.predicted_s) for request in view.started)
            return super().choose(view)

    cost = CostModel("context", 1, {}, lambda tokens, context: tokens + 10.0 * context)
    outcome = simulated(Watches(4), cost, (0.0, 10, 99.0))
    assert Watches.seen == [(4, 6, 46.0), (8, 2, 82.0)]
    assert outcome.ledger.finished_s == [4.0 + 44.0 + 82.0]


def test_events_are_kept_only_on_demand_and_progress_is_told() -> None:
    cost, told = pencil(), []
    requests = [Request(i, float(i), 1, 9.0) for i in range(2500)]
    outcome = replay_exactly(requests, FCFS(), cost, progress=told.append)
    assert outcome.events is None
    assert told == [1000, 2000]


def test_what_a_policy_raises_is_told_in_one_line() -> None:
    with pytest.raises(
        InputError,
        match=r"^policy Chooses at 1\.0+ s, after the arrival of request 0 \(1 waiting, .*\): raised ZeroDiv.*\Z",
    ):
        simulated(Chooses(lambda view: 1 / 0), pencil(), (1.0, 10, 9.0))


def test_orders_made_at_every_decision_are_refused() -> None:
    """Each would keep a queue of its own for ever."""
    careless = Chooses(lambda view: view.first(Fixed(lambda candidate: candidate.deadline_s)) and None)
    with pytest.raises(InputError, match="expected orders made once, outside choose"):
        simulated(careless, pencil(), *[(float(i), 1, 9.0) for i in range(100)])


def test_a_policy_may_choose_nothing_while_others_are_to_arrive() -> None:
    pairs = Chooses(lambda view: Pass.whole(*view.waiting) if len(view.waiting) == 2 else None, cut="none")
    outcome = simulated(pairs, pencil(), (0.0, 1, 9.0), (1.0, 1, 9.0))
    assert outcome.ledger.finished_s == [3.0, 3.0]
    assert outcome.logs[0].decisions == 2


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"slots": 0}, "slots must be >= 1, got 0"),
        ({"instances": -1}, "instances must be >= 1, got -1"),
        ({"kv_tokens": 0}, "kv_tokens must be >= 1, got 0"),
        ({"router": "round-robbin"}, "router: unknown router 'round-robbin'; did you mean 'round-robin'?"),
    ],
)
def test_server_limits_are_checked(limits: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        ServerOptions(**limits)
    assert str(error.value).startswith(message)


# Many instances.


@pytest.mark.parametrize(
    "order", [Fixed(lambda candidate: candidate.deadline_s), Moving(lambda candidate, now: candidate.deadline_s - now)]
)
def test_a_request_takes_no_more_memory_on_many_instances(order: Any) -> None:
    def first(view: Any) -> Any:
        best = view.first(order)
        return Pass.whole(best) if isinstance(best, Request) else best

    def most_bytes(requests: int, instances: int) -> int:
        rows = [(float(id), 2, 9.0) for id in range(requests)]
        tracemalloc.start()
        simulated(Chooses(first), pencil(), *rows, instances=instances)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    def more_bytes(instances: int) -> int:
        return most_bytes(600, instances) - most_bytes(200, instances)

    assert more_bytes(50) < 1.5 * more_bytes(1)
