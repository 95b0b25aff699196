"""How often the intervals of a fitted stack hold it: `python -m benchmarks.stack_coverage` writes into docs/servers.md.

The truth is known: logs are simulated with a stack, and the stack is fitted to them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from joblib import Parallel, delayed

import flowsim
from benchmarks.coverage import write_tables
from flowsim.io.counts import percent
from flowsim.runs.options import from_values
from flowsim.traces.trace import Trace
from flowsim.validation.stack_fit import StackFit, fit_stack

PAGE = Path(__file__).parents[1] / "docs" / "servers.md"
STACK: Mapping[str, Any] = {
    "frontend_s": 0.02, "return_s": 0.003, "jitter": "exponential:0.004", "device_factor": 1.06
}  # fmt: skip
HOST_S = 0.002
TRUTH = {"device_factor": 1.06, "frontend_s": 0.023, "host_s": HOST_S, "jitter MEAN": 0.004}
"""What a fit should find: the way back is in the constant."""


def served(seed: int, n: int = 250, gap_s: float = 0.7, most: int = 20_000, **stack: Any) -> Trace:
    """A log of n prompts of 100 to `most` tokens, Poisson arrivals, on an H200 behind this stack."""
    random = np.random.default_rng(seed)
    arrival_s = np.cumsum(random.exponential(gap_s, n))
    tokens = np.exp(random.uniform(np.log(100), np.log(most), n)).astype(np.int64)
    result = flowsim.run(Trace.of(arrival_s, tokens), "fcfs", slo=100, bound=False, seed=seed + 1, **stack)
    return Trace.of(arrival_s, tokens, ttft_s=result.ttft_s, name="log")


def profile(seed: int, n: int = 150, most: int = 20_000, **stack: Any) -> Trace:
    """A log of n such prompts, each sent when the one before has its first token."""
    tokens = np.exp(np.random.default_rng(seed).uniform(np.log(100), np.log(most), n)).astype(np.int64)
    options = {"slo": 100, "bound": False, "concurrency": 1, "seed": seed + 1, **stack}
    ttft_s = flowsim.run(Trace.of([0] * n, tokens), "fcfs", **options).ttft_s
    arrival_s = np.concatenate(([0.0], np.cumsum(ttft_s)[:-1]))
    return replace(Trace.of(arrival_s, tokens, ttft_s=ttft_s, name="log"), concurrency=1)


LOGS: Mapping[str, tuple[int, Callable[[int], Trace]]] = {
    "one forward": (30, lambda seed: served(seed, most=8000, **STACK)),
    "several forwards": (30, lambda seed: served(seed, host_s=HOST_S, **STACK)),
    "profiles": (20, lambda seed: profile(seed, host_s=HOST_S, **STACK)),
}
"""The kinds of logs: how many of each, and what makes one of a seed."""


def fitted(kind: str, seed: int) -> StackFit:
    """What is fitted to one log."""
    return fit_stack(LOGS[kind][1](seed), from_values({"trace": "log", "policy": "fcfs", "slo": 100.0}))


def held(fits: Sequence[StackFit], name: str) -> tuple[int, int]:
    """How many intervals of this number hold it, of how many."""
    found = [fit.estimates[name] for fit in fits if name in fit.estimates]
    return sum(one.low <= TRUTH[name] <= one.high for one in found), len(found)


def width(fits: Sequence[StackFit], name: str) -> float:
    """How wide the interval of this number is, the median."""
    return median(fit.estimates[name].high - fit.estimates[name].low for fit in fits)


def table(fits: Mapping[str, Sequence[StackFit]]) -> str:
    """The table in Markdown."""
    lines = [
        "| logs | factor | constant | host time | jitter's mean | width of the factor's | of the constant's "
        "| lognormal | without a stack | unseen blocks |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for kind, some in fits.items():
        counts = [held(some, name) for name in TRUTH]
        cells = [f"{right} of {known}" if known else "-" for right, known in counts]
        cells += [f"{width(some, 'device_factor'):.3f}", f"{width(some, 'frontend_s') * 1e3:.1f} ms"]
        cells.append(str(sum(fit.server["jitter"].startswith("lognormal") for fit in some)))
        cells += [_range_ms([fit.before_s for fit in some]), _range_ms([fit.after_s for fit in some])]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    every = [fit for some in fits.values() for fit in some]
    together = [percent(right / known, 0) for right, known in (held(every, name) for name in TRUTH)]
    return "\n".join([*lines, f"| together | {' | '.join(together)} | | | | | |"])


def _range_ms(seconds: Sequence[float]) -> str:
    return f"{min(seconds) * 1e3:.1f} to {max(seconds) * 1e3:.1f} ms"


def main() -> None:
    """Write the table into the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stack_coverage")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    work = [(kind, seed) for kind, (number, _) in LOGS.items() for seed in range(number)]
    done = Parallel(parser.parse_args().jobs)(delayed(fitted)(kind, seed) for kind, seed in work)
    fits: dict[str, list[StackFit]] = {kind: [] for kind in LOGS}
    for (kind, _), fit in zip(work, done, strict=True):
        fits[kind].append(fit)
    write_tables(PAGE, {"stack": table(fits)})


if __name__ == "__main__":
    main()
