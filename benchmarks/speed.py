"""Requests per CPU-second of several traces, policies and loads, beside a bare SimPy queue."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.process import AZURE, MOONCAKE, case, source

CASES = [
    # (name, trace, policy, load as a share of the policy's capacity, required: requests per CPU-second)
    ("fcfs, 80 % of capacity", AZURE, "fcfs", 0.8, 30_000),
    ("flowprefill, 80 % of capacity", AZURE, "flowprefill", 0.8, 20_000),
    ("flowprefill, 150 % of capacity", AZURE, "flowprefill", 1.5, 8_000),
    ("chunked:2048, 80 % of capacity", AZURE, "chunked:2048", 0.8, None),
    ("fcfs, 80 % of capacity", MOONCAKE, "fcfs", 0.8, 20_000),
    ("flowprefill, 80 % of capacity", MOONCAKE, "flowprefill", 0.8, None),
]


def report(*, traces: Path, runs: int, million: bool) -> None:
    """Run every case and print the table of medians."""
    table = Table(
        "trace", "case", "requests", "CPU s", "requests / CPU s", "required", "bare SimPy queue is", "peak MB"
    )
    for name, path, policy, share, required in CASES:
        trace = source(traces, path)
        rate_rps = share * case("capacity", trace, policy)["rps"]
        ours, bare = median(runs, "run", trace, policy, str(rate_rps)), median(runs, "bare", trace)
        add(table, name, ours, bare["cpu_s"], f"{required:,}" if required else "")
    if million:
        for policy in ("fcfs", "flowprefill"):
            trace = "synthetic:1000000"
            rate_rps = 0.8 * case("capacity", trace, policy)["rps"]
            ours, bare = case("run", trace, policy, str(rate_rps)), case("bare", trace)
            add(table, f"{policy}, 80 % of capacity", ours, bare["cpu_s"], "under 90 s, 1500 MB")
    console = Console(width=140)
    console.print(table)
    start_s = statistics.median(case("start")["cpu_s"] for _ in range(runs))
    console.print(f"start, import flowsim, load the cost table: {start_s:.2f} s of CPU (required: under 1)")


def median(runs: int, *arguments: str) -> dict[str, Any]:
    """The run with the median CPU time."""
    results = sorted((case(*arguments) for _ in range(runs)), key=lambda result: result["cpu_s"])
    return results[len(results) // 2]


def add(table: Table, name: str, ours: dict[str, Any], bare_s: float, required: str) -> None:
    """One row."""
    rate = ours["requests"] / ours["cpu_s"]
    cells = (ours["case"], name, f"{ours['requests']:,}", f"{ours['cpu_s']:.2f}", f"{rate:,.0f}", required)
    table.add_row(*cells, f"{ours['cpu_s'] / bare_s:.1f} x faster", f"{ours['peak_mb']:.0f}")
