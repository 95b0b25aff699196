"""From a trace and a policy to a result, and the record that gives the same run again."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

import flowsim
from flowsim.calibration.costs.table_catalogue import load_table
from flowsim.core.slo_mix import SLOMix
from flowsim.errors import InputError
from flowsim.policies.flowprefill import FlowPrefill
from flowsim.policies.registry import PolicySpec
from flowsim.runs.costs import load_cost
from flowsim.runs.options import RunOptions, SLOOptions
from flowsim.runs.options_file import read_options
from flowsim.runs.prepare import make_requests
from flowsim.runs.run import run
from flowsim.runs.workload import WorkloadOptions
from flowsim.runs.workload import replayed as replayed_part
from flowsim.traces import Trace
from support.costs import pencil
from support.runs import replayed, same_files, three


def test_a_run_by_hand() -> None:
    """3 tokens, then the two that came meanwhile together."""
    result = replayed()
    assert result.requests["finished_s"].tolist() == [3.0, 6.0, 6.0]
    assert result.requests["attained"].tolist() == [True, False, True]
    assert result.summary["goodput_rps"] == 2 / 3 * result.trace.rate_rps
    assert result.summary["attained_with_drain_rps"] == 2 / 6


def test_inputs_say_what_went_in(folder: Path) -> None:
    inputs = run("trace.jsonl", seed=3, predictor="noisy:0.1").summary["inputs"]
    digest = hashlib.sha256((folder / "trace.jsonl").read_bytes()).hexdigest()
    table = load_table("h200", "llama3-8b")
    assert set(inputs) >= {"trace_sha256", "cost_model", "cost_model_error", "slo", "seed", "version"}
    assert (inputs["trace"], inputs["trace_sha256"]) == ("trace.jsonl", digest)
    assert (inputs["cost_model"], inputs["cost_model_sha256"]) == ("h200/llama3-8b/tp1", table.digest())
    assert inputs["cost_model_error"]["whole prompt, from 1024 tokens"]["median"] < 0.05
    assert inputs["slo"] == "llama3-8b: by class: text 0.25 s, image 0.5 s, search 4 s, file 6 s"
    assert (inputs["seed"], inputs["predictor"], inputs["version"]) == (3, "noisy:0.1", version("flowsim"))


@pytest.mark.parametrize(
    ("trace", "said"),
    [("./trace.jsonl", "trace.jsonl"), ("example", "example"), ("synthetic:qwen:40", "synthetic:qwen:40")],
)
def test_a_summary_names_the_trace_as_it_was_asked_for(folder: Path, trace: str, said: str) -> None:
    assert run(trace, limit=5).summary["inputs"]["trace"] == said


def test_the_window_is_taken_first_then_the_limit_then_the_rate() -> None:
    trace = Trace.of([0, 10, 20, 30, 40], [1, 2, 3, 4, 5])
    part = replayed_part(trace, WorkloadOptions(rate_scale=2, limit=2, window=(15, 100)), 0)
    assert part.input_length.tolist() == [3, 4]
    assert part.arrival_s.tolist() == [0, 5]
    assert replayed_part(trace, WorkloadOptions(), 0) is trace


def test_the_hash_in_inputs_is_that_of_the_file_even_of_a_part(folder: Path) -> None:
    inputs = run("trace.jsonl", limit=5, rate_scale=2).summary["inputs"]
    assert inputs["trace_sha256"] == hashlib.sha256((folder / "trace.jsonl").read_bytes()).hexdigest()
    assert [notice.split(" (")[0] for notice in inputs["trace_notices"]] == ["first 5 requests", "rate scaled by 2"]


def test_requests_without_an_slo_have_no_deadline() -> None:
    trace = three()
    requests = make_requests(trace, SLOMix("mix", {"long": 4.0}).assign(trace), flowsim.ServerOptions(block_tokens=2))
    assert [r.deadline_s for r in requests] == [4.0, math.inf, math.inf]
    assert [(r.id, r.class_name, r.kv_tokens) for r in requests] == [(0, "long", 4), (1, "short", 2), (2, "short", 2)]


def test_slos_are_a_mix_a_number_or_a_text() -> None:
    expected = [2.0, 2.0, 2.0]
    for slo in (2, 2.0, "2", SLOMix.uniform(2), "long=2,*=2"):
        assert replayed(slo=slo).slo.ttft_slo_s.tolist() == expected
    assert replayed(slo=1, slo_scale=2.0).slo.ttft_slo_s.tolist() == expected


def test_until_stops_and_leaves_the_rest_unfinished() -> None:
    result = replayed(until_s=4.0)
    assert result.requests["state"].tolist() == ["finished", "unfinished", "unfinished"]
    assert (result.summary["utilization"], result.summary["span_s"]) == (1.0, 4.0)


def test_a_request_larger_than_the_cache_is_rejected() -> None:
    result = replayed(server=flowsim.ServerOptions(kv_tokens=2, block_tokens=1))
    assert result.requests["state"].tolist() == ["rejected", "finished", "finished"]
    assert result.summary["attainment"] == 2 / 3


def test_progress_is_told_and_reaches_the_end() -> None:
    seen: list[tuple[int, int]] = []
    trace = Trace.of(range(3000), [1] * 3000)
    run(
        trace,
        "fcfs",
        cost=pencil(),
        slo=1.0,
        predictor="exact",
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(1000, 3000), (2000, 3000), (3000, 3000)]


class Plain:
    """A policy with the attributes that it is given."""

    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)

    def choose(self, view: Any) -> None:
        """Nothing."""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "seed must be >= 0, got -1"),
        ({"until_s": 0.0}, "until_s must be > 0, got 0.0"),
        ({"until_s": math.inf}, r"until_s must be <= 2\^53, got inf"),
        ({"window": (2, 1)}, r"window must be FROM:TO in seconds, with 0 <= FROM < TO, got \[2.0, 1.0\]"),
        ({"window": (0, math.nan)}, r"window must be FROM:TO in seconds, with 0 <= FROM < TO, got \[0.0, nan\]"),
        ({"rate_scale": 1e-300}, "rate factor must be finite and > 0, .* got 1e-300"),
        ({"slo": -1}, "slo must be > 0, got -1"),
        ({"policy": object()}, "policy object: has no method choose"),
        ({"policy": Plain}, r"policy: must be an object, got the class Plain; expected Plain\(\)"),
        ({"policy": Plain()}, "policy Plain: has no attribute cut; expected one of "),
        ({"policy": Plain(cut=3, wake="events")}, "unknown cut 3"),
        ({"policy": Plain(cut=[], wake="cuts")}, r"unknown cut \[\]"),
        ({"policy": Plain(cut="layer")}, "policy Plain: has no attribute wake; expected one of 'events', 'cuts'"),
        ({"policy": Plain(cut="layer", wake=3)}, "unknown wake 3"),
        ({"server": flowsim.ServerOptions(slots=3), "slots": 4}, "slots: is given twice"),
        ({"slots": 4, "server": {"slots": 3}}, "slots: is given twice"),
        ({"slo_scale": 2, "slo.scale": 3}, "slo.scale: is given twice"),
        ({"workload": {"limit": 10}, "limit": 20}, "limit: is given twice"),
    ],
)
def test_wrong_arguments_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replayed(**options)


@pytest.mark.parametrize("slo", [{"long": 4, "*": 2.0}, "long=4,*=2", {"ttft_s": {"long": 4, "*": 2}}])
def test_slos_by_class_are_a_mapping_a_text_or_a_mix(slo: Any) -> None:
    assert replayed(slo=slo).slo.ttft_slo_s.tolist() == [4.0, 2.0, 2.0]


def test_options_made_in_python_take_plain_values(folder: Path) -> None:
    plain = RunOptions(trace="trace.jsonl", policy="fcfs", slo=0.5)  # type: ignore[arg-type]
    assert plain == RunOptions(trace="trace.jsonl", policy=PolicySpec("fcfs"), slo=SLOOptions(mix=0.5))
    assert run(plain).summary == run("trace.jsonl", "fcfs", slo=0.5).summary
    with pytest.raises(InputError, match="seed: is given together with RunOptions; expected one of them"):
        run(plain, seed=0)
    with pytest.raises(InputError, match="policy: is given together with RunOptions"):
        run(plain, "sjf")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: flowsim.capacity("example", replications="x"), "replications must be a whole number >= 1, got 'x'"),
        (lambda: flowsim.capacity("example", "fcfs"), "policies must be a list (each item non-empty text), got 'fcfs'"),
        (lambda: flowsim.capacity("example", tolerance=0), "tolerance must be >= 1e-06, got 0"),
        (lambda: flowsim.capacity(3), "trace must be the name of a trace, or a list of such names, got 3"),
        (lambda: flowsim.tradeoff(3), "cost must be a cost model, as flowsim.load_cost gives it, got 3"),
        (lambda: load_cost(None, gpu=3), "gpu must be text, got 3"),
        (lambda: load_cost(3), "folder must be text, got 3"),
        (lambda: load_cost(None, tp="x"), "tp must be a whole number >= 1, got 'x'"),
    ],
)
def test_wrong_arguments_of_other_functions_are_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError) as refused:
        call()
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("trace", "got"),
    [(None, "nothing"), (3, "3"), (pd.DataFrame({"arrival_s": [0.0, 1.0]}), "a DataFrame"), (Trace, "the class Trace")],
)
def test_what_is_no_trace_is_named(trace: Any, got: str) -> None:
    with pytest.raises(InputError, match=f"^trace must be a Trace, or the name of one, got {got}$"):
        run(trace)


def test_of_a_struct_only_what_differs_from_the_defaults_is_given() -> None:
    result = replayed(server=flowsim.ServerOptions(instances=2), slots=4)
    assert result.config["server"] == msgspec.to_builtins(flowsim.ServerOptions(instances=2, slots=4))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"policy": "flowprefill:cut=layer,reserve=0.2", "slo": "text=0.3,*=2", "slo_scale": 1.5},
        {"rate_scale": 3, "limit": 30, "window": (1, math.inf), "until_s": 5.0, "seed": 7, "predictor": "noisy:0.3"},
        {
            "server": flowsim.ServerOptions(instances=2, router="least-work", slots=4, kv_tokens=50000),
            "format": "flowsim",
        },
        {"rate_scale": np.float64(2), "limit": np.int64(9), "seed": np.int64(3), "window": (np.float64(0), 9.0)},
    ],
)
def test_a_config_gives_the_same_run_again(folder: Path, options: dict[str, Any]) -> None:
    run("trace.jsonl", **options).save("first")
    run(read_options("first/config.yaml")).save("second")
    same_files(folder / "first", folder / "second")


def test_a_config_gives_a_run_with_an_own_table_again(folder: Path) -> None:
    load_table("h200", "llama3-8b").save("table")
    run("trace.jsonl", cost="table").save("first")
    run(read_options("first/config.yaml")).save("second")
    same_files(folder / "first", folder / "second")
    shipped = run("trace.jsonl").summary
    assert run("trace.jsonl", cost="table").summary == shipped


def test_a_policy_given_as_an_object_is_recorded_as_its_specification(folder: Path) -> None:
    run("trace.jsonl", FlowPrefill(cut="block", batch_tokens=512)).save("first")
    run("trace.jsonl", "flowprefill:cut=block,batch_tokens=512").save("second")
    same_files(folder / "first", folder / "second")


def test_a_built_in_trace_is_recorded_by_name(folder: Path) -> None:
    config = run("example", limit=5).config
    assert config["trace"] == "example"


def test_what_was_built_in_memory_is_not_taken_for_something_else(folder: Path) -> None:
    replayed().save("out")
    options = read_options("out/config.yaml")
    assert (options.trace, options.cost) == ("built in memory", "pencil (given in Python, in no table)")
    with pytest.raises(InputError, match="pencil"):
        run(options)


def test_a_mix_and_rates_exclude_each_other() -> None:
    slo, rates = SLOMix("mine", {"text": 1.0, "search": 4.0}), {"text": 3.0, "search": 1.0}
    with pytest.raises(
        InputError, match="mix: is given together with rates, which are a mix too; expected one of them"
    ):
        flowsim.run("example", slo=slo, mix="text=.5", rates=rates)


def test_prompts_longer_than_the_context_of_the_model_are_rejected_and_said() -> None:
    trace = Trace.of([0.0, 0.5, 1.0, 1.2, 5.0], [60_000, 500, 120_000, 800, 40_960])
    result = run(trace, "fcfs", model="qwen3-8b", slo=1.0)
    assert result.requests["state"].tolist() == ["rejected", "finished", "rejected", "finished", "finished"]
    said = "2 prompts are longer than the 40,960 tokens of qwen3-8b's context: rejected"
    assert result.summary["inputs"]["trace_notices"][-1] == said
    assert result.summary["inputs"]["trace_notices"][-2].startswith("1 prompt of more than 20,480 tokens, to which the")
    exact = run(trace, "fcfs", model="qwen3-8b", slo=1.0, predictor="exact")
    assert exact.summary["inputs"]["trace_notices"] == [*trace.notices, said]
    assert result.summary["inputs"]["extrapolated"] == 0
    one = flowsim.compare(trace.head(1), ["fcfs", "edf"], model="qwen3-8b", slo=1.0)
    for of in one.results.values():
        assert of.summary["inputs"]["trace_notices"][-1].startswith("1 prompt is longer than")
        assert (of.summary["rejected"], of.summary["attainment"]) == (1, 0.0)
