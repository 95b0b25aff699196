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
    SLO,
    Bools,
    Floats,
    bad_lengths,
    bad_lengths_or_0,
    bad_seconds,
    bad_slos,
    number_column,
)

JSONObject = Mapping[str, Any]
IN_S = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0}
"""Seconds of the units of AIPerf."""
TIMES, TOOK = (bad_seconds, SECONDS), (bad_slos, SLO)
TOKENS, TOKENS_OR_0 = (bad_lengths, LENGTH), (bad_lengths_or_0, LENGTH_OR_0)
"""What columns may hold: which values are wrong, and what is expected in their place; only TOOK may have null."""
UNKNOWN = "that failed, without input tokens or the time of their send"
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
    """A list of n numbers; null, if it may be there, is NaN. InputError names the file, the field and the request."""
    if not isinstance(values, list) or len(values) != n:
        found = f"has {number_of(len(values), 'value')}" if isinstance(values, list) else "is missing"
        raise InputError(f"{path}: {name}", found, expected=f"{n}, one per request")
    missing = {type(None)} if expected == SLO else set()
    for row, value in enumerate(values):
        if type(value) not in {int, float} | missing:
            raise InputError(f"{path}: {name}[{row}]", found=value, expected=expected)
    numbers = [math.nan if value is None else value for value in values]
    return number_column(f"{path}: {name}", numbers, bad, expected)


def _objects(where: str, values: Any) -> list[JSONObject]:
    """The values, which must be a list of JSON objects; none if it is absent."""
    if not isinstance(values, list | None):
        raise InputError(where, found=values, expected="a list")
    return [json_object(f"{where}[{row}]", value) for row, value in enumerate(values or ())]


def lists_log(path: str, documents: Sequence[JSONObject], number: int) -> BenchmarkLog:
    """Of vLLM and SGLang: an object with a list per column."""
    log = _picked(path, documents, number, "bench-serving")
    n = len(log["input_lens"]) if isinstance(log["input_lens"], list) else 0
    if not n:
        raise InputError(path, "has no requests")
    measured = log.get("ttfts")
    ttft_s = _column(path, "ttfts", _filled(measured, _absent(measured, n, None), 0.0), n, *TIMES)
    errors = log.get("errors", ())
    complete = isinstance(errors, list) and len(errors) == n
    failed = (ttft_s == 0) | np.array([bool(error) for error in errors] if complete else [False] * n)
    lengths, starts, answers = log["input_lens"], log.get("start_times"), log.get("output_lens", [0] * n)
    unknown = failed & (_absent(lengths, n, None, 0) | _absent(starts, n, None))
    inputs = _column(path, "input_lens", _filled(lengths, unknown, 1), n, *TOKENS)
    outputs = _column(path, "output_lens", _filled(answers, failed & _absent(answers, n, None), 0), n, *TOKENS_OR_0)
    most = _count(log.get("max_concurrency"))
    concurrency = most if log.get("request_rate", "inf") in ("inf", math.inf) else None
    notices = (*_closed_loop(most), *_dropped(int(unknown.sum()), UNKNOWN))
    taken_s = _taken(log.get("itls"), ttft_s, failed)
    sent = {**log, "start_times": _filled(starts, unknown, 0.0)} if "start_times" in log else log
    sent_s, lost = _sent(path, sent, concurrency, ttft_s, taken_s), np.where(failed, math.nan, 0.0)
    columns = sent_s, inputs, outputs, ttft_s + lost, taken_s + lost
    sent_s, inputs, outputs, ttft_s, taken_s = (column[~unknown] for column in columns)
    return BenchmarkLog(sent_s, inputs, outputs, ttft_s, taken_s, notices, concurrency)


def _absent(values: Any, n: int, *blanks: int | None) -> Bools:
    """Which of n values are one of these blanks; none if they are not n values."""
    listed = isinstance(values, list) and len(values) == n
    return np.array([value in blanks for value in values] if listed else [False] * n)


def _filled(values: Any, rows: Bools, value: float) -> Any:
    """These values with this one in some rows; as they are if there is none to fill."""
    return [value if row else one for row, one in zip(rows.tolist(), values, strict=True)] if rows.any() else values


def _count(value: Any) -> int | None:
    """The value, if it is a number of requests."""
    return value if type(value) is int and value > 0 else None


def _closed_loop(most: int | None) -> tuple[str, ...]:
    return (f"closed loop: at most {number_of(most, 'request')} at a time",) if most else ()


def _dropped(many: int, what: str) -> tuple[str, ...]:
    return (f"dropped: {number_of(many, 'request')} {what}",) if many else ()


def _taken(gaps: Any, ttft_s: Floats, failed: Bools) -> Floats:
    """Seconds to the last token of each request, from the gaps between tokens; NaN if these are not known."""
    try:
        return ttft_s + [math.fsum(row or () if lost else row) for row, lost in zip(gaps, failed, strict=True)]
    except (TypeError, ValueError, OverflowError):
        return np.full(ttft_s.size, math.nan)


