"""Why requests missed: parts that add up to the TTFT, and reasons worked out by hand. A token takes a second."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flowsim
from flowsim.core.events import Arrived, Completed, Launched, Resumed, Signalled, Stopped, Thought
from flowsim.core.server import ServerOptions
from flowsim.errors import InputError
from flowsim.policies.table import TABLE
from flowsim.results.explain import REASONS, Explanation, explain
from flowsim.results.pieces import HOST, IDLE, PASS, Piece, pieces
from flowsim.results.waits import PARTS
from support.costs import pencil, random_cost

Row = tuple[float, int, float]


def explained(rows: Sequence[Row], policy: Any, clients: Any = None, **options: Any) -> Explanation:
    """Rows of (arrival, tokens, SLO)."""
    arrival_s, tokens, slo_s = zip(*rows, strict=True)
    trace = flowsim.Trace.of(arrival_s, tokens, classes=["text"] * len(rows), slo_s=slo_s, clients=clients)
    defaults: dict[str, Any] = {"cost": pencil(), "predictor": "exact", "server": ServerOptions(block_tokens=1)}
    return explain(flowsim.run(trace, policy, events=True, **{**defaults, **options}))


def parts_of(why: Explanation, request: int) -> dict[str, float]:
    return {name: value for name, value in why.story(request).parts_s.items() if value > 1e-9}


# By hand.

QUEUE = ((0.0, 10, 100.0), (2.0, 3, 5.0), (3.0, 4, 9.0), (11.0, 2, 4.0), (30.0, 6, 5.0))


def test_without_cuts_the_long_pass_blocks_and_the_urgent_go_first() -> None:
    """Passes: request 0 until 10, 1 until 13, 2 until 17, 3 until 19, 4 from 30 to 36."""
    why = explained(QUEUE, "edf:cut=none")
    assert why.missed.tolist() == [1, 2, 3, 4]
    assert list(why.reasons) == ["blocked", "blocked", "earlier", "hopeless"]
    assert parts_of(why, 1) == pytest.approx({"alone": 3, "blocked": 8})
    assert parts_of(why, 2) == pytest.approx({"alone": 4, "blocked": 7, "earlier": 3})
    assert parts_of(why, 3) == pytest.approx({"alone": 2, "earlier": 6})
    assert {name: count for name, count in why.counts.items() if count} == {"blocked": 2, "earlier": 1, "hopeless": 1}
    assert why.by_class == {"text": why.counts}


def test_a_preempted_pass_waits_for_those_that_run_meanwhile() -> None:
    """SJF cuts every 2 s: request 0 runs until 4 and from 9 to 15, 1 from 4 to 9, 2 from 15 to 26."""
    why = explained([(0.0, 10, 12.0), (3.0, 5, 100.0), (5.0, 11, 15.0)], "sjf:cut=operator")
    assert list(why.reasons) == ["paused", "earlier"]
    assert parts_of(why, 0) == pytest.approx({"alone": 10, "paused": 5})
    assert parts_of(why, 2) == pytest.approx({"alone": 11, "blocked": 4, "earlier": 6})


def test_a_pass_blocks_from_its_signal_to_its_stop() -> None:
    why = explained([(0.0, 10, 100.0), (3.0, 1, 1.5)], "edf:cut=operator")
    assert list(why.reasons) == ["blocked"]
    assert parts_of(why, 1) == pytest.approx({"alone": 1, "blocked": 1})


def test_a_pass_that_is_due_at_the_same_time_counts_as_earlier() -> None:
    """Passes: request 0 until 5, 1 until 7, 2 until 15; 1 and 2 are due at 11."""
    why = explained([(0.0, 5, 100.0), (1.0, 2, 10.0), (1.0, 8, 10.0)], "edf:cut=none")
    assert parts_of(why, 2) == pytest.approx({"alone": 8, "blocked": 4, "earlier": 2})


def test_a_pass_that_began_later_blocks_once_it_is_told_to_stop() -> None:
    """Request 0 runs until 5; 2 until 6.6, told at 6 to stop for 3, which runs until 7.6; 2 until 14; 1 until 23."""
    rows = [(0.0, 5, 100.0), (1.0, 9, 20.0), (2.0, 8, 100.0), (6.0, 1, 100.0)]
    why = explained(rows, "sjf:cut=operator,batch_tokens=1")
    assert parts_of(why, 1) == pytest.approx({"alone": 9, "blocked": 4.6, "later": 8.4})


def test_a_shorter_prompt_that_is_due_later_goes_first() -> None:
    why = explained([(0.0, 5, 100.0), (1.0, 9, 20.0), (2.0, 8, 100.0)], "sjf:cut=none,batch_tokens=1")
    assert list(why.reasons) == ["later"]
    assert parts_of(why, 1) == pytest.approx({"alone": 9, "blocked": 4, "later": 8})
    spans = why.story(1).spans
    assert [(span.part, span.requests) for span in spans] == [("blocked", (0,)), ("later", (2,)), ("alone", ())]
    assert [span.began_s for span in spans] == pytest.approx([1, 5, 13])
    assert [span.lasted_s for span in spans] == pytest.approx([4, 8, 9])


def test_a_batch_takes_longer_than_each_of_it_alone() -> None:
    why = explained([(0.0, 3, 5.0), (0.0, 4, 100.0)], "fcfs")
    assert list(why.reasons) == ["batched"]
    assert parts_of(why, 0) == pytest.approx({"alone": 3, "batched": 4})
    (ran,) = why.story(0).spans
    assert (ran.part, ran.lasted_s, ran.requests) == ("alone", pytest.approx(7), (1,))


def test_decisions_and_hand_overs_may_be_the_reason() -> None:
    why = explained([(0.0, 3, 5.0)], "fcfs", cost=pencil(resume_s=1.0, decision=lambda seen: 2.0))
    assert list(why.reasons) == ["host"]
    assert parts_of(why, 0) == pytest.approx({"alone": 3, "host": 3})


def test_what_can_never_be_held_is_rejected() -> None:
    why = explained([(0.0, 10, 100.0), (1.0, 2, 100.0)], "fcfs", server=ServerOptions(block_tokens=1, kv_tokens=8))
    assert list(why.reasons) == ["rejected"]
    assert (why.story(0).rejected, why.story(0).reason, why.story(1).reason) == (True, "rejected", None)


def test_a_run_that_is_cut_off_explains_what_was_due_before() -> None:
    why = explained([(0.0, 10, 100.0), (1.0, 2, 3.0)], "fcfs", until_s=6.0)
    assert list(why.reasons) == ["blocked"]
    assert parts_of(why, 1) == pytest.approx({"blocked": 5})


def test_fairness_by_hand() -> None:
    """Slowdowns: 1 and 11 / 3, 14 / 4, 8 / 2, 1."""
    slow = np.array([1, 11 / 3, 14 / 4, 4, 1])
    fair = explained(QUEUE, "edf:cut=none", clients=["a", "b", "a", "b", "a"]).fairness
    assert (fair.longest, fair.longest_s, fair.worst_class) == (2, pytest.approx(14), "text")
    assert fair.jain == pytest.approx(slow.sum() ** 2 / (5 * (slow**2).sum()))
    assert fair.clients == pytest.approx({"a": slow[[0, 2, 4]].mean(), "b": slow[[1, 3]].mean()})


def test_a_device_in_pieces() -> None:
    """Decides until 1, begins at 2; told to stop at 4, stops at 5, as known at 6; goes on from 7 to 8."""
    kept = [
        Arrived(0.5, 0),
        Thought(0.5, 0.5),
        Launched(1.0, 0, (0,), (4,)),
        Signalled(4.0, 0),
        Stopped(6.0, 0, (0,), 2.0, 5.0),
        Resumed(6.5, 0),
        Completed(8.0, 0, (0,), (0,), 7.0, 8.0, 4.0, 0.0, None),
    ]
    found = [piece[:4] + piece[5:] for piece in pieces(kept, 9.0)]
    assert found == [
        (0.0, 0.5, IDLE, (), False),
        (0.5, 1.0, HOST, (), False),
        (1.0, 2.0, HOST, (), False),
        (2.0, 4.0, PASS, (0,), False),
        (4.0, 5.0, PASS, (0,), True),
        (5.0, 6.0, HOST, (), False),
        (6.0, 6.5, IDLE, (), False),
        (6.5, 7.0, HOST, (), False),
        (7.0, 8.0, PASS, (0,), False),
        (8.0, 9.0, IDLE, (), False),
    ]
    assert [piece.ordered_s for piece in pieces(kept, 9.0) if piece.kind == PASS] == [1.0, 1.0, 6.5]


# Whatever happens.

specs = st.sampled_from(
    [
        *TABLE,
        "chunked:20",
        "edf:cut=none",
        "edf:batching=slo,admission=hopeless",
        "edf:suspend=0.01",
        "sjf:cut=operator",
        *(f"{name}:cut={cut},wake=cuts" for name in ("edf", "sjf", "flowprefill") for cut in ("layer", "operator")),
    ]
)
drawn_rows = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.001, 0.02, 0.3]),
        st.integers(1, 60),
        st.sampled_from([0.005, 0.01, 0.1, 1.0, math.nan]),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(specs, drawn_rows, st.integers(0, 2**32), st.sampled_from([1, 2]), st.sampled_from([None, 0.05]))
def test_the_parts_add_up_whatever_the_policy(
    spec: str, drawn: list[Row], seed: int, instances: int, until_s: float | None
) -> None:
    arrivals = np.cumsum([row[0] for row in drawn]).tolist()
    rows = [(at, tokens, slo) for at, (_, tokens, slo) in zip(arrivals, drawn, strict=True)]
    if all(math.isnan(slo) for _, _, slo in rows):
        rows[0] = (*rows[0][:2], 0.1)
    server = ServerOptions(block_tokens=1, instances=instances, max_batched_tokens=32, kv_tokens=1000)
    cost = random_cost(np.random.default_rng(seed))
    why = explained(rows, spec, cost=cost, server=server, until_s=until_s)
    metrics = why.result.metrics
    assert (why.parts_s >= 0).all()
    assert sum(why.counts.values()) == len(why.missed) == int((metrics.counted & ~metrics.attained).sum())
    for id in range(len(why.result.trace)):
        story = why.story(id)
        if not (story.rejected or math.isnan(story.finished_s)):
            assert sum(story.parts_s.values()) == pytest.approx(metrics.ttft_s[id], abs=1e-9)
            own_s = story.parts_s["alone"] + story.parts_s["batched"]
            assert own_s == pytest.approx(metrics.service_s[id], abs=1e-9)
        ran_s = sum(span.lasted_s for span in story.spans)
        rest_s = story.parts_s["host"] + story.parts_s["idle"]
        assert ran_s + rest_s == pytest.approx(sum(story.parts_s.values()), abs=1e-9)
    for place, reason in enumerate(why.reasons):
        assert reason in REASONS
        if reason not in ("hopeless", "rejected"):
            assert why.parts_s[place, PARTS.index(reason)] == why.parts_s[place, 1:].max() > 0


@settings(max_examples=40, deadline=None)
@given(specs, drawn_rows, st.integers(0, 2**32))
def test_pieces_leave_no_gap(spec: str, drawn: list[Row], seed: int) -> None:
    arrivals = np.cumsum([row[0] for row in drawn]).tolist()
    rows = [(at, tokens, 0.1) for at, (_, tokens, _) in zip(arrivals, drawn, strict=True)]
    server = ServerOptions(block_tokens=1, max_batched_tokens=32, kv_tokens=1000)
    result = explained(rows, spec, cost=random_cost(np.random.default_rng(seed)), server=server).result
    did: list[Piece] = list(pieces(result.events[0], result.outcome.stopped_s))
    assert all(one.ended_s == next.began_s for one, next in pairwise(did))
    assert all(piece.ended_s > piece.began_s for piece in did)
    assert (did[0].began_s, did[-1].ended_s) == (0.0, result.outcome.stopped_s)


def test_a_run_without_events_has_no_explanation() -> None:
    with pytest.raises(InputError, match="events: were not kept"):
        explain(flowsim.run("example", "fcfs", limit=5))
