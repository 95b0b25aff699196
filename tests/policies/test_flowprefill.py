"""FlowPrefill, in situations made by hand: its order, its batches, the paper's corner cases."""

from __future__ import annotations

from flowsim.calibration.costs.predictor import SoloPredictor
from flowsim.policies.flowprefill import FlowPrefill, SuspendBound
from flowsim.policies.parts.orders import S_EDF
from support.situations import executing, ids, request, situation
from support.timelines import ran, run


def test_flowprefill_puts_what_can_make_it_first_by_deadline() -> None:
    tight, loose = request(0, 5, slo_s=20.0), request(1, 5, slo_s=30.0)
    policy = FlowPrefill(batch_tokens=5)
    assert ids(policy.choose(situation(waiting=[loose, tight]))) == [0]
    assert ids(policy.choose(situation(now=14.9, waiting=[loose, tight]))) == [0]
    assert ids(policy.choose(situation(now=15.0, waiting=[loose, tight]))) == [1]  # no slack left: hopeless


def test_flowprefill_batches_in_order_while_the_head_has_time() -> None:
    head = request(0, 10, slo_s=100.0)
    others = [request(1, 50, slo_s=110.0), request(2, 20, slo_s=120.0), request(3, 30, slo_s=130.0)]
    view = situation(waiting=[head, *others])
    assert ids(FlowPrefill(reserve=0.1).choose(view)) == [0, 1, 2]  # 10 + 50 + 20 <= 90 < ... + 30
    assert ids(FlowPrefill(reserve=0.25).choose(view)) == [0, 1]  # the first that takes too long ends it
    assert ids(FlowPrefill(batch_tokens=41).choose(view)) == [0, 2]  # the too long ones are skipped
    assert ids(FlowPrefill(batch_tokens=9).choose(view)) == [0]
    assert ids(FlowPrefill().choose(situation(waiting=[head, *others], kv_tokens=45))) == [0, 2]


def test_flowprefill_without_an_slo_batches_whatever_the_reserve() -> None:
    queue = [request(0, 10, slo_s=float("inf")), request(1, 10, slo_s=float("inf"))]
    for reserve in (0.0, 0.1, 1.0):
        assert ids(FlowPrefill(reserve=reserve).choose(situation(now=5.0, waiting=queue))) == [0, 1]


def test_corner_case_1_a_head_in_its_reserve_runs_alone_but_late_requests_ride_along() -> None:
    head, filler = request(0, 4, slo_s=100.0), request(1, 1, slo_s=200.0)
    assert ids(FlowPrefill().choose(situation(now=85.0, waiting=[head, filler]))) == [0, 1]
    assert ids(FlowPrefill().choose(situation(now=91.0, waiting=[head, filler]))) == [0]
    late = request(2, 5, slo_s=50.0)
    assert ids(FlowPrefill().choose(situation(now=60.0, waiting=[late, head, filler]))) == [0, 1, 2]
    assert ids(FlowPrefill().choose(situation(now=60.0, waiting=[late]))) == [2]
    assert ids(FlowPrefill().choose(situation(now=60.0, waiting=[late, request(3, 9, slo_s=40.0)]))) == [2]


def test_corner_case_2_a_batch_is_predicted_as_one_sequence() -> None:
    head, other = request(0, 10, slo_s=500.0), request(1, 10, slo_s=600.0)
    assert ids(FlowPrefill().choose(situation(waiting=[head, other], solo=lambda n, c: n**2))) == [0, 1]
    # Apart 2 * 200 s, as one sequence 800 s.
    assert ids(FlowPrefill().choose(situation(waiting=[head, other], solo=lambda n, c: 2 * n**2))) == [0]


def test_corner_case_3_what_is_left_ignores_the_context_before_it() -> None:
    predictor = SoloPredictor("by hand", lambda tokens, context: float(tokens + 100 * context))
    running = executing(request(0, 10))
    assert predictor.left(running, 6.0, 4, 1.0) == 3.0


def test_corner_case_4_an_oversized_head_blocks_smaller_requests() -> None:
    running = executing(request(0, 6, slo_s=900.0))
    oversized, small = request(1, 8, slo_s=100.0), request(2, 2, slo_s=200.0)
    view = situation(waiting=[oversized, small], running=running, kv_tokens=10)
    assert FlowPrefill().choose(view) is running
    assert FlowPrefill().choose(situation(waiting=[oversized, small], kv_tokens=7)) is None
    assert FlowPrefill().choose(situation(waiting=[oversized, small], running=running, slots=1)) is running


def test_corner_case_5_an_executing_request_out_of_slack_gives_way_even_when_nearly_done() -> None:
    nearly_done, waiting = executing(request(0, 50, slo_s=60.0), left=1.0), request(1, 30, slo_s=500.0)
    assert FlowPrefill().choose(situation(now=58.9, running=nearly_done, waiting=[waiting])) is nearly_done
    assert ids(FlowPrefill().choose(situation(now=59.0, running=nearly_done, waiting=[waiting]))) == [1]


def test_corner_case_6_late_requests_go_by_latest_deadline_and_are_not_dropped() -> None:
    late = [request(0, 5, slo_s=10.0), request(1, 5, slo_s=30.0), request(2, 5, slo_s=20.0)]
    view = situation(now=100.0, waiting=late)
    order = [view.next_waiting(S_EDF)]
    while (following := view.next_waiting(S_EDF, order[-1])) is not None:
        order.append(following)
    assert [late.id for late in order] == [1, 2, 0]
    assert ids(FlowPrefill().choose(view)) == [1]


def test_a_negative_prediction_counts_as_nothing_left() -> None:
    overdue = executing(request(0, 5, slo_s=10.0), left=-4.0)
    assert S_EDF.rank(overdue, 9.9)[0] is False
    assert S_EDF.rank(overdue, 10.0)[0] is True


def test_a_bound_of_suspension_resumes_what_earlier_deadlines_keep_paused() -> None:
    """Cuts lie 2 s apart in the long prompt, which is paused at 2 s; earlier deadlines would keep it so until 12 s."""
    rows = [(0.0, 10, 99.0), (1.0, 5, 20.0), (2.0, 5, 20.0)]
    assert ran(run("flowprefill:batching=none", *rows))[2:] == [(7.0, 12.0, (2,), True), (12.0, 20.0, (0,), True)]
    assert ran(run("suspend-bound:batching=none,suspend=5", *rows)) == [
        (0.0, 2.0, (0,), False),
        (2.0, 7.0, (1,), True),
        (7.0, 15.0, (0,), True),
        (15.0, 20.0, (2,), True),
    ]
    assert SuspendBound() == SuspendBound(suspend=0.05)
