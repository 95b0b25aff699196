"""Which part of a run a timeline shows: all of it, a window, or its worst requests."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

import numpy as np

from flowsim.errors import InputError
from flowsim.results.metrics import REJECTED
from flowsim.results.result import RunResult

MOST_REQUESTS = 20_000
"""A timeline of all requests is written for no more."""


@dataclass(frozen=True)
class Bounds:
    """What is shown.

    Attributes:
        spans: separate stretches of time, seconds, ascending; what overlaps one of them is shown.
        requests: the requests that are shown; None for all.
    """

    spans: tuple[tuple[float, float], ...]
    requests: Set[int] | None = None

    def keeps(self, began_s: float, ended_s: float) -> bool:
        """Whether what lasts from `began_s` to `ended_s` is shown."""
        return any(began_s <= last_s and ended_s >= first_s for first_s, last_s in self.spans)

    def keeps_request(self, id: int, began_s: float, ended_s: float) -> bool:
        """Whether a request that is there from `began_s` to `ended_s` is shown."""
        return (self.requests is None or id in self.requests) and self.keeps(began_s, ended_s)


def bounds_of(result: RunResult, window_s: tuple[float, float] | None = None, worst: int | None = None) -> Bounds:
    """What a timeline of this result shows.

    Args:
        result: the run.
        window_s: from when to when, seconds.
        worst: that many requests, the ones that miss their SLO by most or meet it by least, while they wait.

    Raises:
        InputError: the window is empty, `worst` is not positive, or neither is given and there are too many requests.
    """
    if window_s is not None and not window_s[0] < window_s[1]:
        raise InputError("window", found=f"{window_s[0]:g}:{window_s[1]:g}", expected="A:B with A < B, in seconds")
    if worst is not None and worst < 1:
        raise InputError("worst", found=worst, expected=">= 1")
    n = len(result.trace)
    if window_s is None and worst is None and n > MOST_REQUESTS:
        expected = "a window or a number of the worst requests"
        raise InputError("timeline", f"would show {n:,} requests, more than {MOST_REQUESTS:,}", expected=expected)
    within = (0.0, float("inf")) if window_s is None else window_s
    if worst is None:
        return Bounds((within,))
    ids = worst_requests(result, worst)
    arrival_s, until_s = result.trace.arrival_s, until(result)
    spans = sorted((max(float(arrival_s[id]), within[0]), min(float(until_s[id]), within[1])) for id in ids)
    return Bounds(tuple(_merged([(a, b) for a, b in spans if a <= b])), frozenset(ids))


def worst_requests(result: RunResult, number: int) -> list[int]:
    """The counted requests that miss their SLO by most, or else meet it by least: first those without a first token."""
    late_s = np.where(result.counted, result.metrics.ttft_bound_s - result.slo.ttft_slo_s, -np.inf)
    ids = np.argsort(-late_s, kind="stable")[: min(number, int(result.counted.sum()))]
    return [int(id) for id in ids]


def until(result: RunResult) -> np.ndarray:
    """When each request was done with, shape [n], seconds: its first token, its rejection, or the end of the replay."""
    rejected_s, metrics = np.array(result.outcome.ledger.rejected_s), result.metrics
    ended_s = np.where(np.isnan(metrics.finished_s), result.outcome.stopped_s, metrics.finished_s)
    return np.where(metrics.state == REJECTED, rejected_s, ended_s)


def _merged(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    for began_s, ended_s in spans:
        if found and began_s <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], ended_s)
        else:
            found.append((began_s, ended_s))
    return found
