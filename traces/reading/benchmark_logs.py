"""Logs of real servers, kind by kind: the requests of one benchmark from the objects in its file.

The field names are those of `vllm bench serve` (vllm/benchmarks/serve.py), `sglang.bench_serving`, AIPerf
(docs.nvidia.com/aiperf, profile_export.jsonl and, beside it, profile_export_aiperf.json) and guidellm
(schemas/request_stats.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapreplace
from pathlib import Path
from typing import Any

import numpy as np

from flowsim.errors import InputError
from flowsim.io.counts import number_of
from flowsim.io.documents import mapping
from flowsim.traces.columns import (
    LENGTH,
    LENGTH_OR_0,
    SECONDS,
    Bools,
    Floats,
    bad_lengths,
    bad_lengths_or_0,
    bad_seconds,
    number_column,
)

JSONObject = Mapping[str, Any]
IN_S = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0}
"""Seconds of the units of AIPerf."""
WANTED = "a log with start_times, one of a closed loop (--max-concurrency N), or rows with arrivals"


@dataclass(frozen=True)
class BenchmarkLog:
    """The requests of one benchmark, in the order of the log; a TTFT is NaN where a request failed, and a latency (to
    the last token) where it is not known.

    Times are seconds since any moment. `concurrency` is that of a closed loop; None of any other.
    """

    sent_s: Floats
    input_length: Floats
    output_length: Floats
    ttft_s: Floats
    latency_s: Floats
    notices: tuple[str, ...] = ()
    concurrency: int | None = None

    @property
    def failed(self) -> Bools:
        """Whether each request got no first token."""
        return np.isnan(self.ttft_s)


def json_object(where: str, value: Any) -> JSONObject:
    """The value, which must be a JSON object."""
    if not isinstance(value, dict):
        raise InputError(where, found=value, expected="a JSON object")
    return value


def _picked(path: str, benchmarks: Sequence[Any], number: int, name: str) -> JSONObject:
    """The benchmark with this number, or the only one."""
    many = number_of(len(benchmarks), "benchmark")
    if not number and len(benchmarks) != 1:
        raise InputError(path, f"has {many}", expected=f"--format {name}:N for one of them")
    if number > len(benchmarks):
        raise InputError(path, f"has {many}", expected=f"number {number}, as asked for")
    return json_object(path, benchmarks[max(number, 1) - 1])


def _column(path: str, name: str, values: Any, n: int, bad: Callable[[Floats], Bools], expected: str) -> Floats:
    """A list of n numbers. InputError names the file and the field."""
    if not isinstance(values, list) or len(values) != n:
        found = f"has {number_of(len(values), 'value')}" if isinstance(values, list) else "is missing"
        raise InputError(f"{path}: {name}", found, expected=f"{n}, one per request")
    return number_column(f"{path}: {name}", values, bad, expected)


def lists_log(path: str, documents: Sequence[JSONObject], number: int) -> BenchmarkLog:
    """Of vLLM and SGLang: an object with a list per column."""
    log = _picked(path, documents, number, "bench-serving")
    n = len(log["input_lens"]) if isinstance(log["input_lens"], list) else 0
    if not n:
        raise InputError(path, "has no requests")
    ttft_s = _column(path, "ttfts", log.get("ttfts"), n, bad_seconds, SECONDS)
    errors = log.get("errors", ())
    complete = isinstance(errors, list) and len(errors) == n
    failed = (ttft_s == 0) | np.array([bool(error) for error in errors] if complete else [False] * n)
    inputs = _column(path, "input_lens", log["input_lens"], n, bad_lengths, LENGTH)
    outputs = _column(path, "output_lens", log.get("output_lens", [0] * n), n, bad_lengths_or_0, LENGTH_OR_0)
    most = _count(log.get("max_concurrency"))
    concurrency = most if log.get("request_rate", "inf") in ("inf", math.inf) else None
    notices = _closed_loop(most)
    taken_s = _taken(log.get("itls"), ttft_s)
    sent_s, lost = _sent(path, log, concurrency, ttft_s, taken_s), np.where(failed, math.nan, 0.0)
    return BenchmarkLog(sent_s, inputs, outputs, ttft_s + lost, taken_s + lost, notices, concurrency)


def _count(value: Any) -> int | None:
    """The value, if it is a number of requests."""
    return value if type(value) is int and value > 0 else None


def _closed_loop(most: int | None) -> tuple[str, ...]:
    return (f"closed loop: at most {number_of(most, 'request')} at a time",) if most else ()


def _taken(gaps: Any, ttft_s: Floats) -> Floats:
    """Seconds to the last token of each request, from the gaps between tokens; NaN if these are not known."""
    try:
        return ttft_s + [math.fsum(row) for row in gaps]
    except (TypeError, ValueError, OverflowError):
        return np.full(ttft_s.size, math.nan)


def _sent(path: str, log: JSONObject, concurrency: int | None, ttft_s: Floats, taken_s: Floats) -> Floats:
    """When requests were sent; in a closed loop, each after the last token of an earlier one."""
    if "start_times" in log:
        return _column(path, "start_times", log["start_times"], ttft_s.size, bad_seconds, SECONDS)
    if concurrency is None:
        raise InputError(path, "does not say when requests were sent", expected=WANTED)
    if np.isnan(taken_s).any():
        raise InputError(f"{path}: itls", "does not have the gaps between the tokens of each request", expected=WANTED)
    free_s = [0.0] * concurrency
    return np.array([heapreplace(free_s, free_s[0] + one_s) for one_s in taken_s.tolist()])


def aiperf_log(path: str, documents: Sequence[JSONObject], number: int) -> BenchmarkLog:
    """Of AIPerf: an object per request, with its times in nanoseconds and each metric with its unit."""
    if number > 1:
        raise InputError("format", found=f"aiperf:{number}", expected="aiperf: a file has one benchmark")
    rows = [row for row in documents if row.get("metadata", {}).get("benchmark_phase") != "warmup"]
    known = [row for row in rows if not math.isnan(_metric(path, row, "input_sequence_length"))]
    if not known:
        raise InputError(path, "has no request with its input_sequence_length")
    starts = [row.get("metadata", {}).get("request_start_ns") for row in known]
    if not all(type(start) is int for start in starts):
        raise InputError(f"{path}: metadata.request_start_ns", "is missing", expected="nanoseconds, for each request")
    bad = np.array([bool(row.get("error")) or bool(row["metadata"].get("was_cancelled")) for row in known])
    ttft_s = np.where(bad, math.nan, [_metric(path, row, "time_to_first_token") for row in known])
    outputs = np.nan_to_num([_metric(path, row, "output_sequence_length") for row in known])
    said = {"of the warm-up": len(documents) - len(rows), "without input tokens": len(rows) - len(known)}
    concurrency, about = _concurrency_of_aiperf(Path(path))
    notices = (*about, *(f"dropped: {number_of(n, 'request')} {what}" for what, n in said.items() if n))
    inputs = np.array([_metric(path, row, "input_sequence_length") for row in known])
    latency_s = np.where(bad, math.nan, [_metric(path, row, "request_latency") for row in known])
    sent_s = np.array([start - min(starts) for start in starts]) * 1e-9
    return BenchmarkLog(sent_s, inputs, outputs, ttft_s, latency_s, notices, concurrency)


def _concurrency_of_aiperf(log: Path) -> tuple[int | None, tuple[str, ...]]:
    """How many requests AIPerf kept under way, None if it sent them by a rate or a schedule; and what to say of it.

    Its summary beside the log has its options: in `input_config.loadgen` or, of newer versions, one of the `phases`.
    """
    summary = log.with_name(f"{log.name.partition('.')[0]}_aiperf.json")
    if not summary.is_file():
        return None, (f"no {summary.name} beside it to say whether it is a closed loop; if so, give --concurrency N",)
    config = _mapping(mapping(summary, "AIPerf's summary").get("input_config"))
    phases = [_mapping(phase) for phase in config.get("phases") or () if isinstance(config["phases"], list)]
    profiling = [phase for phase in phases if "profiling" in (phase.get("kind"), phase.get("name"))]
    load = profiling[0] if len(profiling) == 1 else _mapping(config.get("loadgen"))
    paced = any(load.get(key) for key in ("rate", "request_rate", "user_centric_rate"))
    if paced or load.get("type", "concurrency") != "concurrency" or _mapping(config.get("input")).get("fixed_schedule"):
        return None, ()
    concurrency = _count(load.get("concurrency"))
    return concurrency, _closed_loop(concurrency)


def _metric(path: str, row: JSONObject, name: str) -> float:
    """A metric of a request: seconds if it is a time; NaN if it has none. InputError: no number, or another unit."""
    metric = _mapping(row.get("metrics")).get(name)
    if metric is None:
        return math.nan
    value, unit = _mapping(metric).get("value"), _mapping(metric).get("unit", "ms")
    factor = IN_S.get(unit, math.nan) if name in ("time_to_first_token", "request_latency") else 1.0
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value * factor):
        raise InputError(f"{path}: metrics.{name}", found=metric, expected="a value with its unit")
    return value * factor


def guidellm_log(path: str, documents: Sequence[JSONObject], number: int) -> BenchmarkLog:
    """Of guidellm: benchmarks with their requests, of which those that got an answer and those that did not."""
    benchmark = _picked(path, documents[0]["benchmarks"], number, "guidellm")
    requests = benchmark.get("requests")
    if not isinstance(requests, dict) or not requests.get("successful"):
        raise InputError(f"{path}: requests.successful", "is missing or empty", expected="the requests of a benchmark")
    good = requests["successful"]
    rows = [*good, *(row for row in requests.get("errored") or [] if row.get("prompt_tokens"))]
    columns = [
        [row.get("request_start_time", row.get("start_time")) for row in rows],
        [row.get("prompt_tokens") for row in rows],
        [row.get("output_tokens") or 0 for row in rows],
    ]
    names, n = ("request_start_time", "prompt_tokens", "output_tokens"), len(rows)
    checks = ((bad_seconds, SECONDS), (bad_lengths, LENGTH), (bad_lengths_or_0, LENGTH_OR_0))
    sent_s, inputs, outputs = (
        _column(path, name, values, n, *check) for name, values, check in zip(names, columns, checks, strict=True)
    )
    ttfts = [row.get("time_to_first_token_ms") if place < len(good) else None for place, row in enumerate(rows)]
    ttft_s = np.array([math.nan if ttft is None else ttft / 1e3 for ttft in ttfts])
    latency_s = np.array([math.nan if took is None else took for took in (row.get("request_latency") for row in rows)])
    latency_s = np.where(np.isnan(ttft_s), math.nan, latency_s)
    return BenchmarkLog(sent_s, inputs, outputs, ttft_s, latency_s, (), _streams(benchmark))


def _streams(benchmark: JSONObject) -> int | None:
    """How many requests a benchmark of guidellm kept under way; None if its strategy is another one."""
    for section in ("config", "args"):
        strategy = _mapping(_mapping(benchmark.get(section)).get("strategy"))
        streams = _count(1 if strategy.get("type_") == "synchronous" else strategy.get("streams"))
        if strategy.get("type_") in ("synchronous", "concurrent") and streams:
            return streams
    return None


def _mapping(value: Any) -> JSONObject:
    return value if isinstance(value, dict) else {}
