"""One benchmark case in a process of its own: prints one JSON line. CPU seconds count from after the imports.

It runs under other versions of flowsim too (`python -m benchmarks versus`), so it uses only what they share.
"""

from __future__ import annotations

import inspect
import json
import resource
import sys
import time
from pathlib import Path

BEFORE_S = time.process_time()
import flowsim  # noqa: E402

run, load_cost = flowsim.run, flowsim.load_cost  # imported no later than here
IMPORT_S = time.process_time() - BEFORE_S

import simpy  # noqa: E402

from flowsim.traces.synthetic import synthesize  # noqa: E402

SATURATING = 1000.0
REPLAY = {"bound": False} if "bound" in inspect.signature(run).parameters else {}
"""A replay only, without the clairvoyant bound; older versions have none."""


def load(source: str) -> flowsim.Trace:
    """A trace file, or "synthetic:N" for N generated requests."""
    if source.startswith("synthetic:"):
        return synthesize(int(source.partition(":")[2]), rate_rps=20.0, seed=1)
    return flowsim.load_trace(source)


def capacity_rps(trace: flowsim.Trace, policy: str) -> float:
    """Requests per second that the policy completes when they all wait from the start."""
    part = trace.head(4000)
    result = run(part, policy, rate_scale=SATURATING, **REPLAY)
    return len(part) / result.span_s


def replay(source: str, policy: str, rate_rps: float) -> dict[str, float]:
    """Load, simulate, and summarise."""
    begin = time.process_time()
    trace = load(source)
    result = run(trace, policy, rate_scale=rate_rps / trace.rate_rps, **REPLAY)
    summary = result.summary
    cpu_s = time.process_time() - begin
    assert summary["finished"] == summary["requests"]
    return {"requests": len(trace), "cpu_s": cpu_s, "attainment": summary["attainment"]}


def bare_queue(source: str) -> dict[str, float]:
    """The limit: the same arrivals through one SimPy process and one Store, one timeout of service each."""
    begin = time.process_time()
    trace = load(source)
    env = simpy.Environment()
    store = simpy.Store(env)

    def arrive() -> simpy.events.ProcessGenerator:
        for arrival_s in trace.arrival_s.tolist():
            yield env.timeout(max(arrival_s - env.now, 0.0))
            yield store.put(arrival_s)

    def serve() -> simpy.events.ProcessGenerator:
        for _ in range(len(trace)):
            yield store.get()
            yield env.timeout(1e-3)

    env.process(arrive())
    env.run(env.process(serve()))
    return {"requests": len(trace), "cpu_s": time.process_time() - begin}


def study(seeds: int) -> dict[str, float]:
    """A study of small runs, one per policy and seed, one after another."""
    policies = ["fcfs", "chunked:2048", "edf", "flowprefill"]
    grid = {"run": {"trace": "synthetic:qwen:40"}, "axes": {"policy": policies, "seed": {"from": 1, "to": seeds}}}
    begin = time.process_time()
    runs = flowsim.sweep(grid, "study", workers=1)
    assert len(runs.table) == len(policies) * seeds
    return {"requests": 40 * len(runs.table), "cpu_s": time.process_time() - begin}


def start() -> dict[str, float]:
    """All CPU time until the shipped cost table is loaded."""
    load_cost(None)
    return {"cpu_s": time.process_time()}


def main() -> None:
    """Run the case that the command line names."""
    match sys.argv[1:]:
        case ["import"]:
            figures = {"cpu_s": IMPORT_S}
        case ["start"]:
            figures = start()
        case ["study", seeds]:
            figures = study(int(seeds))
        case ["bare", source]:
            figures = bare_queue(source)
        case ["capacity", source, policy]:
            figures = {"rps": capacity_rps(load(source), policy)}
        case ["run", source, policy, rate_rps]:
            figures = replay(source, policy, float(rate_rps))
    figures["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"case": Path(sys.argv[2]).name if len(sys.argv) > 2 else sys.argv[1], **figures}))


if __name__ == "__main__":
    main()
