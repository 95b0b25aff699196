"""A pass as a policy names it, and as an instance executes it."""

from __future__ import annotations

from msgspec.structs import force_setattr

from flowsim.core.pass_timeline import Forward, Timeline
from flowsim.core.passes import Execution, Pass
from flowsim.core.request import Request


def timeline(tokens: int) -> Timeline:
    return Timeline([Forward(tokens, (), 0.0, 1, float(tokens), float(tokens))], "none")


def test_a_whole_pass_computes_what_is_left_of_each_request() -> None:
    begun, fresh = Request(0, 0.0, 10, 1.0, context=7), Request(1, 0.0, 4, 1.0)
    assert Pass.whole(begun, fresh) == Pass(((begun, 3), (fresh, 4)))


def test_an_execution_is_ranked_as_its_head_and_counts_the_whole_batch() -> None:
    head = Request(3, 2.0, 10, 5.0, "text", predicted_s=1.5)
    other = Request(1, 0.0, 4, 1.0, "search", predicted_s=9.0)
    execution = Execution.of(((head, 6), (other, 4)), timeline(10))
    assert (execution.id, execution.arrival_s, execution.slo_s, execution.deadline_s) == (3, 2.0, 5.0, 7.0)
    assert (execution.class_name, execution.predicted_s) == ("text", 1.5)
    force_setattr(head, "predicted_whole_s", 2.5)
    assert execution.predicted_whole_s == 2.5
    assert (execution.members, execution.shares) == ((3, 1), (6, 4))
    assert (execution.tokens, execution.batch_tokens) == (10, 10)
    assert (execution.elapsed_s, execution.taken_s, execution.passed) == (0.0, 0.0, -1)
    assert execution.requests == [head, other]
    force_setattr(execution, "tokens", 4)
    assert repr(execution) == "Execution(requests 3, 1; 4 of 10 tokens left)"
