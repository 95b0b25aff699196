"""Logs of real servers: the columns of each kind, what fails, what is refused, and that they replay."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flowsim
from flowsim.errors import InputError
from flowsim.traces.reading.server_logs import log_format
from flowsim.traces.trace import Trace

LISTS: Mapping[str, Any] = {
    "backend": "vllm",
    "max_concurrency": None,
    "input_lens": [100, 200, 300],
    "output_lens": [1, 3, 0],
    "ttfts": [0.25, 0.5, 0.0],
    "itls": [[], [0.5, 0.25], []],
    "start_times": [1000.0, 1001.5, 1002.0],
    "errors": ["", "", "connection reset"],
}
NAN = float("nan")


def saved(folder: Path, *values: Any, indent: int | None = None) -> Path:
    """A file with these objects, one per line."""
    path = folder / "log.json"
    path.write_text("".join(json.dumps(value, indent=indent) + "\n" for value in values))
    return path


def same(column: Any, expected: list[float]) -> bool:
    return bool(np.allclose(column, expected, equal_nan=True, rtol=1e-12))


def aiperf(start_ns: int, tokens: int | None, ttft_ms: float | None, **metadata: Any) -> dict[str, Any]:
    metrics: dict[str, Any] = {"request_latency": {"value": 900.0, "unit": "ms"}}
    metrics |= {"input_sequence_length": {"value": tokens, "unit": "tokens"}} if tokens else {}
    metrics |= {"time_to_first_token": {"value": ttft_ms, "unit": "ms"}} if ttft_ms else {}
    return {"metadata": {"request_start_ns": start_ns, **metadata}, "metrics": metrics, "error": None}


def guidellm(start_s: float, tokens: int, ttft_ms: float | None, start: str = "request_start_time") -> dict[str, Any]:
    row = {start: start_s, "prompt_tokens": tokens, "output_tokens": 2, "request_latency": 1.0}
    return row | ({} if ttft_ms is None else {"time_to_first_token_ms": ttft_ms})


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


def test_one_request_at_a_time_needs_no_start_times(tmp_path: Path) -> None:
    log = {name: value for name, value in LISTS.items() if name != "start_times"} | {"max_concurrency": 1}
    trace = flowsim.load_trace(saved(tmp_path, log))
    assert same(trace.arrival_s, [0.0, 0.25, 1.5])
    assert "closed loop: at most 1 request at a time" in trace.notices


def test_one_of_several_benchmarks_is_asked_for(tmp_path: Path) -> None:
    path = saved(tmp_path, LISTS, LISTS | {"input_lens": [7, 8, 9]})
    assert flowsim.load_trace(path, "bench-serving:2").input_length.tolist() == [7, 8, 9]
    with pytest.raises(InputError, match="has 2 benchmarks; expected --format bench-serving:N for one of them"):
        flowsim.load_trace(path)


def test_records_of_aiperf(tmp_path: Path) -> None:
    rows = [
        aiperf(10**18 - 10**9, 50, 7.0, benchmark_phase="warmup"),
        aiperf(10**18 + 2 * 10**9, 300, 120.0, benchmark_phase="profiling"),
        aiperf(10**18, 100, 80.0),
        aiperf(10**18 + 3 * 10**9, 200, 90.0, was_cancelled=True),
        aiperf(10**18 + 4 * 10**9, None, None),
    ]
    trace = flowsim.load_trace(saved(tmp_path, *rows))
    assert same(trace.arrival_s, [0.0, 2.0, 3.0])
    assert trace.input_length.tolist() == [100, 300, 200]
    assert same(trace.ttft_s, [0.08, 0.12, NAN])
    assert same(trace.latency_s, [0.9, 0.9, NAN])
    assert "dropped: 1 request of the warm-up" in trace.notices
    assert "dropped: 1 request without input tokens" in trace.notices


@pytest.mark.parametrize("start", ["request_start_time", "start_time"])
def test_benchmarks_of_guidellm(tmp_path: Path, start: str) -> None:
    requests = {
        "successful": [guidellm(1700000001.0, 60, 30.0, start), guidellm(1700000000.0, 50, 20.0, start)],
        "errored": [guidellm(1700000000.5, 40, None, start)],
        "incomplete": [],
    }
    trace = flowsim.load_trace(saved(tmp_path, {"benchmarks": [{"requests": requests}]}, indent=4))
    assert same(trace.arrival_s, [0.0, 0.5, 1.0])
    assert trace.input_length.tolist() == [50, 40, 60]
    assert same(trace.ttft_s, [0.02, NAN, 0.03])


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
    ("log", "said"),
    [
        ({"start_times": ...}, "does not say when requests were sent; expected a log with start_times"),
        ({"start_times": ..., "max_concurrency": 1, "itls": None}, "itls: does not have the gaps between the tokens"),
        ({"start_times": [1.0]}, "start_times: has 1 value; expected 3, one per request"),
        ({"ttfts": [1.0, "x", 2.0]}, "ttfts: is an array"),
        ({"ttfts": [1.0, -1.0, 2.0]}, "ttfts[1] must be a finite number of seconds"),
        ({"input_lens": [1, 0, 2]}, "input_lens[1] must be a whole number of tokens"),
        ({"input_lens": []}, "has no requests"),
        ({"output_lens": None}, "output_lens: is missing; expected 3"),
    ],
)
def test_wrong_lists_are_refused(tmp_path: Path, log: dict[str, Any], said: str) -> None:
    path = saved(tmp_path, {name: value for name, value in {**LISTS, **log}.items() if value is not ...})
    with pytest.raises(InputError) as error:
        flowsim.load_trace(path)
    assert said in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            {"mean_ttft_ms": 3.0, "request_throughput": 2.0},
            "has no measurements of single requests; expected",
        ),
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