def _sent(path: str, log: JSONObject, concurrency: int | None, ttft_s: Floats, taken_s: Floats) -> Floats:
    """When requests were sent; in a closed loop, each after the last token of an earlier one."""
    if "start_times" in log:
        return _column(path, "start_times", log["start_times"], ttft_s.size, *TIMES)
    if concurrency is None:
        raise InputError(path, "does not say when requests were sent", expected=WANTED)
    if np.isnan(taken_s).any():
        raise InputError(f"{path}: itls", "does not have the gaps between the tokens of each request", expected=WANTED)
    free_s = [0.0] * min(concurrency, ttft_s.size)
    return np.array([heapreplace(free_s, free_s[0] + one_s) for one_s in taken_s.tolist()])


def aiperf_log(path: str, documents: Sequence[JSONObject], number: int) -> BenchmarkLog:
    """Of AIPerf: an object per request, with its times in nanoseconds and each metric with its unit."""
    if number > 1:
        raise InputError("format", found=f"aiperf:{number}", expected="aiperf: a file has one benchmark")
    rows = [row for row in documents if _mapping(row.get("metadata")).get("benchmark_phase") != "warmup"]
    lengths = [_metric(path, row, "input_sequence_length", "error_isl") for row in rows]
    known = [row for row, length in zip(rows, lengths, strict=True) if length is not None]
    if not known:
        raise InputError(path, "has no request with its input_sequence_length")
    about_rows, n = [_mapping(row.get("metadata")) for row in known], len(known)
    starts: list[Any] = [about.get("request_start_ns") for about in about_rows]
    if not all(type(start) is int and 0 <= start < 2**63 for start in starts):
        raise InputError(f"{path}: metadata.request_start_ns", "is missing", expected="nanoseconds, for each request")
    bad = [bool(row.get("error") or about.get("was_cancelled")) for row, about in zip(known, about_rows, strict=True)]
    concurrency, about = _concurrency_of_aiperf(Path(path))
    warm_up = _dropped(len(documents) - len(rows), "of the warm-up")
    notices = (*about, *warm_up, *_dropped(len(rows) - n, "without input tokens"))
    took = {
        name: [None if lost else _metric(path, row, name) for row, lost in zip(known, bad, strict=True)]
        for name in ("time_to_first_token", "request_latency")
    }
    ttft_s, latency_s = (_column(path, f"metrics.{name}", values, n, *TOOK) for name, values in took.items())
    inputs = _column(path, "metrics.input_sequence_length", [one for one in lengths if one is not None], n, *TOKENS)
    answers = [_metric(path, row, "output_sequence_length") or 0 for row in known]
    outputs = _column(path, "metrics.output_sequence_length", answers, n, *TOKENS_OR_0)
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


def _metric(path: str, row: JSONObject, *names: str) -> float | None:
    """The first of these metrics of a request: seconds if it is a time. InputError: no number, or another unit."""
    metrics = _mapping(row.get("metrics"))
    for name, metric in ((name, metrics[name]) for name in names if metrics.get(name) is not None):
        value: Any = _mapping(metric).get("value")
        unit = _mapping(metric).get("unit", "ms")
        factor = IN_S.get(str(unit)) if name in ("time_to_first_token", "request_latency") else 1
        if type(value) not in (int, float) or factor is None:
            raise InputError(f"{path}: metrics.{name}", found=metric, expected="a value with its unit")
        return float(value * factor)
    return None


def guidellm_log(path: str, documents: Sequence[JSONObject], number: int) -> BenchmarkLog:
    """Of guidellm: benchmarks with their requests, of which those that got an answer and those that did not."""
    benchmark = _picked(path, _objects(f"{path}: benchmarks", documents[0]["benchmarks"]), number, "guidellm")
    requests = _mapping(benchmark.get("requests"))
    good, errored, cut_off = (
        _objects(f"{path}: requests.{name}", requests.get(name)) for name in ("successful", "errored", "incomplete")
    )
    if not good:
        raise InputError(f"{path}: requests.successful", "is missing or empty", expected="the requests of a benchmark")
    failed = [row for row in errored if row.get("prompt_tokens") and _start(row) is not None]
    rows, lost = [*good, *failed], len(failed)
    n, starts = len(rows), [_start(row) for row in rows]
    sent_s = _column(path, "request_start_time", starts, n, *TIMES)
    inputs = _column(path, "prompt_tokens", [row.get("prompt_tokens") for row in rows], n, *TOKENS)
    outputs = _column(path, "output_tokens", [row.get("output_tokens") or 0 for row in rows], n, *TOKENS_OR_0)
    ttfts = [*(row.get("time_to_first_token_ms") for row in good), *[None] * lost]
    ttft_s = _column(path, "time_to_first_token_ms", ttfts, n, *TOOK) / 1e3
    latency_s = _column(path, "request_latency", [row.get("request_latency") for row in rows], n, *TOOK)
    latency_s = np.where(np.isnan(ttft_s), math.nan, latency_s)
    notices = (
        *_dropped(len(errored) - lost, UNKNOWN),
        *_dropped(len(cut_off), "that the end of the benchmark cut off"),
    )
    streams = _streams(benchmark)
    return BenchmarkLog(sent_s, inputs, outputs, ttft_s, latency_s, (*_closed_loop(streams), *notices), streams)


def _start(row: JSONObject) -> Any:
    return row.get("request_start_time", row.get("start_time"))


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
