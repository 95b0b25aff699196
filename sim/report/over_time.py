"""What a run was like over time: how many requests waited, and how much of its devices was used."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flowsim.core.events import stretches
from flowsim.report.timeline_bounds import until
from flowsim.results.quantiles import Floats
from flowsim.results.result import RunResult

BINS = 160
"""Stretches of equal length into which a run is divided."""


class OverTime(NamedTuple):
    """Means over each of k stretches of equal length.

    Attributes:
        began_s: when each begins, seconds, and when the last ends, shape [k + 1].
        waiting: requests that wait for their first launch, shape [k].
        used: the share of the devices' time in which they execute passes, shape [k].
    """

    began_s: Floats
    waiting: Floats
    used: Floats


def over_time(result: RunResult, bins: int = BINS) -> OverTime:
    """What a run was like over time. InputError: it was made without `events=True`."""
    until_s = until(result)
    end_s = max(float(until_s.max(initial=0.0)), 1e-9)
    edges_s = np.linspace(0.0, end_s, bins + 1)
    width_s = edges_s[1]
    started_s = result.metrics.started_s
    waited_until_s = np.where(np.isnan(started_s), until_s, started_s)
    ran = [stretch[:2] for events in result.events for stretch in stretches(events)]
    began_s, ended_s = np.array(ran, float).reshape(-1, 2).T
    waiting = np.diff(_spent(result.trace.arrival_s, waited_until_s, edges_s)) / width_s
    used = np.diff(_spent(began_s, ended_s, edges_s)) / (width_s * len(result.events))
    return OverTime(edges_s, np.maximum(waiting, 0.0), np.clip(used, 0.0, 1.0))


def _spent(began_s: Floats, ended_s: Floats, times_s: Floats) -> Floats:
    """How much of all these intervals lies before each of `times_s`, seconds."""
    return _before(began_s, times_s) - _before(ended_s, times_s)


def _before(moments_s: Floats, times_s: Floats) -> Floats:
    """For each of `times_s`, the sum of what has passed since each of the moments before it, seconds."""
    ordered_s = np.sort(moments_s)
    sums_s = np.concatenate(([0.0], np.cumsum(ordered_s)))
    places = np.searchsorted(ordered_s, times_s)
    return places * times_s - sums_s[places]
