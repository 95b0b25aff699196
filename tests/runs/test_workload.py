"""The workload of a run: classes that are drawn, rates by class, and mixes, in options and in SLO files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flowsim
from flowsim.errors import InputError
from flowsim.runs.options import RunOptions, SLOOptions
from flowsim.runs.prepare import Given, Prepared, prepare
from flowsim.runs.workload import WorkloadOptions
from support.costs import pencil

SLOS = {"text": 0.25, "image": 0.5, "search": 4, "file": 6}


def prepared(trace: flowsim.Trace, slo: Any, seed: int = 0, shares: Any = None, **workload: Any) -> Prepared:
    slos = SLOOptions(mix=slo, shares=shares)
    options = RunOptions(trace="t", seed=seed, slo=slos, workload=WorkloadOptions(**workload), predictor="exact")
    return prepare(options, Given(trace, cost=pencil()))


def test_shares_give_classes_to_a_trace_without(tmp_path: Path) -> None:
    path = tmp_path / "mix.yaml"
    path.write_text("ttft_s: {chat: 0.5, batch: 20}\nshares: {chat: 3, batch: 1}\nslo_scale: 2\n")
    trace = flowsim.Trace.of(np.arange(4000), np.full(4000, 100))
    ready = prepared(trace, str(path), seed=1)
    assert ready.slo.class_names == ("chat", "batch")
    assert np.mean(ready.slo.class_code == 0) == pytest.approx(0.75, abs=0.03)
    assert set(ready.slo.ttft_slo_s.tolist()) == {1.0, 40.0}
    assert "classes drawn in shares chat 3, batch 1 (seed 1)" in ready.slo.rule
    assert (prepared(trace, str(path), seed=1).slo.class_code == ready.slo.class_code).all()
    assert (prepared(trace, str(path), seed=2).slo.class_code != ready.slo.class_code).any()


def test_what_an_slo_file_says_of_the_workload_is_written_into_the_options(tmp_path: Path) -> None:
    path = tmp_path / "mix.yaml"
    path.write_text("ttft_s: {chat: 0.5, batch: 20}\nshares: {chat: 3, batch: 1}\n")
    trace = flowsim.Trace.of(np.arange(40), np.full(40, 100))
    ready = prepared(trace, str(path))
    assert ready.options.slo.shares == {"chat": 3.0, "batch": 1.0}
    again = prepare(ready.options, Given(trace, cost=pencil()))
    assert again.options == ready.options
    assert (again.slo.class_code == ready.slo.class_code).all()
    own = prepared(trace, str(path), shares={"chat": 1})
    assert own.slo.class_names == ("chat",)


def test_shares_in_a_file_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "mix.yaml"
    for shares, message in (("{chat: x}", r"\.chat must be a number >= 0, got 'x'"), ("[1]", " must be a mapping")):
        path.write_text(f"ttft_s: {{chat: 0.5, batch: 20}}\nshares: {shares}\n")
        with pytest.raises(InputError, match=f"shares of the SLO file{message}"):
            prepared(flowsim.Trace.of([0], [1]), str(path))


def test_by_overrules_the_traces_classes() -> None:
    trace = flowsim.example_trace()
    assert prepared(trace, {"ttft_s": SLOS, "by": "length"}).slo.class_names[0] == "<=1k"
    drawn = prepared(trace, {"ttft_s": SLOS, "by": "shares"}, shares={"text": 1})
    assert drawn.slo.class_names == ("text",)


def test_rates_and_a_mix_reach_the_run() -> None:
    slo = flowsim.SLOMix("mine", {"text": 1, "search": 4})
    result = flowsim.run("example", "fcfs", slo=slo, rates={"text": 3, "search": 1})
    assert result.trace.rate_rps == pytest.approx(4, rel=0.01)
    assert result.summary["classes"]["search"]["requests"] == 100
    for mix in ("text=.5,search=.5", {"text": 0.5, "search": 0.5}):
        mixed = flowsim.run("example", "fcfs", mix=mix)
        assert mixed.summary["classes"]["search"]["requests"] == 200
        assert mixed.config["workload"]["mix"] == mix


def test_a_rate_is_that_of_the_replayed_part() -> None:
    ready = prepared(flowsim.example_trace(), 1.0, window="0:50", rate_rps=10)
    assert ready.trace.rate_rps == pytest.approx(10)


@pytest.mark.parametrize(
    ("slo", "workload", "message"),
    [
        ({"by": "shares"}, {}, "SLO mix 'custom': draws classes in shares \\(slo\\.shares\\), and there are none"),
        ({"by": "clas"}, {}, "did you mean 'class'"),
        ({}, {"shares": {"txt": 1}}, "did you mean 'text'"),
        ({}, {"shares": {"text": 0}}, "sum of the shares must be > 0 and <= 1 .*, got 0"),
        ({}, {"rates": [1]}, r"rates must be a mapping \(each value a number > 0\), got \[1\]"),
        ({}, {"rates": {"text": 1}, "mix": "text=1"}, "mix: is given together with rates"),
        ({}, {"rates": {"text": 1}, "shares": {"file": 1}}, "shares: differ in proportion from rates"),
        ({}, {"rate_rps": 1, "rate_scale": 2}, "rate_rps: is given together with rate_scale"),
        ({}, {"window": "5"}, "window must be FROM:TO in seconds, with 0 <= FROM < TO, got '5'"),
    ],
)
def test_what_does_not_go_together_is_refused(slo: dict[str, Any], workload: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        prepared(flowsim.Trace.of(range(9), [1] * 9), {"ttft_s": {"text": 1}, **slo}, **workload)
