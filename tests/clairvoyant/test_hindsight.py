"""What is known of a run in hindsight."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flowsim
from flowsim.clairvoyant.hindsight import Judged
from flowsim.core.events import Decided
from flowsim.core.server import ServerOptions
from support.costs import pencil, random_cost
from support.explained import Row, drawn_rows, specs


def judged_of(rows: list[Row], policy: Any, **options: Any) -> list[list[Judged]]:
    arrival_s, tokens, slo_s = zip(*rows, strict=True)
    trace = flowsim.Trace.of(arrival_s, tokens, classes=["text"] * len(rows), slo_s=slo_s)
    defaults: dict[str, Any] = {"cost": pencil(), "server": ServerOptions(block_tokens=1)}
    result = flowsim.run(trace, policy, events=True, **{**defaults, **options})
    assert result.hindsight is not None
    found = [list(result.hindsight.judged.get(number, ())) for number in range(len(result.events))]
    for decisions, events in zip(found, result.events, strict=True):
        decided = [(event.time_s, event.running, event.chosen) for event in events if isinstance(event, Decided)]
        if options["predictor"] != "exact":
            assert [decision.time_s for decision in decisions] == [time_s for time_s, _, _ in decided]
            assert [decision.stays for decision in decisions] == [chosen in (None, at) for _, at, chosen in decided]
    return found


def test_the_decisions_that_a_wrong_prediction_made() -> None:
    """Two tokens are believed to take 14 s and three 0.5 s: at 1 it should be request 1, and then it is."""
    rows = [(0.0, 1, 9.0), (0.25, 2, 9.0), (0.5, 3, 9.0)]
    (found,) = judged_of(rows, "srpt:cut=none", predictor="noisy:1", seed=5)
    assert found == [Judged(0.0, False, False), Judged(1.0, False, True), Judged(4.0, False, False)]


def test_a_pass_that_should_have_given_way() -> None:
    """At 0.5 request 1, of 2 s, would have taken the place of 0, of 3 s, which was believed to take 0.5 s."""
    (found,) = judged_of([(0.0, 3, 9.0), (0.5, 2, 9.0)], "srpt", predictor="noisy:1", seed=5)
    assert found[:2] == [Judged(0.0, False, False), Judged(0.5, True, True)]


def test_a_rejection_that_should_not_have_been() -> None:
    (found,) = judged_of([(0.0, 2, 10.0)], "fcfs:admission=hopeless", predictor="noisy:1", seed=5)
    assert found == [Judged(0.0, True, True)]


def test_an_exact_prediction_is_never_wrong() -> None:
    assert judged_of([(0.0, 3, 9.0), (0.5, 2, 9.0)], "srpt", predictor="exact") == [[]]


@settings(max_examples=60, deadline=None)
@given(
    specs,
    drawn_rows,
    st.integers(0, 2**32),
    st.sampled_from([1, 2]),
    st.sampled_from([{}, {"until_s": 0.05}, {"concurrency": 1}, {"concurrency": 4}]),
    st.sampled_from(["cubic", "noisy:1", "biased:1"]),
)
def test_the_run_is_repeated_decision_by_decision(
    spec: str, drawn: list[Row], seed: int, instances: int, replay: dict[str, Any], predictor: str
) -> None:
    """`judged_of` checks the times of all decisions; a prediction that is right is never wrong."""
    arrivals = np.cumsum([row[0] for row in drawn]).tolist()
    rows = [(at, tokens, 0.1) for at, (_, tokens, _) in zip(arrivals, drawn, strict=True)]
    server = ServerOptions(
        block_tokens=1, instances=instances, router="least-work", max_batched_tokens=32, kv_tokens=1000
    )
    options = {"cost": random_cost(np.random.default_rng(seed)), "server": server, **replay}
    found = judged_of(rows, spec, predictor=predictor, **options)
    if predictor == "biased:1":
        assert not any(decision.wrong for of in found for decision in of)


def test_what_requests_take_alone() -> None:
    trace = flowsim.Trace.of([0.0, 100.0], [3, 2], classes=["text"] * 2, slo_s=[9.0, 9.0])
    result = flowsim.run(trace, "fcfs", events=True, cost=pencil(head_s=0.5), server=ServerOptions(block_tokens=1))
    assert result.hindsight is not None
    assert result.hindsight.alone_s == pytest.approx([3.5, 2.5])
