"""The plan of a validation: its loads, and what it says falls short."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result
from msgspec import structs

import flowsim
from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.fit_record import MeasuredRange
from flowsim.validation.compared import compared_cases
from flowsim.validation.evidence import Evidence
from flowsim.validation.plan import Plan, requests_of, shortfalls
from support.validation import command, invoke

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("hurried")


def test_loads_are_shares_of_the_capacity(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads = ("--load", "0.25", "--load", "0.5", "--duration", "0.1", "--slo", "60")
    arguments = [
        a for a in command("loads", "--repeats", "1", "--policy", "fcfs", *loads) if a not in ("--rate-scale", "4")
    ]
    arguments[arguments.index("flowprefill")] = "chunked:128"
    del arguments[arguments.index("fcfs") - 1 : arguments.index("fcfs") + 1]
    result = invoke(arguments)
    assert result.exit_code == 0, result.output
    rates = {of.case.name: of.case.rate_rps for of in Evidence.load("loads").recorded}
    assert rates["fcfs, 50 %"] == pytest.approx(2 * rates["fcfs, 25 %"], rel=1e-4)
    assert set(rates) == {f"{p}, {load} %" for p in ("fcfs", "chunked:128") for load in (25, 50)}
    arguments[arguments.index("--repeats") + 1] = "2"  # the rates stay, even if a simulation found others by now
    monkeypatch.setattr("flowsim.validation.plan.highest_rates", lambda *given: pytest.fail("searched anew"))
    again = invoke(arguments)
    assert again.exit_code == 0, again.output
    assert again.stderr.count("run 2 of 2") == 4
    assert {of.case.name: of.case.rate_rps for of in Evidence.load("loads").recorded} == rates


def test_a_trace_that_ends_before_the_window_is_said(evidence: tuple[Evidence, Result], here: Path) -> None:
    trace = flowsim.load_trace("trace.jsonl")
    result = invoke(command("short", "--repeats", "1", "--duration", "6"))
    assert result.exit_code == 0, result.output
    said = f"trace.jsonl has 60 requests for a duration of 6 s: they last {trace.span_s / 4:.1f} s"
    assert result.stderr.count(said) == 1
    assert "for a duration of" not in evidence[1].stderr
    cases = [of.case for of in Evidence.load("short").recorded]
    loaded = [structs.replace(cases[0], arrival_s=[t * k for t in cases[0].arrival_s], rate_rps=40 / k) for k in (1, 2)]
    costs = Evidence.load("short").cost
    plan = Plan("trace.jsonl", duration_s=6.0)
    (said,) = shortfalls(plan, requests_of(plan), loaded, costs)
    assert said.endswith(f"they last {trace.span_s / 4:.1f} to {trace.span_s / 2:.1f} s")


def test_prompts_beyond_the_measured_sizes_are_said(evidence: tuple[Evidence, Result], here: Path) -> None:
    case, costs = evidence[0].recorded[0].case, Evidence.load("evidence").cost
    assert costs.provenance is not None
    costs.provenance = replace(costs.provenance, measured=MeasuredRange(tokens=499, chunk_tokens=0, context=0))
    said = f"extrapolated, for they reach beyond the measured sizes: {case.input_length.count(500)} of "
    plan, all_said = Plan("trace.jsonl", rate_scale=4.0), [f"{said}{len(case.input_length)} prompts"]
    whole = requests_of(plan)
    assert list(shortfalls(plan, whole, [case], costs)) == all_said
    spec = structs.replace(costs.provenance.table.model_spec, max_context=499)
    costs.provenance = replace(costs.provenance, table=structs.replace(costs.provenance.table, model_spec=spec))
    deep = f"{case.input_length.count(500)} prompts are longer than the 499 tokens of tiny's context: rejected"
    assert list(shortfalls(plan, whole, [case], costs)) == [deep]
    assert case.simulate(costs).summary["rejected"] == sum(case.rejected(costs)) == case.input_length.count(500)


def test_prompts_that_the_cache_cannot_hold_are_said_and_rejected_in_both(here: Path) -> None:
    result = invoke(command("small", "--repeats", "1", "--kv-tokens", "128"))
    assert result.exit_code == 0, result.output
    (of, _) = Evidence.load("small").recorded
    long = sum(n > 128 for n in of.case.input_length)
    assert long
    assert f"need more KV cache than there is: {long} of {len(of.case.input_length)} prompts" in result.stderr
    assert of.runs[0].finished_s.count(None) == long
    (compared_, _) = compared_cases(Evidence.load("small"))
    assert [r.summary["rejected"] for r in compared_.results.values()] == [long, long]


def test_a_window_in_which_hardly_a_request_arrives_is_refused(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a prompt of ten million tokens any rate is low: two requests would take hours."""
    monkeypatch.setattr(CostModel, "max_context", math.inf)
    trace = flowsim.Trace.of([0.01 * i for i in range(40)], [10_000_000 if i == 6 else 20 for i in range(40)])
    flowsim.traces.write_trace(trace, "rare.jsonl")
    arguments = [a for a in command("rare", "--policy", "fcfs", "--load", "0.5") if a not in ("--rate-scale", "4")]
    result = invoke(["validate", "rare.jsonl", *arguments[2:]])
    assert result.exit_code == 2, result.output
    assert re.search(
        r"--duration: is 0\.6 s, but at \S+ req/s, the rate at this load, 2 requests take \S+ s; ", result.stderr
    )
    assert not Path("rare").exists()


