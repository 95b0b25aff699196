"""The fitted stack: a known one is found within its interval, and what cannot be told apart is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flowsim
from benchmarks.stack_coverage import served
from flowsim.errors import InputError
from flowsim.runs.options import RunOptions, from_values
from flowsim.runs.serving_stack import read_stack
from flowsim.traces.trace import Trace
from flowsim.validation.evidence import Evidence
from flowsim.validation.stack_fit import StackFit, fit_stack, ran_alone
from support.places import ROOT

REAL = ROOT / "tests" / "data" / "evidence" / "h200-llama3-8b-qwen-full"

RUN: RunOptions = from_values({"trace": "log", "policy": "fcfs", "slo": 100.0})
NAN = float("nan")
STACK: dict[str, Any] = {"frontend_s": 0.02, "return_s": 0.003, "jitter": "exponential:0.004", "device_factor": 1.06}


def inside(fit: StackFit, name: str, value: float) -> bool:
    return fit.estimates[name].low <= value <= fit.estimates[name].high


@pytest.fixture
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals from a few resamples, for tests of all but the intervals."""
    monkeypatch.setattr("flowsim.validation.stack_fit.DRAWS", 20)


def test_who_ran_alone() -> None:
    """The second came before the first had its last token; the fourth failed; the fifth met the sixth."""
    arrival_s, ttft_s = [0.0, 2.0, 9.0, 20.0, 30.0, 31.0, 40.0], [1.0, 1.0, 1.0, NAN, 1.5, 1.0, 1.0]
    latency_s = [3.0, 1.0, NAN, NAN, 1.5, 1.0, 1.0]
    trace = Trace.of(arrival_s, [5] * 7, ttft_s=ttft_s, latency_s=latency_s)
    assert ran_alone(trace).tolist() == [True, False, True, False, False, False, True]


def test_a_known_stack_is_found_within_its_intervals() -> None:
    found, wanted = 0, 0
    for seed in range(3):
        fit = fit_stack(served(seed, host_s=0.002, **STACK), RUN)
        factor = fit.estimates["device_factor"]
        assert factor.value == pytest.approx(1.06, abs=0.01)
        assert fit.estimates["frontend_s"].value == pytest.approx(0.023, abs=0.003)
        found += inside(fit, "device_factor", 1.06)
        wanted += 1
        found += inside(fit, "host_s", 0.002) and inside(fit, "frontend_s", 0.023)
        wanted += 1
        assert fit.after_s < fit.before_s / 5
    assert found >= wanted - 1


@pytest.mark.usefixtures("few_draws")
@pytest.mark.parametrize(("jitter", "median_s"), [("none", 0.0), ("lognormal:0.02:0.3", 0.02)])
def test_other_jitters(jitter: str, median_s: float) -> None:
    """How a lognormal jitter and the constant share their sum is less certain than the sum."""
    fit = fit_stack(served(1, most=8000, frontend_s=0.05, jitter=jitter, device_factor=0.95), RUN)
    kind, *parameters = fit.server["jitter"].split(":")
    assert kind == jitter.partition(":")[0]
    assert fit.estimates["device_factor"].value == pytest.approx(0.95, abs=0.02)
    found_s = fit.server["frontend_s"] + (float(parameters[0]) if parameters else 0.0)
    assert found_s == pytest.approx(0.05 + median_s, abs=0.002)


def test_a_stack_around_runs_on_a_gpu() -> None:
    """Recorded TTFTs of an H200, times 1.06, plus 20 ms and an exponential jitter: the fit finds what was added."""
    recorded = next(one for one in Evidence.load(REAL).recorded if one.case.policy == "fcfs:8192" and one.runs)
    case, gpu_run = recorded.case, recorded.runs[0]
    ttft_s = np.array(gpu_run.finished_s, float) - np.array(case.arrival_s)
    jitter_s = np.random.default_rng(3).exponential(0.004, ttft_s.size)
    log = Trace.of(case.arrival_s, case.input_length, ttft_s=0.02 + 1.06 * ttft_s + jitter_s)
    fit = fit_stack(log, from_values({"trace": "log", "policy": "fcfs:8192", "cost": str(REAL / "table")}))
    assert inside(fit, "frontend_s", 0.02)
    assert inside(fit, "device_factor", 1.06)
    assert inside(fit, "jitter MEAN", 0.004)


def test_a_profile_is_enough() -> None:
    """One request after another: the device rests for the constant's time only, which the fit must know."""
    tokens = np.exp(np.random.default_rng(4).uniform(np.log(100), np.log(20_000), 120)).astype(np.int64)
    stack = {**STACK, "host_s": 0.002}
    ran = flowsim.run(Trace.of([0] * 120, tokens), "fcfs", slo=100, bound=False, concurrency=1, seed=4, **stack)
    arrival_s = np.concatenate(([0.0], np.cumsum(ran.ttft_s)[:-1]))
    fit = fit_stack(replace(Trace.of(arrival_s, tokens, ttft_s=ran.ttft_s), concurrency=1), RUN)
    assert fit.alone == 120
    assert inside(fit, "device_factor", 1.06)
    assert inside(fit, "host_s", 0.002)
    assert inside(fit, "frontend_s", 0.023)


