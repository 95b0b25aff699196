"""What passes cost on a server: split into its forwards, checked at its cut, short ones as its recordings."""

from __future__ import annotations

import pytest

from flowsim.calibration.costs.cost_model import GraphCost, free
from flowsim.calibration.costs.pass_costs import PassCosts
from flowsim.core.pass_timeline import Slice
from flowsim.core.server import ServerOptions
from support.costs import pencil


def test_a_long_pass_runs_as_several_forwards() -> None:
    cost = pencil(layers=2, head_s=1.0)
    assert PassCosts(cost, ServerOptions(), "none").solo_s(10) == 21.0
    by_four = PassCosts(cost, ServerOptions(max_batched_tokens=4), "chunk")
    assert by_four.solo_s(10) == 23.0
    assert [by_four.timeline([Slice(10, 0)]).cut_s(i) for i in range(2)] == [9.0, 18.0]


@pytest.mark.parametrize(
    ("slices", "recorded", "duration_s"),
    [
        ([(1, 0)], 64, 7.0),
        ([(64, 0)], 64, 7.0),
        ([(65, 0)], 0, 65.0),
        ([(5, 3)], 0, 5.0),
        ([(5, 0), (6, 0)], 0, 11.0),
        ([(102, 0)], 0, 102.0),  # in forwards of 100 and of 2, of which the second has context
    ],
)
def test_one_short_prompt_without_context_runs_as_a_recording(
    slices: list[tuple[int, int]], recorded: int, duration_s: float
) -> None:
    cost = pencil(graph=GraphCost(64, lambda n: 7.0, free, free))
    costs = PassCosts(cost, ServerOptions(graph_tokens=64, max_batched_tokens=100), "none")
    timeline = costs.timeline([Slice(*one) for one in slices])
    assert timeline.recorded == recorded
    assert timeline.duration_s == pytest.approx(duration_s)
