"""Runs with a prefix cache: cached tokens are not computed, but attended to."""

import pytest

import flowsim
from flowsim.traces import Trace
from support.costs import pencil
from support.traces import with_blocks


def test_cached_tokens_are_attended_to_but_not_computed():
    cost = pencil()
    trace = with_blocks([[1, 2], [1, 3]], tokens=4, lengths=[8, 8]).scaled(0.01)
    result = flowsim.run(trace, "fcfs", cost=cost, slo=1000, predictor="exact", prefix_cache="ideal")
    assert result.ttft_s.tolist() == pytest.approx([8.0, 4.0])  # one second per token
    assert result.requests["cached_tokens"].tolist() == [0, 4]
    assert result.summary["inputs"]["cached_share"] == 0.25
    plain = flowsim.run(trace, "fcfs", cost=cost, slo=1000, predictor="exact")
    assert plain.ttft_s.tolist() == pytest.approx([8.0, 8.0])


def test_a_cached_prompt_costs_less_than_whole_and_more_than_alone():
    trace = with_blocks([[1, 2], [1, 3]], tokens=8192, lengths=[16384, 16384]).scaled(0.01)
    ttft = flowsim.run(trace, "fcfs", slo=10, predictor="exact", prefix_cache="ideal").ttft_s
    alone = flowsim.run(Trace.of([0], [8192]), "fcfs", slo=10, predictor="exact").ttft_s[0]
    assert 1.02 * alone < ttft[1] < 0.9 * ttft[0]


@pytest.mark.parametrize("policy", ["fcfs", "chunked:64", "sjf", "edf", "flowprefill"])
def test_every_policy_takes_cached_prompts(policy):
    trace = with_blocks([[1, 2], [1, 2, 3], [1, 4], [1, 2, 3]] * 5, tokens=100)
    result = flowsim.run(trace.scaled(30), policy, slo=1, prefix_cache="lru:3")
    assert result.summary["finished"] == 20
