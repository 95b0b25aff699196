"""The search for the highest sustained rate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flowsim
from flowsim.errors import InputError
from flowsim.studies.intervals import Interval, t_interval
from flowsim.studies.point import Point, run_point
from flowsim.studies.search import Search, empties, gives_way, highest_rate, late, starved
from support.costs import pencil
from support.places import SHARED_TRACES

TRACES = SHARED_TRACES
MIDDLE = "49.97485326297043"  # where the second half of example begins, from 10 s
OPTIONS = {"trace": "synthetic:qwen:600", "warmup": 0.1}
POINT = Point.of(OPTIONS)


def point(**options: Any) -> Point:
    return Point.of({**OPTIONS, **options})


def steady(gap_s: float, tokens: Sequence[int]) -> flowsim.RunResult:
    """The result of requests at equal gaps, at one second a token."""
    trace = flowsim.Trace.of(np.arange(len(tokens)) * gap_s, tokens)
    return flowsim.run(trace, "fcfs", cost=pencil(), slo="10", predictor="exact")


def test_a_queue_that_only_grows_never_empties() -> None:
    assert empties(steady(1.01, [1] * 60))
    assert not empties(steady(0.99, [1] * 60))


def test_a_request_left_behind_for_good_is_a_growing_queue_however_well_the_others_fare() -> None:
    arrival_s = [0.0, 0.5, *(np.arange(1, 120) * 0.999)]  # a short one always waits when another is done
    trace = flowsim.Trace.of(arrival_s, [2, 30] + [1] * 119)
    crowded = flowsim.run(trace, "sjf:2", cost=pencil(), slo="10", predictor="exact")
    assert crowded.summary["attainment"] == pytest.approx(120 / 121)
    stopped = flowsim.run(trace, "sjf:2", cost=pencil(), slo="10", predictor="exact", until_s=110)
    assert np.isnan(stopped.ttft_s[1]) and late(stopped)[1] and starved(stopped)[1]
    assert np.flatnonzero(starved(crowded)).tolist() == np.flatnonzero(late(crowded)).tolist() == [1]
    assert gives_way(crowded, Search(0.9)) == "queue"
    assert gives_way(crowded, Search(1.0)) == "attainment"


def test_a_class_may_give_way_alone() -> None:
    trace = flowsim.Trace.of(np.arange(90) * 3.0, [1] * 89 + [4], classes=["short"] * 89 + ["long"])
    result = flowsim.run(trace, "fcfs", cost=pencil(), slo="short=5,long=2", predictor="exact")
    assert gives_way(result, Search(0.9)) == ""
    assert gives_way(result, Search(0.9, by="class")) == "attainment of long"


def test_the_bracket_is_what_it_says() -> None:
    found = highest_rate(POINT, ".", Search(0.9, tolerance=0.02))
    assert 0 < found.low < found.high <= 1.02 * found.low
    assert found.result is not None and found.result.trace.rate_rps == pytest.approx(found.low)
    assert gives_way(run_point(POINT.at_rate(found.low), "."), Search()) == ""
    assert gives_way(run_point(POINT.at_rate(found.high), "."), Search()) == found.weak
    assert found.row["max_rate_rps"] == found.low


def test_all_policies_are_asked_about_the_same_rates() -> None:
    fcfs, flowprefill = (highest_rate(point(policy=name), ".", Search()) for name in ("fcfs", "flowprefill"))
    assert fcfs.low < 0.8 * flowprefill.low
    steps = 128 * np.log2([fcfs.low, fcfs.high, flowprefill.low, flowprefill.high])
    assert steps == pytest.approx(np.round(steps), abs=1e-6)


def test_a_longer_horizon_moves_the_answer_by_no_more_than_its_interval() -> None:
    def interval(n: int) -> Interval:
        points = (point(trace=f"synthetic:qwen:{n}", seed=seed) for seed in range(4))
        return t_interval([highest_rate(point, ".", Search(tolerance=0.02)).low for point in points])

    short, long = interval(400), interval(1600)
    assert short.low <= long.mean <= short.high


@pytest.mark.skipif(not TRACES.is_dir(), reason="the production traces are not here")
@pytest.mark.parametrize(
    "trace",
    ["azure_llm_2023/AzureLLMInferenceTrace_conv.csv.gz", "mooncake_fast25/conversation_trace.jsonl.gz"],
)
@pytest.mark.parametrize("policy", ["fcfs", "flowprefill"])
def test_a_longer_window_of_real_traffic_moves_the_answer_by_no_more_than_its_interval(trace: str, policy: str) -> None:
    def rate(start_s: float, end_s: float) -> float:
        window = Point.of({"trace": trace, "policy": policy, "warmup": 0.1, "workload.window": [start_s, end_s]})
        return highest_rate(window, str(TRACES), Search(tolerance=0.02)).low

    short = t_interval([rate(start_s, start_s + 250) for start_s in (0, 250, 500, 750)])
    assert short.low <= rate(0, 1000) <= short.high


def test_rates_of_an_slo_mix_give_way_to_the_rate_that_is_tried(tmp_path: Path) -> None:
    (tmp_path / "mix.yaml").write_text("{ttft_s: {text: 0.25, '*': 4}, rates: {text: 3, search: 1}}")
    values = {"trace": "synthetic:qwen:400", "slo": "mix.yaml", "workload.rate_rps": 10}
    result = run_point(Point.of(values), str(tmp_path))
    assert result.trace.rate_rps == pytest.approx(10)
    assert result.summary["classes"]["text"]["requests"] == 300
    twice = run_point(Point.of({**values, "workload.rate_rps": None, "workload.rate_scale": 2}), str(tmp_path))
    assert twice.trace.rate_rps == pytest.approx(8)


def test_an_slo_that_no_rate_meets_ends_at_nothing() -> None:
    found = highest_rate(point(slo="0.0001"), ".", Search())
    assert (found.low, found.weak, found.result) == (0.0, "attainment", None)


def test_a_loose_slo_is_bound_by_the_queue_alone() -> None:
    assert highest_rate(point(slo="100000"), ".", Search(tolerance=0.1)).weak == "queue"


def test_a_trace_too_short_to_judge_is_refused() -> None:
    with pytest.raises(InputError, match="has 29 requests; expected >= 30 requests for a search"):
        highest_rate(point(**{"workload.limit": 29}), ".", Search())


def test_many_instances_need_many_requests_for_a_queue_to_grow() -> None:
    options = {"trace": "synthetic:qwen:60", "server.instances": 3, "slo": "100000"}
    with pytest.raises(InputError, match=r"has 60 requests; expected >= 90 requests for a search \(30 per instance\)"):
        highest_rate(point(**options), ".", Search())
    assert highest_rate(point(**{**options, "trace": "synthetic:qwen:90"}), ".", Search(tolerance=0.5)).weak == "queue"


def test_requests_that_all_arrive_at_once_have_no_rate_to_search(tmp_path: Path) -> None:
    flowsim.traces.write_trace(flowsim.Trace.of(np.zeros(40), [100] * 40), tmp_path / "burst.jsonl")
    with pytest.raises(
        InputError, match=r"burst(.jsonl)?: all requests arrive at one instant; expected a trace that spans"
    ):
        flowsim.capacity(tmp_path / "burst.jsonl", replications=1, workers=1)


def test_capacity_gives_a_row_for_each_policy_and_replication() -> None:
    runs = flowsim.capacity("synthetic:qwen:100", ["fcfs", "flowprefill"], replications=2, workers=1, tolerance=0.05)
    assert runs.table[["seed", "policy"]].values.tolist() == [
        [0, "fcfs"],
        [0, "flowprefill"],
        [1, "fcfs"],
        [1, "flowprefill"],
    ]
    assert (runs.table["max_rate_rps"] < runs.table["max_rate_high_rps"]).all()
    assert (runs.table["warmup"] == 0.1).all()
    windows = flowsim.capacity("example", ["fcfs"], replications=4, workers=1, tolerance=0.1)
    assert windows.table["workload.window"].str.startswith(("0:23.8", "23.8", "47.7", "71.5")).all()
    assert windows.table["requests"].sum() == 400
    with pytest.raises(InputError, match="rate_scale: is given, but a study with capacity finds the rate itself"):
        flowsim.capacity("example", rate_scale=2)


def test_windows_are_those_of_the_trace_as_it_is_whatever_is_made_of_it_later(tmp_path: Path) -> None:
    (tmp_path / "mix.yaml").write_text("{ttft_s: {text: 0.25, search: 4}, rates: {text: 30, search: 10}}")
    options: dict[str, Any] = {"replications": 4, "workers": 1, "tolerance": 0.2}
    plain = flowsim.capacity("example", ["fcfs"], **options).table
    rated = flowsim.capacity("example", ["fcfs"], slo=str(tmp_path / "mix.yaml"), **options).table
    assert rated["workload.window"].tolist() == plain["workload.window"].tolist()
    assert rated["requests"].tolist() == plain["requests"].tolist()
    with pytest.raises(InputError, match="limit: is 80, but the replications are windows of example"):
        flowsim.capacity("example", limit=80, **options)


@pytest.mark.parametrize(("option", "values"), [("seed", [1, 2]), ("workload.window", ["0:30", "30:60"])])
def test_replications_are_not_made_twice(option: str, values: list[object]) -> None:
    with pytest.raises(InputError, match=f"{option}: is a list, but the replications make these"):
        flowsim.capacity("synthetic:qwen:60", replications=5, **{option: values})


def test_capacity_of_several_traces_under_several_options() -> None:
    runs = flowsim.capacity(
        ["synthetic:qwen:60", "example"],
        ["fcfs"],
        replications=2,
        workers=1,
        tolerance=0.2,
        slo_scale=[1, 2],
        window="10:90",
        seed=5,
    )
    assert runs.table[["trace", "seed", "workload.window", "slo.scale"]].values.tolist() == [
        ["synthetic:qwen:60", seed, "10:90", scale] for seed in (5, 6) for scale in (1, 2)
    ] + [["example", 5, window, scale] for window in (f"10:{MIDDLE}", f"{MIDDLE}:90") for scale in (1, 2)]
