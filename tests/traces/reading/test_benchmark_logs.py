"""Each kind of log: its columns, its units, and what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import flowsim
from flowsim.errors import InputError
from support.logs import LISTS, NAN, aiperf, guidellm, same, saved


def test_one_request_at_a_time_needs_no_start_times(tmp_path: Path) -> None:
    log = {name: value for name, value in LISTS.items() if name != "start_times"} | {"max_concurrency": 1}
    trace = flowsim.load_trace(saved(tmp_path, log))
    assert same(trace.arrival_s, [0.0, 0.25, 1.5])
    assert "closed loop: at most 1 request at a time" in trace.notices
    assert trace.concurrency == 1


def test_a_closed_loop_needs_none_either(tmp_path: Path) -> None:
    """Of two clients; the third is sent when the first is through, at 0.25 s."""
    log = {name: value for name, value in LISTS.items() if name != "start_times"} | {"max_concurrency": 2}
    trace = flowsim.load_trace(saved(tmp_path, log))
    assert same(trace.arrival_s, [0.0, 0.0, 0.25])
    assert same(trace.ttft_s, [0.25, 0.5, NAN])
    assert trace.concurrency == 2


@pytest.mark.parametrize(
    ("more", "concurrency"),
    [
        ({"max_concurrency": 4}, 4),
        ({"max_concurrency": 4, "request_rate": "inf"}, 4),
        ({"max_concurrency": 4, "request_rate": float("inf")}, 4),
        ({"max_concurrency": 4, "request_rate": 2.0}, None),
        ({"max_concurrency": None, "request_rate": 2.0}, None),
        ({"max_concurrency": True}, None),
    ],
)
def test_a_loop_is_closed_unless_requests_also_wait_for_a_rate(
    more: dict[str, Any], concurrency: int | None, tmp_path: Path
) -> None:
    assert flowsim.load_trace(saved(tmp_path, LISTS | more)).concurrency == concurrency


@pytest.mark.parametrize(
    "blank",
    [
        {"input_lens": [100, 200, 0]},
        {"input_lens": [100, 200, None], "output_lens": [1, 3, None], "itls": [[], [0.5, 0.25], None]},
        {"start_times": [1000.0, 1001.5, None]},
    ],
)
@pytest.mark.parametrize("drop_failed", [True, False])
def test_a_failed_request_of_unknown_length_or_send_is_dropped(
    blank: dict[str, Any], drop_failed: bool, tmp_path: Path
) -> None:
    trace = flowsim.load_trace(saved(tmp_path, LISTS | blank), drop_failed=drop_failed)
    assert trace.input_length.tolist() == [100, 200]
    assert same(trace.latency_s, [0.25, 1.25])
    assert "dropped: 1 request that failed, without input tokens or the time of their send" in trace.notices


def test_a_null_ttft_is_of_a_failed_request(tmp_path: Path) -> None:
    trace = flowsim.load_trace(saved(tmp_path, LISTS | {"ttfts": [0.25, None, 0.0]}))
    assert same(trace.ttft_s, [0.25, NAN, NAN])
    with pytest.raises(InputError, match=r"input_lens\[0\] must be a whole number of tokens .* got 0"):
        flowsim.load_trace(saved(tmp_path, LISTS | {"input_lens": [0, 200, 300]}))


def test_requests_of_guidellm_without_an_answer_are_told(tmp_path: Path) -> None:
    errored = [guidellm(6.0, 9, None), {**guidellm(6.0, 9, None), "request_start_time": None}, {"prompt_tokens": None}]
    requests = {"successful": [guidellm(5.0, 7, 250.0)], "errored": errored, "incomplete": [guidellm(7.0, 8, None)]}
    config = {"strategy": {"type_": "concurrent", "streams": 4}}
    trace = flowsim.load_trace(saved(tmp_path, {"benchmarks": [{"requests": requests, "config": config}]}))
    assert trace.input_length.tolist() == [7, 9]
    assert trace.notices[:3] == (
        "closed loop: at most 4 requests at a time",
        "dropped: 2 requests that failed, without input tokens or the time of their send",
        "dropped: 1 request that the end of the benchmark cut off",
    )


@pytest.mark.parametrize(
    ("benchmark", "concurrency"),
    [
        ({"config": {"strategy": {"type_": "concurrent", "streams": 8}}}, 8),
        ({"args": {"strategy": {"type_": "synchronous"}}}, 1),
        ({"config": {"strategy": {"type_": "poisson", "rate": 8.0}}}, None),
        ({"config": {"strategy": {"type_": "concurrent", "streams": "8"}}}, None),
        ({}, None),
    ],
)
def test_guidellm_says_how_many_streams_it_has(
    benchmark: dict[str, Any], concurrency: int | None, tmp_path: Path
) -> None:
    requests = {"successful": [guidellm(0.0, 60, 30.0)]}
    path = saved(tmp_path, {"benchmarks": [{"requests": requests, **benchmark}]})
    assert flowsim.load_trace(path).concurrency == concurrency


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


@pytest.mark.parametrize(
    ("config", "concurrency"),
    [
        ({"loadgen": {"concurrency": 8, "request_rate_mode": "concurrency_burst"}}, 8),
        ({"loadgen": {"concurrency": 8, "request_rate": 2.5}}, None),
        ({"loadgen": {"concurrency": 8}, "input": {"fixed_schedule": True}}, None),
        ({"phases": [{"kind": "warmup", "concurrency": 1}, {"kind": "profiling", "concurrency": 6}]}, 6),
        ({"phases": [{"name": "profiling", "type": "concurrency", "concurrency": 6}]}, 6),
        ({"phases": [{"name": "profiling", "type": "poisson", "rate": 3.0, "concurrency": 6}]}, None),
        ({"phases": [{"kind": "profiling", "concurrency": n} for n in (1, 6)]}, None),
        ({"phases": "x", "loadgen": {"concurrency": "8"}}, None),
        (None, None),
    ],
)
def test_the_summary_beside_a_log_of_aiperf_has_its_concurrency(
    config: object, concurrency: int | None, tmp_path: Path
) -> None:
    path = saved(tmp_path, aiperf(10**18, 100, 80.0)).rename(tmp_path / "profile_export.jsonl")
    (tmp_path / "profile_export_aiperf.json").write_text(json.dumps({"input_config": config}))
    trace = flowsim.load_trace(path)
    assert trace.concurrency == concurrency
    said = f"closed loop: at most {concurrency} requests at a time"
    assert (said in trace.notices) == (concurrency is not None)


def test_a_log_of_aiperf_without_its_summary_asks_for_the_concurrency(tmp_path: Path) -> None:
    said = "no log_aiperf.json beside it to say whether it is a closed loop; if so, give --concurrency N"
    assert said in flowsim.load_trace(saved(tmp_path, aiperf(10**18, 100, 80.0))).notices


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


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ({"start_times": ...}, "does not say when requests were sent; expected a log with start_times"),
        ({"start_times": ..., "max_concurrency": 1, "itls": None}, "itls: does not have the gaps between the tokens"),
        ({"start_times": [1.0]}, "start_times: has 1 value; expected 3, one per request"),
        ({"ttfts": [1.0, "x", 2.0]}, "ttfts[1] must be a finite number of seconds from 0 to 2**40, got 'x'"),
        ({"ttfts": [0.0, 0.0, 0.0]}, "has no request that got a first token; expected the log of a server"),
        ({"ttfts": [1.0, [None], 2.0]}, "ttfts[1] must be a finite number of seconds from 0 to 2**40, got [None]"),
        ({"start_times": [1.0, None, 2.0]}, "start_times[1] must be a finite number of seconds"),
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


def test_a_loop_of_more_clients_than_requests_sends_all_at_once(tmp_path: Path) -> None:
    path = saved(tmp_path, {**{k: v for k, v in LISTS.items() if k != "start_times"}, "max_concurrency": 10**30})
    assert same(flowsim.load_trace(path).arrival_s, [0.0, 0.0, 0.0])


def changed(**changes: Any) -> dict[str, Any]:
    """A record of AIPerf with other metrics, or other metadata."""
    record = aiperf(10**18, 100, 80.0)
    for name, value in changes.items():
        part = "metrics" if name in ("time_to_first_token", "request_latency", "input_sequence_length") else "metadata"
        record = record | {part: {**record[part], name: value}}
    return record


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({**aiperf(5, 3, 1.0), "metadata": None}, "metadata.request_start_ns: is missing"),
        ({**aiperf(5, 3, 1.0), "metadata": [1]}, "metadata.request_start_ns: is missing"),
        (changed(request_start_ns=-1), "metadata.request_start_ns: is missing"),
        (changed(request_start_ns=10**40), "metadata.request_start_ns: is missing"),
        (changed(time_to_first_token={"value": 5, "unit": ["ms"]}), "metrics.time_to_first_token must be a value with"),
        (changed(time_to_first_token={"value": -5}), "metrics.time_to_first_token[1] must be a finite number"),
        (changed(time_to_first_token={"value": 0}), "metrics.time_to_first_token[1] must be a finite number"),
        (changed(request_latency={"value": -5}), "metrics.request_latency[1] must be a finite number of seconds > 0"),
        (changed(input_sequence_length={"value": 0}), "metrics.input_sequence_length[1] must be a whole number"),
        (changed(input_sequence_length={"value": 3.5}), "metrics.input_sequence_length[1] must be a whole number"),
        (changed(input_sequence_length={"value": 1e18}), "metrics.input_sequence_length[1] must be a whole number"),
    ],
)
def test_wrong_records_of_aiperf_are_refused(tmp_path: Path, record: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        flowsim.load_trace(saved(tmp_path, aiperf(10**18, 100, 80.0), record))
    assert said in str(error.value)


def test_a_failed_request_of_aiperf_has_its_tokens_in_error_isl(tmp_path: Path) -> None:
    failed = aiperf(10**18 + 1, None, None) | {"metrics": {"error_isl": {"value": 70}}, "error": {"code": 500}}
    trace = flowsim.load_trace(saved(tmp_path, aiperf(10**18, 100, 80.0), failed))
    assert trace.input_length.tolist() == [100, 70]
    assert same(trace.ttft_s, [0.08, NAN])


@pytest.mark.parametrize(
    ("benchmarks", "said"),
    [
        (None, "has 0 benchmarks"),
        ({"a": 1}, "benchmarks must be a list, got {'a': 1}"),
        ([[1]], "benchmarks[0] must be a JSON object, got [1]"),
        ([{"requests": {"successful": {"a": 1}}}], "requests.successful must be a list, got {'a': 1}"),
        ([{"requests": {"successful": [None]}}], "requests.successful[0] must be a JSON object, got nothing"),
        (
            [{"requests": {"successful": [guidellm(0, 9, 1.0)], "errored": ["x"]}}],
            "requests.errored[0] must be a JSON object, got 'x'",
        ),
        *(
            ([{"requests": {"successful": [guidellm(0, 9, 1.0), guidellm(0, 9, 1.0) | {name: value}]}}], f"{name}[1]")
            for name, value in (
                ("time_to_first_token_ms", "5"), ("time_to_first_token_ms", [1]), ("time_to_first_token_ms", -5),
                ("time_to_first_token_ms", float("inf")), ("time_to_first_token_ms", True), ("request_latency", "x"),
                ("request_latency", -3), ("request_start_time", None), ("prompt_tokens", None),
            )
        ),
    ],
)  # fmt: skip
def test_wrong_benchmarks_of_guidellm_are_refused(tmp_path: Path, benchmarks: object, said: str) -> None:
    with pytest.raises(InputError) as error:
        flowsim.load_trace(saved(tmp_path, {"benchmarks": benchmarks}))
    assert said in str(error.value)
