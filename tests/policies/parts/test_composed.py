"""Schedulers made of named parts: what each part does, on timelines by hand. A token takes a second."""

from __future__ import annotations

from typing import Any

import pytest

from flowsim.policies.parts.composed import Composed
from support.situations import executing, request, situation
from support.timelines import ran, run


def test_the_hopeless_are_rejected_and_neither_lead_nor_join_a_batch() -> None:
    rows = [(0.0, 10, 99.0), (1.0, 5, 12.0), (2.0, 4, 12.0), (3.0, 2, 20.0)]
    outcome = run("edf:cut=none,batching=fill,admission=hopeless", *rows)
    assert ran(outcome) == [(0.0, 10.0, (0,), True), (10.0, 16.0, (2, 3), True)]  # 2 can just make it: 10 + 4 = 2 + 12
    assert outcome.ledger.rejected == [False, True, False, False]
    assert ran(run("edf:cut=none,batching=fill", *rows))[1] == (10.0, 21.0, (1, 2, 3), True)


def test_whatever_is_paused_for_too_long_goes_first() -> None:
    """Cuts lie 2 s apart in the long prompt; short ones arrive faster than they are served."""
    rows = [(0.0, 10, 99.0), (1.0, 5, 20.0), (2.0, 2, 20.0), (3.0, 5, 20.0)]
    assert ran(run("edf", *rows))[2:] == [(7.0, 9.0, (2,), True), (9.0, 14.0, (3,), True), (14.0, 22.0, (0,), True)]
    assert ran(run("edf:suspend=7", *rows)) == [
        (0.0, 2.0, (0,), False),
        (2.0, 7.0, (1,), True),
        (7.0, 9.0, (2,), True),
        (9.0, 17.0, (0,), True),
        (17.0, 22.0, (3,), True),
    ]


def test_a_pass_that_went_first_may_be_preempted_again() -> None:
    rows = [(0.0, 10, 99.0), (1.0, 10, 20.0), (10.5, 1, 5.0)]
    assert ran(run("edf:suspend=6", *rows)) == [
        (0.0, 2.0, (0,), False),
        (2.0, 8.0, (1,), False),
        (8.0, 12.0, (0,), False),  # signalled at 10.5, for the third request
        (12.0, 13.0, (2,), True),
        (13.0, 17.0, (1,), True),
        (17.0, 21.0, (0,), True),
    ]


def test_without_an_overdue_pass_the_order_decides() -> None:
    running, paused = executing(request(0, 5, slo_s=10.0)), executing(request(1, 5, slo_s=20.0))
    decision: Any = Composed(order="edf", cut="operator", suspend=3.0).choose(
        situation(running=running, paused=[paused])
    )
    assert decision.run is running
    assert decision.wake_at == 3.0  # paused at 0 s


@pytest.mark.parametrize(
    ("parts", "row"),
    [
        ("fcfs:order=edf,batching=none,cut=operator", "edf"),
        ("edf:order=sedf,batching=slo,batch_tokens=2048", "flowprefill"),
        ("flowprefill:order=sjf,batching=fill,cut=none,batch_tokens=8192", "sjf"),
        ("edf:order=fcfs,batching=order,cut=none,batch_tokens=4096", "fcfs"),
    ],
)
def test_a_row_is_its_parts(parts: str, row: str) -> None:
    rows = [(0.0, 10, 30.0), (1.0, 5, 12.0), (2.0, 4, 9.0), (3.0, 2, 20.0), (13.0, 3, 9.0)]
    assert ran(run(parts, *rows)) == ran(run(row, *rows))
