"""From the options of a run to all that it needs; and a config.yaml, which means the same wherever it is read."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import flowsim
from flowsim.core.prefix_cache import Prefixes, Retention
from flowsim.core.server import ServerOptions
from flowsim.core.slo_mix import SLOMix
from flowsim.errors import InputError
from flowsim.policies.catalogue import TABLE
from flowsim.policies.chunked import Chunked
from flowsim.policies.edf import EDF
from flowsim.runs.options import RunOptions, from_values
from flowsim.runs.prepare import Given, prepare, read_input
from flowsim.runs.run import execute, run
from flowsim.runs.slos import slo_file
from flowsim.studies.sweep import load_runs
from flowsim.traces import Trace, reusable_tokens, write_trace
from support.cli import done
from support.costs import pencil
from support.traces import with_blocks

THREE = Trace.of([0, 1, 2], [3, 1, 2], classes=["long", "short", "short"], name="three")


def options(**values: Any) -> RunOptions:
    return from_values({"trace": "three", "policy": "chunked:512", "slo": "long=4,short=2", **values})


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a trace and an SLO mix in it."""
    monkeypatch.chdir(tmp_path)
    write_trace(flowsim.example_trace().head(60), "trace.jsonl")
    Path("mix.yaml").write_text("name: mine\nttft_s: {text: 0.3, '*': 2.0}\n")
    return tmp_path


def test_what_a_run_needs() -> None:
    given = Given(THREE, cost=pencil())
    ready = prepare(options(**{"workload.rate_scale": 2, "slo.scale": 3, "predictor": "exact"}), given)
    assert ready.policy == Chunked(512)
    assert ready.loaded is THREE
    assert ready.trace.arrival_s.tolist() == [0.0, 0.5, 1.0]
    assert ready.slo.ttft_slo_s.tolist() == [12.0, 6.0, 6.0]
    assert ready.costs.model is given.cost
    assert (ready.prefixes, ready.blocks) == (None, None)
    assert ready.options.slo.mix == SLOMix("long=4,short=2", {"long": 4.0, "short": 2.0}).to_dict()
    one, *_ = ready.requests()
    assert (one.id, one.arrival_s, one.tokens, one.deadline_s, one.class_name) == (0, 0.0, 3, 12.0, "long")
    assert ready.requests()[0] is not one


def test_objects_stand_in_place_of_what_the_options_name() -> None:
    ready = prepare(options(policy="fcfs", trace="absent.jsonl", cost="absent"), Given(THREE, EDF(), pencil()))
    assert (ready.loaded, ready.policy, ready.costs.model.name) == (THREE, EDF(), "pencil")


def test_a_prefix_cache_reuses_the_blocks_of_the_trace() -> None:
    trace = with_blocks([[1, 2], [1, 3]], tokens=16, lengths=[32, 32])
    ready = prepare(options(slo=1, **{"workload.prefix_cache": "ideal"}), Given(trace, cost=pencil()))
    assert ready.prefixes == Prefixes(Retention(math.inf, in_memory=False), 16)
    assert ready.blocks is ready.trace.blocks


@pytest.mark.parametrize(
    ("values", "option"),
    [
        ({"policy": "own:Absent"}, "policy"),
        ({"cost": "absent"}, "cost"),
        ({"slo": "nosuchmodel"}, "slo.mix"),
        ({"trace": "absent.jsonl"}, "trace"),
        ({"trace": "synthetic:qwen:few"}, "trace"),
        ({"predictor": "nope"}, "predictor"),
        ({"server.graph_tokens": 2**20}, "server.graph_tokens"),
        ({"workload.prefix_cache": "ideal"}, "workload.prefix_cache"),
        ({"workload.mix": "nosuchclass=1"}, "workload.mix"),
    ],
)
def test_an_error_is_about_an_option(values: dict[str, Any], option: str) -> None:
    with pytest.raises(InputError) as error:
        prepare(from_values({"trace": "example", "workload.limit": 5, **values}))
    assert error.value.option == option


def test_a_synthetic_trace_is_drawn_anew_for_each_seed() -> None:
    first, again, other = (
        read_input(from_values({"trace": "synthetic:qwen:20", "seed": seed})).input_length.tolist()
        for seed in (1, 1, 2)
    )
    assert first == again != other


def test_a_synthetic_trace_may_have_another_arrival_process() -> None:
    poisson, bursty = (
        read_input(from_values({"trace": f"synthetic:qwen:2000{process}", "seed": 1})) for process in ("", ":gamma:4")
    )
    assert np.diff(poisson.arrival_s).std() / np.diff(poisson.arrival_s).mean() == pytest.approx(1, abs=0.1)
    assert np.diff(bursty.arrival_s).std() / np.diff(bursty.arrival_s).mean() == pytest.approx(4, abs=0.8)
    assert bursty.rate_rps == pytest.approx(1, rel=0.3)
    with pytest.raises(InputError, match="unknown arrival process 'bursty'"):
        read_input(from_values({"trace": "synthetic:qwen:20:bursty"}))


def test_slos_are_a_number_a_text_a_mapping_a_file_or_those_of_the_model(here: Path) -> None:
    assert slo_file(0.5, "x").mix == slo_file("0.5", "x").mix == SLOMix.uniform(0.5)
    assert slo_file({"ttft_s": {"*": 1}}, "x").mix.ttft_s == {"*": 1}
    assert slo_file("mix.yaml", "x").mix.name == "mine"
    assert slo_file(None, "llama3-8b").mix == SLOMix.preset("llama3-8b")


