"""Logs of servers: written by hand, and of simulated servers, whose stack is known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

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


def bench_json(log: Trace) -> str:
    """What `vllm bench serve` would have saved of it."""
    n = len(log)
    lists = {"input_lens": log.input_length.tolist(), "output_lens": [1] * n, "ttfts": log.ttft_s.tolist()}
    lists |= {"start_times": log.arrival_s.tolist(), "itls": [[]] * n, "errors": [""] * n}
    return json.dumps({"max_concurrency": None, **lists})