@pytest.mark.usefixtures("few_draws")
@pytest.mark.parametrize("seed", [3, 4])
def test_a_profile_of_prompts_of_one_forward_says_nothing_of_the_host(seed: int) -> None:
    """More host time lets the device rest for longer before the next request, so it helps some TTFTs more than others.

    That does not show several forwards.
    """
    tokens = np.random.default_rng(seed).integers(100, 8000, 250)
    stack: dict[str, Any] = {"frontend_s": 0.02, "jitter": "exponential:0.005", "device_factor": 1.1}
    ran = flowsim.run(Trace.of([0] * 250, tokens), "fcfs", slo=100, bound=False, concurrency=1, seed=seed, **stack)
    arrival_s = np.concatenate(([0.0], np.cumsum(ran.ttft_s)[:-1]))
    fit = fit_stack(replace(Trace.of(arrival_s, tokens, ttft_s=ran.ttft_s), concurrency=1), RUN)
    assert fit.alone == 250
    assert set(fit.server) == {"frontend_s", "jitter", "device_factor"}
    assert fit.server["device_factor"] == pytest.approx(1.1, abs=0.01)
    assert fit.server["frontend_s"] == pytest.approx(0.02, abs=0.002)
    assert "take the same number of forwards" in " ".join(fit.cannot_tell)


@pytest.mark.usefixtures("few_draws")
def test_prompts_of_several_forwards_are_left_out_if_there_are_few() -> None:
    """The host time of their further forwards, partly hidden by the device, would be in the factor."""
    log = served(2, most=8000, host_s=0.01, **STACK)
    tokens = np.array([18_000, 19_000, 20_000])
    ran = flowsim.run(Trace.of([0, 9, 18], tokens), "fcfs", slo=100, bound=False, seed=3, host_s=0.01, **STACK)
    ends_s = log.arrival_s[-1] + 9.0
    both = Trace.of(
        np.concatenate((log.arrival_s, ends_s + ran.trace.arrival_s)),
        np.concatenate((log.input_length, tokens)),
        ttft_s=np.concatenate((log.ttft_s, ran.ttft_s)),
    )
    fit = fit_stack(both, RUN)
    assert any("but for 3, which are left out" in line for line in fit.cannot_tell)
    assert fit.estimates["device_factor"] == fit_stack(log, RUN).estimates["device_factor"]


@pytest.mark.usefixtures("few_draws")
def test_what_cannot_be_told_apart_is_said() -> None:
    """Prompts of one forward say nothing of the host's time, and those of one length nothing of the factor."""
    told = " ".join(fit_stack(served(2, most=8000, **STACK), RUN).cannot_tell)
    assert "return_s is included in frontend_s" in told
    assert "host_s is included in frontend_s" in told
    assert "device_factor" not in told
    fit = fit_stack(served(2, most=101, n=80, **STACK), RUN)
    assert any("device_factor is included in frontend_s" in line for line in fit.cannot_tell)
    assert set(fit.server) == {"frontend_s", "jitter"}


@pytest.mark.usefixtures("few_draws")
def test_the_file_is_a_stack(tmp_path: Path) -> None:
    log = served(0, most=8000, **STACK)
    fit = fit_stack(log, RUN)
    fit.save(tmp_path / "stack.yaml")
    assert read_stack(str(tmp_path / "stack.yaml")) == pytest.approx(fit.server)
    again = flowsim.run(log, "fcfs", slo=100, bound=False, stack=str(tmp_path / "stack.yaml"))
    assert np.median(again.ttft_s) == pytest.approx(np.median(log.ttft_s), rel=0.03)


@pytest.mark.parametrize(
    ("trace", "run", "said"),
    [
        (Trace.of([0, 1], [5, 5]), RUN, "has no measured TTFTs; expected the log of a server"),
        (Trace.of([0, 9], [5, 5], ttft_s=[1, 1]), RUN, "has 2 requests that ran alone; expected >= 20"),
        (
            Trace.of(np.arange(30) * 9, [5] * 30, ttft_s=[1] * 30),
            from_values({"trace": "log", "server.host_s": 1.0}),
            "stack: is given to a fit",
        ),
    ],
)
def test_logs_that_cannot_be_fitted(trace: Trace, run: RunOptions, said: str) -> None:
    with pytest.raises(InputError) as error:
        fit_stack(trace, run)
    assert said in str(error.value)
