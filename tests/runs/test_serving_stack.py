"""The serving stack: times by hand around the device, its file, and the bound beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flowsim
from flowsim.calibration.costs.pass_costs import PassCosts
from flowsim.core.pass_timeline import Slice
from flowsim.core.server import ServerOptions
from flowsim.errors import InputError
from flowsim.results.result import RunResult
from flowsim.runs.serving_stack import read_stack, with_stack
from flowsim.traces.trace import Trace
from flowsim.validation.plan import Plan
from support.costs import pencil


def replayed(*rows: tuple[float, int], policy: str = "fcfs", slo: float = 10.0, **options: Any) -> RunResult:
    arrival_s, tokens = zip(*rows, strict=True)
    options = {"cost": pencil(), "predictor": "exact", "block_tokens": 1, **options}
    return flowsim.run(Trace.of(arrival_s, tokens), policy, slo=slo, events=True, **options)


def test_the_frontend_is_before_the_scheduler_and_after_the_token() -> None:
    """Two prompts of 4 s are sent at 0 and 1 s, arrive 2 s later, and their tokens need 0.5 s to come back."""
    result = replayed((0.0, 4), (1.0, 4), frontend_s=2.0, return_s=0.5)
    assert result.outcome.ledger.started_s == [2.0, 6.0]
    assert result.outcome.ledger.finished_s == [6.0, 10.0]
    assert result.ttft_s.tolist() == [6.5, 9.5]
    assert result.requests["finished_s"].tolist() == [6.5, 10.5]
    assert result.metrics.queueing_s.tolist() == [2.0, 5.0]
    assert result.metrics.paused_s.tolist() == [0.0, 0.0]


def test_the_deadline_is_the_clients() -> None:
    """It takes 7 s from its send to its token, and half a second more to its client."""
    assert replayed((0.0, 4), slo=7.5, frontend_s=3.0, return_s=0.5).attained.tolist() == [True]
    assert replayed((0.0, 4), slo=7.4, frontend_s=3.0, return_s=0.5).attained.tolist() == [False]


def test_policies_see_the_arrival_at_the_server() -> None:
    """Of two sent at once the one whose jitter is shorter is served first."""
    results = [replayed((0.0, 4), (0.0, 4), jitter="exponential:1", seed=seed) for seed in range(8)]
    first = [int(np.argmin(result.outcome.ledger.started_s)) for result in results]
    assert set(first) == {0, 1}
    for result, one in zip(results, first, strict=True):
        started_s = sorted(result.outcome.ledger.started_s)
        assert 0 < started_s[0] < started_s[1] == pytest.approx(started_s[0] + 4.0)
        assert result.events[0][0].request == one  # type: ignore[union-attr]


def test_the_same_seed_draws_the_same_jitter() -> None:
    one, same, other = (replayed((0.0, 4), jitter="lognormal:1:0.5", seed=seed).ttft_s[0] for seed in (1, 1, 2))
    assert one == same != other


def test_the_host_precedes_the_device_in_each_forward() -> None:
    """A forward of two prompts, then one of the rest: 1 s each, and a quarter for each prompt."""
    result = replayed((0.0, 2), (0.0, 4), policy="chunked:4", host_s=1.0, host_request_s=0.25)
    assert result.outcome.ledger.finished_s == [5.5, 8.75]
    assert result.outcome.logs[0].busy_s == 8.75


def test_cuts_follow_the_host_and_the_factor() -> None:
    """After 1 s of the host and operators of 4 s each, the cut after 5 s is the first after a signal at 3 s."""
    result = replayed((0.0, 10), (3.0, 1), policy="flowprefill:cut=operator", slo=60.0, host_s=1.0, device_factor=2.0)
    assert result.blocking_s.size == 0  # both are due in good time, so the first goes on
    server = ServerOptions(host_s=1.0, device_factor=2.0)
    timeline = PassCosts(with_stack(pencil(), server), server, "operator").timeline((Slice(10, 0),))
    assert timeline.next_cut(3.0) == (5.0, 0)
    assert timeline.duration_s == 21.0


def test_a_preemption_blocks_until_the_cut_that_the_stack_moved() -> None:
    trace = Trace.of([0.0, 3.0], [10, 1], slo_s=[100.0, 6.0])
    options = {"slo": "trace", "predictor": "exact", "block_tokens": 1, "cost": pencil()}
    result = flowsim.run(trace, "edf:cut=operator", host_s=1.0, device_factor=2.0, frontend_s=0.5, **options)
    assert result.blocking_s.tolist() == [2.0]  # signalled at 3.5 s, stopped 5 s after its begin at 0.5 s
    assert result.outcome.ledger.finished_s == [24.5, 8.5]


def test_a_summary_states_the_stack() -> None:
    stated = "a serving stack around it: frontend_s 2, jitter exponential:0.004, device_factor 1.105"
    stack = {"frontend_s": 2.0, "jitter": "exponential:0.004", "device_factor": 1.1049791234040396}
    assert stated in replayed((0.0, 4), **stack).summary["inputs"]["cost_model_sources"]
    assert not any("stack" in line for line in replayed((0.0, 4)).summary["inputs"]["cost_model_sources"])


def test_without_a_stack_the_costs_are_the_same_object() -> None:
    costs = pencil()
    assert with_stack(costs, ServerOptions()) is costs


@pytest.mark.parametrize("seed", range(12))
def test_no_policy_exceeds_the_bound_with_a_stack(seed: int) -> None:
    random = np.random.default_rng(seed)
    columns = np.sort(random.uniform(0, 60, 12)).tolist(), random.integers(1, 9, 12).tolist()
    rows = list(zip(*columns, strict=True))
    server = {"frontend_s": float(random.choice([0, 2])), "return_s": float(random.choice([0, 1.5]))}
    server |= {"jitter": str(random.choice(["none", "exponential:2"])), "host_s": float(random.choice([0, 0.5]))}
    server |= {"host_request_s": 0.1, "device_factor": float(random.choice([0.7, 1.3]))}
    for policy in ("fcfs", "edf:cut=operator", "sjf"):
        result = replayed(*rows, policy=policy, slo=9.0, seed=seed, bound=True, **server)
        bound = result.bound
        assert bound is not None
        assert bound.lower <= bound.upper
        assert result.attainment() <= bound.upper


def test_the_frontend_makes_a_request_hopeless() -> None:
    """The linear operators of its 4 tokens take 3.2 s, of which the frontend leaves 3.1 s."""
    result = replayed((0.0, 4), slo=6.6, frontend_s=3.0, return_s=0.5, bound=True)
    assert result.bound is not None
    assert (result.bound.hopeless, result.bound.most) == (1, 0)


def test_a_file_holds_the_stack(tmp_path: Path) -> None:
    file = tmp_path / "stack.yaml"
    file.write_text("server: {frontend_s: 2, return_s: 0.5, jitter: none}\nlog: bench.json\n")
    assert read_stack(str(file)) == {"frontend_s": 2, "return_s": 0.5, "jitter": "none"}
    result = replayed((0.0, 4), stack=str(file))
    assert result.ttft_s.tolist() == [6.5]
    assert result.config["server"]["frontend_s"] == 2
    assert result.config["server"]["stack"] is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("server: {frontends: 2}", "unknown option of the stack 'frontends'; did you mean 'frontend_s'?"),
        ("server: {slots: 2}", "unknown option of the stack 'slots'"),
        ("server: {host_s: -2}", "host_s must be >= 0, got -2"),
        ("frontend_s: 2", "has no options of the stack; expected server: with some of frontend_s, jitter, "),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "stack.yaml"
    file.write_text(text)
    with pytest.raises(InputError) as error:
        replayed((0.0, 4), stack=str(file))
    assert str(file) in str(error.value)
    assert said in str(error.value)


def test_a_file_and_an_option_of_the_stack_are_one_too_many() -> None:
    with pytest.raises(InputError, match="stack: is given together with options of the stack"):
        flowsim.run("example", stack="x.yaml", host_s=1.0)


def test_a_validation_on_a_gpu_has_no_stack() -> None:
    with pytest.raises(InputError, match="stack: is not an option of a validation"):
        Plan({"trace": "example", "server.host_s": 1.0})  # type: ignore[arg-type]
