"""Logs of servers that are simulated, so that their stack is known."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

import flowsim
from flowsim.traces.trace import Trace


def served(seed: int, n: int = 250, gap_s: float = 0.7, most: int = 20_000, **stack: Any) -> Trace:
    """A log of n prompts of 100 to `most` tokens, Poisson arrivals, on an H200 behind this stack."""
    random = np.random.default_rng(seed)
    arrival_s = np.cumsum(random.exponential(gap_s, n))
    tokens = np.exp(random.uniform(np.log(100), np.log(most), n)).astype(np.int64)
    result = flowsim.run(Trace.of(arrival_s, tokens), "fcfs", slo=100, bound=False, seed=seed + 1, **stack)
    return Trace.of(arrival_s, tokens, ttft_s=result.ttft_s, name="log")


def bench_json(log: Trace) -> str:
    """What `vllm bench serve` would have saved of it."""
    n = len(log)
    lists = {"input_lens": log.input_length.tolist(), "output_lens": [1] * n, "ttfts": log.ttft_s.tolist()}
    lists |= {"start_times": log.arrival_s.tolist(), "itls": [[]] * n, "errors": [""] * n}
    return json.dumps({"max_concurrency": None, **lists})
