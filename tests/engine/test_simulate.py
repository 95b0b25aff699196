"""The engine on costs that a pencil follows: whole timelines as literals, limits, and policies that misbehave.

`pencil` costs: a token takes a second in each layer, a fifth of it in each of the five checked operators. So the
cuts of 10 tokens lie 2 s apart at operator level, and a layer takes 10 s.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.predictor import make_predictor
from flowsim.core.events import Stretch, stretches
from flowsim.core.order import Fixed
from flowsim.core.passes import Pass
from flowsim.core.request import Request
from flowsim.core.server import ServerOptions
from flowsim.engine.simulate import Outcome, simulate
from flowsim.errors import InputError
from flowsim.policies.chunked import Chunked
from flowsim.policies.edf import EDF
from flowsim.policies.fcfs import FCFS
from flowsim.policies.flowprefill import FlowPrefill
from flowsim.policies.sjf import SJF
from support.costs import pencil

Row = tuple[float, int, float]  # arrival, tokens, SLO


def run(policy: Any, cost: CostModel, *rows: Row, until_s: float | None = None, **limits: Any) -> Outcome:
    server = ServerOptions(**{"block_tokens": 1, **limits})
    requests = [Request(i, *row, block_tokens=server.block_tokens) for i, row in enumerate(rows)]
    predictor = make_predictor("exact", cost, policy.cut, server.max_batched_tokens)
    return simulate(requests, policy, cost, predictor, server, until_s=until_s, events=True)


def ran(outcome: Outcome) -> list[Stretch]:
    """The stretches of execution on the only instance."""
    assert outcome.events is not None
    return stretches(outcome.events[0])


URGENT = [(0.0, 10, 1000.0), (3.0, 1, 10.0)]
"""Ten patient tokens, and an urgent one that arrives 3 s later."""


# Where a pass stops.


@pytest.mark.parametrize(
    ("cut", "stop"), [("operator", 4.0), ("block", 6.0), ("layer", 10.0), ("chunk", 8.0), ("none", None)]
)
def test_a_pass_stops_at_the_next_cut_of_its_level(cut: Any, stop: float | None) -> None:
    outcome = run(EDF(cut=cut), pencil(layers=2), *URGENT, max_batched_tokens=4 if cut == "chunk" else 8192)
    (log,) = outcome.logs
    if stop is None:
        assert ran(outcome) == [(0.0, 20.0, (0,), True), (20.0, 22.0, (1,), True)]
        assert (log.blocking_s, outcome.ledger.preemptions) == ([], [0, 0])
        return
    assert ran(outcome) == [
        (0.0, stop, (0,), False),
        (stop, stop + 2, (1,), True),
        (stop + 2, 22.0, (0,), True),
    ]
    assert log.blocking_s == [stop - 3]
    assert outcome.ledger.preemptions == [1, 0]
    assert outcome.ledger.started_s == [0.0, stop]
    assert outcome.ledger.finished_s == [22.0, stop + 2]
    assert outcome.ledger.service_s == [20.0, 2.0]


@pytest.mark.parametrize(("arrival", "stop"), [(3.0, 4.0), (4.0, 4.0), (9.5, 10.0), (10.0, 10.0), (10.5, 12.0)])
def test_a_cut_at_the_very_moment_of_the_signal_still_counts(arrival: float, stop: float) -> None:
    outcome = run(EDF(), pencil(layers=2), (0.0, 10, 1000.0), (arrival, 1, 10.0))
    assert outcome.logs[0].blocking_s == [stop - arrival]


def test_under_tensor_parallelism_one_more_whole_segment_runs() -> None:
    outcome = run(EDF(), pencil(layers=2, tp=2), *URGENT)
    (log,) = outcome.logs
    assert ran(outcome) == [(0.0, 6.0, (0,), False), (6.0, 8.0, (1,), True), (8.0, 22.0, (0,), True)]
    assert log.blocking_s == [3.0]


@pytest.mark.parametrize(
    ("tp", "arrival", "stop"),
    [
        (1, 2.00005, 2.25),  # signalled at 2.25005: the runner is still at its check, for the scheduler was thinking
        (1, 2.0002, 4.25),  # signalled at 2.2502: it has waited for SWITCH_S, 0.1 ms, and gone on
        (2, 2.00005, 6.25),  # ranks share no interpreter: what is left of the segment, and one more whole one
    ],
)
def test_a_runner_at_a_check_waits_for_the_scheduler_a_little(tp: int, arrival: float, stop: float) -> None:
    cost = pencil(tp=tp, decision=lambda seen: 0.25)
    outcome = run(EDF(), cost, (0.0, 10, 1000.0), (arrival, 1, 10.0))
    (log,) = outcome.logs
    assert ran(outcome)[0] == (0.25, stop, (0,), False)
    assert log.blocking_s == [pytest.approx(max(stop - arrival - 0.25, 0.0))]


def test_check_acknowledgement_resumption_and_decision_take_their_time() -> None:
    cost = pencil(check_s=0.5, acknowledge_s=0.25, resume_s=0.75, decision=lambda requests: 0.125 * requests)
    outcome = run(EDF(), cost, (0.0, 10, 1000.0), (3.0, 5, 20.0))
    (log,) = outcome.logs
    # One request looked at: told at 0.125, launched at 0.875. A segment takes 2.5 s, so cuts lie at 3.375, 5.875, ...
    # Two looked at: signalled at 3.25, stopped at 3.375, acknowledged at 3.625; launched at 4.375.
    # Five segments of 1 + 0.5 and the read-out's check: done at 12.375, known at 12.625; one looked at; 0.75 to resume.
    # Left of the first: 4 segments of 2.5 and a check.
    assert ran(outcome) == [
        (0.875, 3.375, (0,), False),
        (4.375, 12.375, (1,), True),
        (13.5, 24.0, (0,), True),
    ]
    assert log.blocking_s == [3.625 - 3.25]
    assert outcome.ledger.started_s == [0.125, 3.625]
    assert outcome.ledger.finished_s == [24.0, 12.375]
    assert (log.busy_s, log.check_s, log.control_s, log.decisions) == (21.0, 5.0, 0.5, 3)


def test_past_its_last_cut_a_pass_completes_instead() -> None:
    outcome = run(EDF(cut="layer"), pencil(head_s=5.0), (0.0, 10, 1000.0), (12.0, 1, 10.0))
    (log,) = outcome.logs
    assert ran(outcome) == [(0.0, 15.0, (0,), True), (15.0, 21.0, (1,), True)]
    assert log.blocking_s == [3.0]
    assert outcome.ledger.preemptions == [0, 0]


def test_a_resumed_pass_runs_at_least_one_segment() -> None:
    # The second urgent request arrives while the patient pass is being resumed.
    outcome = run(EDF(), pencil(resume_s=1.0), *URGENT, (5.5, 1, 10.0))
    (log,) = outcome.logs
    assert ran(outcome) == [
        (1.0, 3.0, (0,), False),
        (4.0, 5.0, (1,), True),
        (6.0, 8.0, (0,), False),
        (9.0, 10.0, (2,), True),
        (11.0, 17.0, (0,), True),
    ]
    assert log.blocking_s == [0.0, 2.5]


def test_preemptions_nest() -> None:
    outcome = run(EDF(), pencil(), (0.0, 20, 900.0), (1.0, 10, 100.0), (5.0, 5, 10.0))
    assert ran(outcome) == [
        (0.0, 4.0, (0,), False),
        (4.0, 6.0, (1,), False),
        (6.0, 11.0, (2,), True),
        (11.0, 19.0, (1,), True),
        (19.0, 35.0, (0,), True),
    ]
    assert outcome.ledger.preemptions == [1, 1, 0]


# When the scheduler decides.


def test_arrivals_during_a_decision_are_looked_at_by_it() -> None:
    outcome = run(FCFS(), pencil(decision=lambda n: 1.0), (0.0, 2, 9.0), (0.5, 3, 9.0), (4.0, 1, 9.0))
    (log,) = outcome.logs
    assert ran(outcome) == [(1.0, 6.0, (0, 1), True), (7.0, 8.0, (2,), True)]
    assert (log.decisions, log.control_s) == (2, 2.0)


def test_a_completion_during_a_decision_is_seen_by_it() -> None:
    outcome = run(EDF(), pencil(decision=lambda n: 4.0), (0.0, 10, 1000.0), (11.0, 1, 10.0))
    (log,) = outcome.logs
    assert ran(outcome) == [(4.0, 14.0, (0,), True), (15.0, 16.0, (1,), True)]
    assert log.blocking_s == []


def test_arrivals_before_the_acknowledgement_wait_for_it_and_share_a_decision() -> None:
    rows = [*URGENT, (4.5, 1, 5.0), (5.0, 1, 4.0)]
    outcome = run(EDF(), pencil(acknowledge_s=2.0), *rows)
    (log,) = outcome.logs
    # Signalled at 3, stopped at 4, acknowledged at 6, when the chosen one starts although two more urgent ones
    # are there; the next decision, at once, signals it in turn: cut at 6.2, acknowledged at 8.2. Completions are known
    # 2 s after they happen.
    assert [(round(begin, 9), round(end, 9), *rest) for begin, end, *rest in ran(outcome)] == [
        (0.0, 4.0, (0,), False),
        (6.0, 6.2, (1,), False),
        (8.2, 9.2, (3,), True),
        (11.2, 12.2, (2,), True),
        (14.2, 15.0, (1,), True),
        (17.0, 23.0, (0,), True),
    ]
    assert log.blocking_s == pytest.approx([3.0, 2.2])
    assert log.decisions == 6


def test_simultaneous_arrivals_are_decided_on_together_and_ties_go_by_id() -> None:
    outcome = run(EDF(), pencil(), *[(1.0, 2, 50.0)] * 3)
    (log,) = outcome.logs
    assert ran(outcome) == [(1.0, 3.0, (0,), True), (3.0, 5.0, (1,), True), (5.0, 7.0, (2,), True)]
    assert log.decisions == 3


def test_without_cuts_nothing_is_decided_while_a_pass_runs() -> None:
    outcome = run(FCFS(), pencil(), (0.0, 10, 99.0), (1.0, 1, 99.0), (2.0, 1, 99.0))
    (log,) = outcome.logs
    assert ran(outcome) == [(0.0, 10.0, (0,), True), (10.0, 12.0, (1, 2), True)]
    assert log.decisions == 2


def test_waking_at_cuts_decides_at_each_and_only_there() -> None:
    outcome = run(EDF(cut="layer", wake="cuts"), pencil(layers=3, decision=lambda n: 0.5), *URGENT)
    (log,) = outcome.logs
    # A layer takes 10 s; each cut costs a decision; the urgent request waits from 3 until the cut is decided on.
    assert ran(outcome) == [
        (0.5, 10.5, (0,), False),
        (11.0, 12.0, (1,), False),
        (12.5, 13.5, (1,), False),
        (14.0, 15.0, (1,), False),
        (15.5, 15.5, (1,), True),
        (16.0, 26.0, (0,), False),
        (26.5, 36.5, (0,), False),
        (37.0, 37.0, (0,), True),
    ]
    assert log.blocking_s == [8.0]
    assert log.decisions == 8
    assert log.busy_s == 33.0


def test_a_pass_proceeds_at_a_cut_sooner_than_another_begins() -> None:
    """Ten tokens proceed 0.125 s after each stop, five 0.0625 s; another pass begins 0.25 + 0.25 + 0.75 s after it."""
    costs: dict[str, Any] = {"check_s": 0.5, "acknowledge_s": 0.25, "resume_s": 0.75, "proceed": lambda n: n / 80}
    cost = pencil(decision=lambda requests: 0.125 * requests, **costs)
    outcome = run(EDF(wake="cuts"), cost, (0.0, 10, 1000.0), (3.0, 5, 20.0))
    assert ran(outcome) == [
        (0.875, 3.375, (0,), False),
        *((4.625 + k * 1.5625, 6.125 + k * 1.5625, (1,), False) for k in range(5)),
        (12.4375, 12.9375, (1,), True),
        *((14.0625 + k * 2.625, 16.5625 + k * 2.625, (0,), False) for k in range(4)),
        (24.5625, 25.0625, (0,), True),
    ]


# Limits.


def test_a_request_that_lacks_kv_blocks_is_not_overtaken_by_a_smaller_one() -> None:
    rows = [(0.0, 6, 9.0), (1.0, 8, 20.0), (2.0, 2, 90.0)]
    for policy, last_s in [(EDF(), 14.0), (FCFS(1), 14.0), (FlowPrefill(), 6.0), (Chunked(100), 6.0)]:
        outcome = run(policy, pencil(), *rows, kv_tokens=10)
        assert outcome.ledger.started_s == [0.0, 6.0, last_s]


def test_whole_blocks_are_counted() -> None:
    # Two prompts of 9 tokens take 3 blocks of 4 each; 5 blocks (of 23 tokens) are not enough.
    rows = [(0.0, 9, 99.0), (0.0, 9, 99.0)]
    assert run(FCFS(), pencil(), *rows, kv_tokens=23, block_tokens=4).ledger.started_s == [0.0, 9.0]
    assert run(FCFS(), pencil(), *rows, kv_tokens=24, block_tokens=4).ledger.started_s == [0.0, 0.0]


def test_paused_passes_keep_their_kv_blocks() -> None:
    outcome = run(EDF(), pencil(), (0.0, 10, 1000.0), (1.0, 5, 10.0), kv_tokens=14)
    assert outcome.ledger.started_s == [0.0, 10.0]


def test_slots_limit_the_passes_begun() -> None:
    rows = [(0.0, 20, 900.0), (1.0, 10, 100.0), (5.0, 5, 10.0)]
    assert run(EDF(), pencil(), *rows, slots=1).ledger.started_s == [0.0, 25.0, 20.0]
    assert run(EDF(), pencil(), *rows, slots=2).ledger.started_s == [0.0, 4.0, 14.0]
    assert run(EDF(), pencil(), *rows, slots=3).ledger.started_s == [0.0, 4.0, 6.0]


def test_a_prompt_that_can_never_fit_is_rejected() -> None:
    outcome = run(FCFS(), pencil(), (0.0, 11, 9.0), (0.0, 10, 9.0), kv_tokens=10)
    assert outcome.ledger.rejected == [True, False]
    assert outcome.ledger.finished_s[1] == 10.0
    assert math.isnan(outcome.ledger.started_s[0])


def test_the_cost_model_says_how_many_tokens_fit_unless_the_server_does() -> None:
    assert run(FCFS(), pencil(kv_capacity_tokens=10), (0.0, 11, 9.0)).ledger.rejected == [True]
    assert run(FCFS(), pencil(kv_capacity_tokens=10), (0.0, 11, 9.0), kv_tokens=11).ledger.rejected == [False]


# Batches, chunks, and the end of the replay.


def test_members_of_a_batch_finish_together() -> None:
    outcome = run(SJF(), pencil(), (0.0, 2, 9.0), (0.0, 3, 9.0))
    assert outcome.ledger.finished_s == [5.0, 5.0]
    assert outcome.ledger.service_s == [5.0, 5.0]


def test_chunked_prefill_steps() -> None:
    outcome = run(Chunked(4), pencil(), (0.0, 6, 9.0), (1.0, 3, 9.0))
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
    outcome = run(EDF(), pencil(acknowledge_s=1.0, resume_s=1.0), *URGENT, until_s=until_s)
    (log,) = outcome.logs
    assert ran(outcome) == expected
    assert log.busy_s == busy_s
    assert math.isnan(outcome.ledger.finished_s[0])
    assert outcome.ledger.instance == [0, 0 if until_s > 3.0 else -1]


def test_an_idle_end_and_an_empty_trace() -> None:
    assert run(FCFS(), pencil(), (0.0, 1, 9.0), until_s=50.0).ledger.finished_s == [1.0]
    assert run(FCFS(), pencil()).logs[0].decisions == 0


def test_a_begun_prompt_is_predicted_anew_on_its_context() -> None:
    class Watches(Chunked):
        """Chunks of 4 tokens; keeps what it sees of begun prompts."""

        seen: ClassVar[list[tuple[int, int, float]]] = []

        def choose(self, view: Any) -> Pass | None:
            self.seen.extend((request.context, request.tokens, request.predicted_s) for request in view.started)
            return super().choose(view)

    cost = CostModel("context", 1, {}, lambda tokens, context: tokens + 10.0 * context)
    outcome = run(Watches(4), cost, (0.0, 10, 99.0))
    assert Watches.seen == [(4, 6, 46.0), (8, 2, 82.0)]
    assert outcome.ledger.finished_s == [4.0 + 44.0 + 82.0]


def test_events_are_kept_only_on_demand_and_progress_is_told() -> None:
    cost, told = pencil(), []
    requests = [Request(i, float(i), 1, 9.0) for i in range(2500)]
    outcome = simulate(requests, FCFS(), cost, make_predictor("exact", cost, "none", 8192), progress=told.append)
    assert outcome.events is None
    assert told == [1000, 2000]


# What cannot be.


@dataclass(frozen=True)
class Chooses:
    """A policy that chooses what a function of the view says."""

    choice: Callable[[Any], Any]
    cut: str = "operator"
    wake: str = "events"

    def choose(self, view: Any) -> Any:
        return self.choice(view)


def first(view: Any) -> Request:
    request: Request = next(iter(view.waiting))
    return request


STALE: list[Any] = []


def remember(view: Any) -> Any:
    """Runs the first request, and names its execution again when that has completed."""
    if view.running:
        STALE[:] = [view.running]
        return None
    if STALE:
        return STALE.pop()
    return Pass.whole(first(view))


@pytest.mark.parametrize(
    ("choice", "complaint"),
    [
        (lambda view: Pass.whole(Request(7, 0.0, 1, 1.0)), "Request(7,"),
        (lambda view: Pass(((first(view), 11),)), "11 tokens of Request(0,"),
        (lambda view: Pass(((first(view), 0),)), "0 tokens of Request(0,"),
        (lambda view: Pass(((first(view), 1.5),)), "1.5 tokens of Request(0,"),
        (lambda view: Pass((first(view),)), "expected pairs of a request and its tokens"),
        (lambda view: Pass.whole(first(view), first(view)), "neither waiting nor started"),
        (lambda view: Pass(()), "a pass without requests"),
        (lambda view: Pass.whole(*view.waiting), "too few KV blocks are free"),
        (lambda view: first(view), "expected a Pass"),
        (remember, "neither running nor paused"),
    ],
)
def test_a_policy_that_chooses_what_cannot_be_is_told_so(choice: Any, complaint: str) -> None:
    with pytest.raises(InputError) as error:
        run(Chooses(choice), pencil(), (1.0, 10, 9.0), (1.0, 10, 9.0), (2.0, 1, 9.0), kv_tokens=12)
    message = str(error.value)
    assert message.startswith("policy Chooses at ")
    assert complaint in message
    assert "\n" not in message


def test_what_a_policy_raises_is_told_in_one_line() -> None:
    with pytest.raises(
        InputError,
        match=r"^policy Chooses at 1\.0+ s, after the arrival of request 0 \(1 waiting, .*\): raised ZeroDiv.*\Z",
    ):
        run(Chooses(lambda view: 1 / 0), pencil(), (1.0, 10, 9.0))


def test_orders_made_at_every_decision_are_refused() -> None:
    """Each would keep a queue of its own for ever."""
    careless = Chooses(lambda view: view.first(Fixed(lambda candidate: candidate.deadline_s)) and None)
    with pytest.raises(InputError, match="expected orders made once, outside choose"):
        run(careless, pencil(), *[(float(i), 1, 9.0) for i in range(100)])


def test_a_policy_without_a_free_slot_is_told_so() -> None:
    greedy = Chooses(lambda view: Pass.whole(first(view)) if view.waiting else view.running)
    with pytest.raises(InputError, match="no runner slot is free"):
        run(greedy, pencil(), (0.0, 10, 9.0), (1.0, 10, 9.0), slots=1)


def test_a_policy_may_choose_nothing_while_others_are_to_arrive() -> None:
    pairs = Chooses(lambda view: Pass.whole(*view.waiting) if len(view.waiting) == 2 else None, cut="none")
    outcome = run(pairs, pencil(), (0.0, 1, 9.0), (1.0, 1, 9.0))
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
