"""`flowsim.bound`: how much of a workload any scheduler could serve within its SLOs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from flowsim.clairvoyant.bound import Bound, bound_of
from flowsim.errors import InputError
from flowsim.results.metrics import after_warmup
from flowsim.runs.keywords import documented, from_keywords
from flowsim.runs.prepare import Prepared, prepare
from flowsim.traces.trace import Trace

ANY_POLICY = "fcfs"
"""A bound holds for every policy; a run has one."""


@documented
def bound(trace: Trace | str | Path, **options: Any) -> Bound:
    """The clairvoyant bound on the attainment of a trace: no policy exceeds `upper`, and the optimum is >= `lower`.

    Args:
        trace: a `Trace`, or the name of one: a file, "example", or "synthetic:PRESET:N".
        {options}

    Raises:
        InputError: something that was given is wrong, or the replay is cut off (`until_s`); one line says what.
    """
    ready = prepare(*from_keywords(trace, ANY_POLICY, options))
    if ready.options.until_s is not None:
        raise InputError("until_s", found=ready.options.until_s, expected="none: a bound is that of a whole replay")
    return bound_of_run(ready)


def bound_of_run(ready: Prepared, *, lower: bool = True) -> Bound:
    """The bound of what was prepared, whatever its policy; without `lower` only the upper one."""
    counted = after_warmup(len(ready.trace), ready.options.warmup) & ~np.isnan(ready.slo.ttft_slo_s)
    return bound_of(ready.requests, counted, ready.costs, ready.options.server, ready.prefixes, lower=lower)
