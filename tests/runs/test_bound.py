"""`flowsim.bound` of traces, with the options of a run."""

from __future__ import annotations

import pytest

import flowsim
from flowsim.errors import InputError


def test_no_policy_exceeds_the_bound_of_the_example() -> None:
    found = flowsim.bound("example", rate_scale=8, warmup=0.1)
    assert found.counted == 360
    for policy in ("fcfs", "chunked:2048", "flowprefill", "flowprefill:cut=layer"):
        assert flowsim.run("example", policy, rate_scale=8, warmup=0.1).summary["attainment"] <= found.upper
    assert 0.95 < found.lower <= found.upper <= 1


def test_prompts_beyond_the_context_are_hopeless() -> None:
    trace = flowsim.Trace.of([0, 1, 2], [100, 60_000, 100])
    found = flowsim.bound(trace, model="qwen3-8b", slo=100)
    assert (found.counted, found.hopeless, found.most, found.least) == (3, 1, 2, 2)


def test_a_replay_that_is_cut_off_has_no_bound() -> None:
    with pytest.raises(InputError, match=r"until_s must be none"):
        flowsim.bound("example", until_s=3.0)