# A config.yaml that `flowsim run --out` wrote.

WAYS = [
    (),
    ("--policy", "edf:cut=layer", "--slo", "0.5", "--slo-scale", "2", "--instances", "2", "--router", "least-work"),
    ("--slo", "mix.yaml", "--window", "0.5:", "--limit", "40", "--rate-scale", "3", "--seed", "4", "--warmup", "0.1"),
    ("--mix", "text=.5,search=.5", "--predictor", "noisy:0.2", "--slots", "2", "--kv-tokens", "20000"),
]


@pytest.mark.parametrize("arguments", WAYS)
def test_a_config_gives_one_run_to_run_and_to_a_study(here: Path, arguments: tuple[str, ...]) -> None:
    """The same options, and the same numbers: on the command line, in Python, and as the section `run` of a study."""
    done("run", "trace.jsonl", *arguments, "--out", "first")
    config = yaml.safe_load(Path("first/config.yaml").read_text())
    done("run", "first/config.yaml", "--out", "second")
    assert Path("second/summary.json").read_bytes() == Path("first/summary.json").read_bytes()

    summary = execute(prepare(from_values(config))).summary
    Path("study.yaml").write_text(yaml.safe_dump({"run": config}))
    done("sweep", "study.yaml", "--out", "swept", "--workers", "1")
    (row,) = load_runs("swept").table.to_dict("records")
    for name in ("requests", "finished", "attainment", "goodput_rps"):
        assert row[name] == summary[name], name
    assert (row["ttft_p50_s"], row["ttft_p99_s"]) == (summary["ttft_s"]["p50"], summary["ttft_s"]["p99"])


def test_a_config_may_be_varied_in_a_study(here: Path) -> None:
    done("run", "trace.jsonl", "--slots", "2", "--out", "first")
    config = yaml.safe_load(Path("first/config.yaml").read_text())
    table = flowsim.sweep({"run": config, "axes": {"server.slots": [1, 2]}}, workers=1).table
    for slots, p99_s in zip((1, 2), table["ttft_p99_s"], strict=True):
        other = run("trace.jsonl", slots=slots).summary["ttft_s"]["p99"]
        assert p99_s == other and math.isfinite(other)
    assert table["server.instances"].tolist() == [ServerOptions().instances] * 2


# Runs with a prefix cache: cached tokens are not computed, but attended to; figures and files say how many.


def test_cached_tokens_are_attended_to_but_not_computed() -> None:
    cost = pencil()
    trace = with_blocks([[1, 2], [1, 3]], tokens=4, lengths=[8, 8]).scaled(0.01)
    server = flowsim.ServerOptions(block_tokens=4)
    result = flowsim.run(trace, "fcfs", cost=cost, slo=1000, predictor="exact", prefix_cache="ideal", server=server)
    assert result.ttft_s.tolist() == pytest.approx([8.0, 4.0])  # one second per token
    assert result.requests["cached_tokens"].tolist() == [0, 4]
    assert result.summary["inputs"]["cached_share"] == 0.25
    plain = flowsim.run(trace, "fcfs", cost=cost, slo=1000, predictor="exact")
    assert plain.ttft_s.tolist() == pytest.approx([8.0, 8.0])


def test_a_cached_prompt_costs_less_than_whole_and_more_than_alone() -> None:
    trace = with_blocks([[1, 2], [1, 3]], tokens=8192, lengths=[16384, 16384]).scaled(0.01)
    ttft = flowsim.run(trace, "fcfs", slo=10, predictor="exact", prefix_cache="ideal").ttft_s
    alone = flowsim.run(Trace.of([0], [8192]), "fcfs", slo=10, predictor="exact").ttft_s[0]
    assert 1.02 * alone < ttft[1] < 0.9 * ttft[0]


@pytest.mark.parametrize("policy", [*TABLE, "chunked:64"])
def test_every_policy_takes_cached_prompts(policy: str) -> None:
    trace = with_blocks([[1, 2], [1, 2, 3], [1, 4], [1, 2, 3]] * 5, tokens=112)
    result = flowsim.run(trace.scaled(30), policy, slo=1, prefix_cache="lru:3")
    assert result.summary["finished"] + result.summary["rejected"] == 20
    cached = result.requests["cached_tokens"]
    assert 0 < cached.sum() < reusable_tokens(trace).sum()
    assert result.summary["inputs"]["cached_share"] == cached.sum() / trace.input_length.sum()


def test_nothing_is_cached_before_it_is_computed() -> None:
    """The same sixteen blocks twice within a millisecond: no prompt overtakes the one that computes what it reuses."""
    trace = with_blocks([range(16), range(16)], tokens=512, lengths=[8192, 8192]).scaled(1000)
    result = flowsim.run(trace, "sjf:cut=operator", slo=1, prefix_cache="ideal")
    first, second = result.requests["finished_s"]
    assert first == flowsim.run(trace.head(1), "sjf:cut=operator", slo=1).requests["finished_s"][0]
    assert first + 0.005 < second < first + 0.05
    assert result.requests["cached_tokens"].tolist() == [0, 15 * 512]


def test_prefix_blocks_are_whole_kv_blocks() -> None:
    with pytest.raises(InputError, match=r"server\.block_tokens must be a number of which the 4 tokens of the trace's"):
        flowsim.run(with_blocks([[1], [1]]), "fcfs", slo=1, prefix_cache="ideal")
