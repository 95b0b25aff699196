"""Run all benchmark cases, each several times in a process of its own, and print the medians."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

TRACES = Path(__file__).resolve().parents[2] / "shared" / "traces"
AZURE = "azure_llm_2023/AzureLLMInferenceTrace_conv.csv.gz"
MOONCAKE = "mooncake_fast25/conversation_trace.jsonl.gz"
CASES = [
    # (name, trace, policy, load as a share of the policy's capacity, asked: requests a CPU-second)
    ("fcfs, 80 % of capacity", AZURE, "fcfs", 0.8, 30_000),
    ("flowprefill, 80 % of capacity", AZURE, "flowprefill", 0.8, 20_000),
    ("flowprefill, 150 % of capacity", AZURE, "flowprefill", 1.5, 8_000),
    ("chunked:2048, 80 % of capacity", AZURE, "chunked:2048", 0.8, None),
    ("fcfs, 80 % of capacity", MOONCAKE, "fcfs", 0.8, 20_000),
    ("flowprefill, 80 % of capacity", MOONCAKE, "flowprefill", 0.8, None),
]


def case(*arguments: str) -> dict[str, Any]:
    """Run one case in a fresh process, on one core: the idle threads of NumPy's BLAS count as CPU time, too."""
    command = [sys.executable, "-m", "benchmarks.case", *arguments]
    alone = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=alone)
    return dict(json.loads(done.stdout))


def median(runs: int, *arguments: str) -> dict[str, Any]:
    """The run with the median CPU time."""
    results = sorted((case(*arguments) for _ in range(runs)), key=lambda result: result["cpu_s"])
    return results[len(results) // 2]


def start_s(runs: int) -> float:
    """Seconds of CPU to start Python, import flowsim and load the shipped cost table."""
    code = "import flowsim, time; flowsim.load_cost(None); print(time.process_time())"
    outputs = [subprocess.run([sys.executable, "-c", code], check=True, capture_output=True) for _ in range(runs)]
    return statistics.median(float(output.stdout) for output in outputs)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--traces", type=Path, default=TRACES, help="folder of the production traces")
    parser.add_argument("--runs", type=int, default=5, help="runs of each case; the median counts")
    parser.add_argument("--million", action="store_true", help="also replay a generated million requests")
    options = parser.parse_args()
    table = Table("trace", "case", "requests", "CPU s", "requests / CPU s", "asked", "bare SimPy queue is", "peak MB")
    for name, path, policy, share, asked in CASES:
        source = str(options.traces / path)
        if not Path(source).exists():
            source = "synthetic:20000"
        rate_rps = share * case("capacity", source, policy)["rps"]
        ours, bare = median(options.runs, "run", source, policy, str(rate_rps)), median(options.runs, "bare", source)
        add(table, name, ours, bare["cpu_s"], f"{asked:,}" if asked else "")
    if options.million:
        for policy in ("fcfs", "flowprefill"):
            source = "synthetic:1000000"
            rate_rps = 0.8 * case("capacity", source, policy)["rps"]
            ours, bare = case("run", source, policy, str(rate_rps)), case("bare", source)
            add(table, f"{policy}, 80 % of capacity", ours, bare["cpu_s"], "under 90 s, 1500 MB")
    console = Console(width=140)
    console.print(table)
    console.print(f"start, import flowsim, load the cost table: {start_s(options.runs):.2f} s of CPU (asked: under 1)")


def add(table: Table, name: str, ours: dict[str, Any], bare_s: float, asked: str) -> None:
    """One row."""
    rate = ours["requests"] / ours["cpu_s"]
    cells = (ours["case"], name, f"{ours['requests']:,}", f"{ours['cpu_s']:.2f}", f"{rate:,.0f}", asked)
    table.add_row(*cells, f"{ours['cpu_s'] / bare_s:.1f} x faster", f"{ours['peak_mb']:.0f}")


if __name__ == "__main__":
    main()
