"""`flowsim.bound`: how much of a workload any scheduler could serve within its SLOs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from flowsim.clairvoyant.bound import Bound, Bounding, Clairvoyant
from flowsim.errors import InputError
from flowsim.results.metrics import after_warmup
from flowsim.runs.keywords import documented, from_keywords
from flowsim.runs.prepare import Prepared, prepare
from flowsim.traces.trace import Trace

ANY_POLICY = "fcfs"
"""A bound holds for every policy; a run has one."""
MOST_REQUESTS, MOST_REPLAYED = 20_000, 2_000
"""More have no bound unless it is asked for, or none but the upper: so what is stated takes a second at most."""


@documented
def bound(trace: Trace | str | Path, **options: Any) -> Bound:
    """The clairvoyant bound on the attainment of a trace: no policy exceeds `upper`, and the optimum is >= `lower`.

    Args:
        trace: a `Trace`, or the name of one: a file, "example", or "synthetic:PRESET:N".
        {options}

    Raises:
        InputError: something that was given is wrong, the replay is cut off (`until_s`), or it is a closed loop
            (`concurrency`); one line says what.
    """
    return clairvoyant(trace, **options).both


@documented
def offered_load(trace: Trace | str | Path, **options: Any) -> float:
    """The least device seconds of work that arrive per second at each instance: at 1 all are always busy.

    It depends on no policy, and is proportional to the rate (with a prefix cache nearly so): a trace of this load has a
    load of 0.7 at `rate_scale=0.7 / load`. The work of a prompt is the least that it takes in any passes
    (`flowsim.clairvoyant.demand`), so policies sustain less than 1. Infinite if all requests arrive at one instant.

    Args:
        trace: a `Trace`, or the name of one: a file, "example", or "synthetic:PRESET:N".
        {options}

    Raises:
        InputError: as `bound` does.
    """
    return clairvoyant(trace, **options).offered_load


def clairvoyant(trace: Trace | str | Path, **options: Any) -> Clairvoyant:
    """What a bound is worked out from; the arguments and errors are those of `bound`."""
    ready = prepare(*from_keywords(trace, ANY_POLICY, options, ""))
    if ready.options.until_s is not None:
        raise InputError("until_s", found=ready.options.until_s, expected="none: a bound is that of a whole replay")
    return clairvoyant_of(ready)


def clairvoyant_of(ready: Prepared) -> Clairvoyant:
    """The bound of what was prepared, whatever its policy and predictor. InputError: it is a closed loop."""
    if ready.options.workload.concurrency is not None:
        problem = "is given, but a closed loop has no bound: when requests arrive depends on the policy"
        raise InputError("workload.concurrency", problem, expected="none")
    return workload_of(ready)


def workload_of(ready: Prepared) -> Clairvoyant:
    """What was prepared, whatever its policy and predictor; of a closed loop, as its requests came."""
    counted = after_warmup(len(ready.trace), ready.options.warmup) & ~np.isnan(ready.slo.ttft_slo_s)
    return Clairvoyant(ready.requests, counted, ready.costs.model, ready.options.server, ready.prefixes)


def bound_to_state(ready: Prepared, progress: Callable[[int, int], None] | None = None) -> Bounding | str | None:
    """What states the bound beside a run of what was prepared, or why none is stated; None if none was asked for.

    `progress` is that of the replays of the bound, as `Clairvoyant` has it.
    """
    asked, n = ready.options.bound, len(ready.trace)
    if asked is False:
        return None
    if ready.options.until_s is not None:
        return "the replay is cut off"
    if ready.options.workload.concurrency is not None:
        return "a closed loop: when requests arrive depends on the policy"
    if asked is None and n > MOST_REQUESTS:
        return f"more than {MOST_REQUESTS:,} requests; ask for it with --bound"
    found = replace(clairvoyant_of(ready), progress=progress)
    if not found.counted.any():
        return "no request counts"
    return partial(found.beside, replayed=bool(asked) or n <= MOST_REPLAYED)
