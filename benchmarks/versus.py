"""This version beside another one: both run alternately, so that a busy machine slows both."""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.process import AZURE, MOONCAKE, case, source

LOAD = 0.8
"""Share of a policy's capacity at which traces are replayed."""
REPLAYS = [("Azure", AZURE, "fcfs"), ("Azure", AZURE, "flowprefill"), ("Mooncake", MOONCAKE, "flowprefill")]


def report(python: Path, *, traces: Path, runs: int) -> None:
    """Print CPU seconds of both versions, and how many times as fast this one is.

    Args:
        python: the interpreter that imports the other version.
    """
    console = Console(width=100, stderr=False)
    table = Table("case", "this, CPU s", "other, CPU s", "speed, this / other", title=f"medians of {runs} runs")
    for name, arguments in track(_cases(traces), console=Console(stderr=True), description="running"):
        ours, others = alternately(arguments, python, runs)
        table.add_row(name, f"{ours:.3f}", f"{others:.3f}", f"{others / ours:.3f}")
    console.print(table)


def alternately(arguments: list[str], python: Path, runs: int) -> tuple[float, float]:
    """Median CPU seconds of a case in this version and in the other; each goes first every other time."""
    sides: list[tuple[Path, list[float]]] = [(Path(sys.executable), []), (python, [])]
    for i in range(runs):
        for which, seconds in sides[:: -1 if i % 2 else 1]:
            seconds.append(case(*arguments, python=which)["cpu_s"])
    ours, others = (statistics.median(seconds) for _, seconds in sides)
    return ours, others


def _cases(traces: Path) -> list[tuple[str, list[str]]]:
    """Name and arguments of every case. Both versions replay at the rate that this one finds."""
    found = []
    for name, path, policy in REPLAYS:
        trace = source(traces, path)
        rate_rps = LOAD * case("capacity", trace, policy)["rps"]
        found.append((f"{name}, {policy}", ["run", trace, policy, str(rate_rps)]))
    return [*found, ("a study of 1,000 small runs", ["study", "250"]), ("import flowsim", ["import"])]
