"""Host times: what a host usually takes, apart from the time in which it is busy with other work."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.costs.table_rows import (
    ALL_REDUCE,
    GRAPH,
    GRAPH_RESTED,
    HOST_OPERATORS,
    MODEL_OPERATORS,
    OPTIONAL_HOST_OPERATORS,
)

SWITCH_S = 1e-4
"""How long a thread may keep the interpreter from another that wants it while serving; Python's default is 5 ms."""
PROCEED_US = {64: 62.0, 512: 64.1, 1024: 68.8, 2048: 75.0, 4096: 95.3, 8192: 109.4}
"""By the tokens of a forward, microseconds from a pass's stop at a cut, where the policy wakes, until it runs on: the
medians of 9000 stops of llama3-8b on the host of an H200 (2026-11-28, 16 cores). The longer the segment before the
stop, the colder are the caches of both threads."""
UNREST = 1.25
"""A host that takes this many times as long as when it is quiet is busy with other work."""
QUIETEST = 0.05
"""The quantile of times that counts as quiet: the minimum may be chance."""
SLOWEST_OF_RANKS = 1.2
"""Launch time of a rank over that on one host: at every all-reduce the ranks wait for the slowest of their
hosts. It has the least mean error, in steps of 0.1, at whole prompts of < 1024 tokens of six models on two H200s; with
any one of them left out it is 1.2, but 1.3 without qwen3-8b (docs/calibration.md)."""

APART = (*HOST_OPERATORS, *OPTIONAL_HOST_OPERATORS, *MODEL_OPERATORS, ALL_REDUCE, GRAPH, GRAPH_RESTED)
"""Operators that are not launched in every layer of one rank."""

Usual = Callable[[ArrayLike], float]


class StopTimes(NamedTuple):
    """What a stop at a cut takes where the policy wakes, seconds: a decision, and then until the runner begins.

    Attributes:
        decision_s: from the scheduler's word of the stop until it has decided.
        proceed_s: from then until the same pass runs on.
        other_s: from then until another pass runs.
    """

    decision_s: float
    proceed_s: float
    other_s: float

    @classmethod
    def of(cls, whole_s: float, acknowledge_s: float, decision_s: float, resume_s: float) -> StopTimes:
        """What follows where the same pass runs on `whole_s` after its stop, and another takes the rest of the three.

        Threads that have just done the same need little for that: they may know of the stop and decide sooner.
        """
        left_s = max(whole_s - acknowledge_s, 0.0)
        short_s = min(decision_s, left_s)
        saved_s = acknowledge_s - min(acknowledge_s, whole_s) + decision_s - short_s
        return cls(short_s, left_s - short_s, resume_s + saved_s)


def usual_of(table: OperatorTable) -> Usual:
    """The estimator of a table's usual host time, from times in seconds at several sizes.

    On a busy host times have two modes: the time on a quiet host, and up to three times that while it does other work.
    The estimator is `shorth`, or `undisturbed` if the host was busy for most of the table, judged by what launching a
    layer took at each size without context.
    """
    taken: dict[int, list[float]] = {}
    for row in table.operators:
        if not row.context and row.operator not in APART:
            taken.setdefault(row.tokens, []).append(row.host_us)
    most = max(map(len, taken.values()), default=0)
    layers = np.array([sum(times) for times in taken.values() if len(times) == most])
    busy = layers.size and shorth(layers) > UNREST * np.quantile(layers, QUIETEST)
    return undisturbed if busy else shorth


def slowest_of_ranks(usual: Usual) -> Usual:
    """The estimator of what the slowest host of a group of ranks takes, from times on one host."""
    return lambda values: SLOWEST_OF_RANKS * usual(values)


def proceed_of_h200(tokens: float) -> float:
    """Seconds, by the tokens of a forward, of what a table may lack: interpolated in `PROCEED_US`."""
    return float(np.interp(tokens, list(PROCEED_US), list(PROCEED_US.values()))) * 1e-6


def undisturbed(values: ArrayLike) -> float:
    """The median of the values within `UNREST` times the quiet quantile; at least one value."""
    taken = np.asarray(values, float)
    return float(median(taken[taken <= UNREST * np.quantile(taken, QUIETEST)].tolist()))


def shorth(values: ArrayLike) -> float:
    """The median of the shortest half of the values, the first such half; at least one value.

    With two modes, it is in the larger one. Half of n values are n // 2 + 1. P. J. Rousseeuw and
    A. M. Leroy, A robust scale estimator based on the shortest half, Statistica Neerlandica 42 (1988).
    """
    ordered = np.sort(np.asarray(values, float))
    half = ordered.size // 2 + 1
    first = int(np.argmin(ordered[half - 1 :] - ordered[: ordered.size - half + 1]))
    return float(median(ordered[first : first + half].tolist()))
