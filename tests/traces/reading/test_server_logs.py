"""Logs of real servers: which is which, what fails, what is refused, and that they replay."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import flowsim
from flowsim.errors import InputError
from flowsim.traces.reading.server_logs import log_format
from flowsim.traces.trace import Trace
from support.logs import LISTS, NAN, aiperf, same, saved


@pytest.mark.parametrize("indent", [None, 2])
def test_lists_of_vllm_and_sglang(tmp_path: Path, indent: int | None) -> None:
    trace = flowsim.load_trace(saved(tmp_path, LISTS, indent=indent))
    assert trace.arrival_s.tolist() == [0.0, 1.5, 2.0]
    assert trace.input_length.tolist() == [100, 200, 300]
    assert trace.output_length.tolist() == [1, 3, 0]
    assert same(trace.ttft_s, [0.25, 0.5, NAN])
    assert same(trace.latency_s, [0.25, 1.25, NAN])
    assert any("answers of several tokens" in notice for notice in trace.notices)
    assert any("kept: 1 request that failed" in notice for notice in trace.notices)


def test_requests_that_failed_are_dropped_if_asked_for(tmp_path: Path) -> None:
    trace = flowsim.load_trace(saved(tmp_path, LISTS), drop_failed=True)
    assert trace.input_length.tolist() == [100, 200]
    assert any("dropped: 1 request that failed" in notice for notice in trace.notices)


def test_one_of_several_benchmarks_is_asked_for(tmp_path: Path) -> None:
    path = saved(tmp_path, LISTS, LISTS | {"input_lens": [7, 8, 9]})
    assert flowsim.load_trace(path, "bench-serving:2").input_length.tolist() == [7, 8, 9]
    with pytest.raises(InputError, match="has 2 benchmarks; expected --format bench-serving:N for one of them"):
        flowsim.load_trace(path)


def test_columns_by_name(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("sent,prompt,first,kind\n0,100,80,text\n1500,200,,file\n")
    trace = flowsim.load_trace(path, "arrival_ms=sent,input_length=prompt,ttft_ms=first,class=kind")
    assert same(trace.ttft_s, [0.08, NAN])
    assert trace.class_names == ("text", "file")


def test_the_truth_stays_with_the_requests(tmp_path: Path) -> None:
    trace = flowsim.load_trace(saved(tmp_path, LISTS))
    for name in ("own.jsonl", "own.csv", "own.parquet"):
        flowsim.traces.write_trace(trace, tmp_path / name)
        again = flowsim.load_trace(tmp_path / name)
        assert same(again.ttft_s, [0.25, 0.5, NAN])
        assert same(again.latency_s, [0.25, 1.25, NAN])
    assert same(trace.window(1.0, 9.0).ttft_s, [0.5, NAN])
    assert flowsim.run(trace, "fcfs", slo=1.0).summary["requests"] == 3


def test_info_shows_the_measured_quantiles() -> None:
    trace = Trace.of([0, 1, 2], [5, 5, 5], ttft_s=[0.1, 0.3, NAN])
    assert flowsim.traces.info(trace)["measured"] == {
        "requests": 2, "p10": pytest.approx(0.12), "p25": pytest.approx(0.15), "p50": pytest.approx(0.2),
        "p75": pytest.approx(0.25), "p90": pytest.approx(0.28), "p99": pytest.approx(0.298), "max": 0.3,
    }  # fmt: skip
    assert flowsim.traces.info(Trace.of([0], [5]))["measured"] is None


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            {"mean_ttft_ms": 3.0, "request_throughput": 2.0},
            "has no measurements of single requests; expected",
        ),
        (LISTS | {"ttfts": [[1], [2, 3], 4]}, "ttfts[0] must be a finite number of seconds from 0 to 2**40, got [1]"),
        ({"experiments": []}, "has texts, not numbers of tokens (genai-perf); expected AIPerf's profile_export.jsonl"),
        ({"benchmarks": []}, "has 0 benchmarks"),
        ({"benchmarks": [{"requests": {}}]}, "requests.successful: is missing or empty"),
        ({"metadata": {}, "metrics": {}}, "has no request with its input_sequence_length"),
        (aiperf(5, 3, 1.0) | {"metadata": {}}, "metadata.request_start_ns: is missing"),
        ({"metadata": {}, "metrics": {"input_sequence_length": {"value": "x"}}}, "metrics.input_sequence_length"),
    ],
)
def test_other_files_of_benchmarks_are_refused(tmp_path: Path, value: Any, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        flowsim.load_trace(saved(tmp_path, value))


def test_a_trace_is_no_log(tmp_path: Path) -> None:
    assert log_format(saved(tmp_path, {"arrival_s": 0, "input_length": 5})) is None
    (tmp_path / "t.csv").write_text("arrival_s,input_length\n0,5\n")
    assert log_format(tmp_path / "t.csv") is None


def test_errors_that_are_no_list_tell_nothing(tmp_path: Path) -> None:
    assert len(flowsim.load_trace(saved(tmp_path, LISTS | {"errors": 5}), drop_failed=True)) == 2  # one has no TTFT