def test_a_cache_that_holds_no_prompt_is_refused(here: Path) -> None:
    result = invoke(command("none", "--kv-tokens", "16"))
    assert result.exit_code == 2
    assert result.stderr.endswith("error: --kv-tokens: is 16, too small for the shortest prompt; expected >= 32\n")
    assert not Path("none").exists()


def test_a_trace_beyond_the_context_names_the_context_and_not_the_cache(here: Path) -> None:
    flowsim.traces.write_trace(flowsim.Trace.of([0.0, 0.5, 1.0], [3000, 2500, 4000]), "deep.jsonl")
    result = invoke(["validate", "deep.jsonl", *command("deep", "--rate-scale", "1", "--duration", "9")[2:]])
    assert result.exit_code == 2
    assert result.stderr.endswith(
        "error: deep.jsonl: has only prompts longer than the model's context, the shortest of 2500 tokens; expected "
        "one of <= 2048 tokens\n"
    )
    assert not Path("deep").exists()


def test_failed_requests_can_be_dropped_and_stamps_left_as_they_are(here: Path) -> None:
    head = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    rows = [f"{i},ChatGPT,{20 * (i != 3)},{i != 3:d},{21 * (i != 3)},Conversation log\n" for i in range(6)]
    Path("failed.csv").write_text(head + "".join(rows))
    arguments = ["validate", "failed.csv", *command("failed", "--rate-scale", "1", "--duration", "9")[2:]]
    refused = invoke(arguments)
    assert refused.exit_code == 2
    assert "failed.csv: line 5" in refused.stderr
    result = invoke([*arguments, "--drop-failed", "--no-spread", "--repeats", "1"])
    assert result.exit_code == 0, result.output
    of = Evidence.load("failed")
    assert [len(recorded.case.arrival_s) for recorded in of.recorded] == [5, 5]
    assert (of.about.options["drop_failed"], of.about.options["spread"]) == (True, False)


def test_a_wrong_plan_is_named_as_it_was_given(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for arguments, said in (
        (["trace.jsonl", "--duration", "5", "--repeats", "0"], "--repeats must be >= 1, got 0"),
        (["trace.jsonl", "--quick", "--seed", "-1"], "--seed must be >= 0, got -1"),
        (["absent.jsonl", "--quick"], "absent.jsonl"),  # and not the GPU, which is absent too
    ):
        result = invoke(["validate", *arguments])
        assert result.exit_code == 2
        assert said in result.stderr


def test_an_interrupted_search_of_rates_leaves_no_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("flowsim.validation.validate.cases_of", interrupted)
    assert invoke(command("norates")).exit_code == 130
    assert not Path("norates").exists()
