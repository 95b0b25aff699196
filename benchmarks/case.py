"""One benchmark case in a process of its own: prints one JSON line. CPU seconds count from after the imports."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import simpy

import flowsim
from flowsim.traces.synthetic import synthesize

SATURATING = 1000.0


def load(source: str) -> flowsim.Trace:
    """A trace file, or "synthetic:N" for N generated requests."""
    if source.startswith("synthetic:"):
        return synthesize(int(source.partition(":")[2]), rate_rps=20.0, seed=1)
    return flowsim.load_trace(source)


def capacity_rps(trace: flowsim.Trace, policy: str) -> float:
    """Requests a second that the policy completes when they all wait from the start."""
    part = trace.head(4000)
    result = flowsim.run(part, policy, rate_scale=SATURATING)
    return len(part) / result.span_s


def replay(source: str, policy: str, rate_rps: float) -> dict[str, float]:
    """Load, simulate, and summarise."""
    begin = time.process_time()
    trace = load(source)
    result = flowsim.run(trace, policy, rate_scale=rate_rps / trace.rate_rps)
    summary = result.summary
    cpu_s = time.process_time() - begin
    assert summary["finished"] == summary["requests"]
    return {"requests": len(trace), "cpu_s": cpu_s, "attainment": summary["attainment"]}


def bare_queue(source: str) -> dict[str, float]:
    """The limit: the same arrivals through one SimPy process and one Store, a timeout of service for each."""
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


def main() -> None:
    """Run the case that the command line names."""
    kind, source, *rest = sys.argv[1:]
    if kind == "bare":
        figures = bare_queue(source)
    elif kind == "capacity":
        figures = {"rps": capacity_rps(load(source), rest[0])}
    else:
        figures = replay(source, rest[0], float(rest[1]))
    figures["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"case": Path(source).name, **figures}))


if __name__ == "__main__":
    main()
