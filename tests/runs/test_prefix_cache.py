"""Runs with a prefix cache: cached tokens are not computed, but attended to; figures and files say how many."""

import pytest

import flowsim
from flowsim.errors import InputError
from flowsim.policies.catalogue import TABLE
from flowsim.traces import Trace, reusable_tokens
from support.costs import pencil
from support.traces import with_blocks


def test_cached_tokens_are_attended_to_but_not_computed():
    cost = pencil()
    trace = with_blocks([[1, 2], [1, 3]], tokens=4, lengths=[8, 8]).scaled(0.01)
    server = flowsim.ServerOptions(block_tokens=4)
    result = flowsim.run(trace, "fcfs", cost=cost, slo=1000, predictor="exact", prefix_cache="ideal", server=server)
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


@pytest.mark.parametrize("policy", [*TABLE, "chunked:64"])
def test_every_policy_takes_cached_prompts(policy):
    trace = with_blocks([[1, 2], [1, 2, 3], [1, 4], [1, 2, 3]] * 5, tokens=112)
    result = flowsim.run(trace.scaled(30), policy, slo=1, prefix_cache="lru:3")
    assert result.summary["finished"] + result.summary["rejected"] == 20
    cached = result.requests["cached_tokens"]
    assert 0 < cached.sum() < reusable_tokens(trace).sum()
    assert result.summary["inputs"]["cached_share"] == cached.sum() / trace.input_length.sum()


def test_nothing_is_cached_before_it_is_computed():
    """The same sixteen blocks twice within a millisecond: no prompt overtakes the one that computes what it reuses."""
    trace = with_blocks([range(16), range(16)], tokens=512, lengths=[8192, 8192]).scaled(1000)
    result = flowsim.run(trace, "sjf:cut=operator", slo=1, prefix_cache="ideal")
    first, second = result.requests["finished_s"]
    assert first == flowsim.run(trace.head(1), "sjf:cut=operator", slo=1).requests["finished_s"][0]
    assert first + 0.005 < second < first + 0.05
    assert result.requests["cached_tokens"].tolist() == [0, 15 * 512]


def test_prefix_blocks_are_whole_kv_blocks():
    with pytest.raises(InputError, match=r"server\.block_tokens must be a number of which the 4 tokens of the trace's"):
        flowsim.run(with_blocks([[1], [1]]), "fcfs", slo=1, prefix_cache="ideal")
