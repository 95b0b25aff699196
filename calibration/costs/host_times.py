"""Host times: what a host usually takes, apart from the time in which it is busy with other work."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from flowsim.calibration.costs.table import (
    ALL_REDUCE,
    GRAPH,
    GRAPH_RESTED,
    HOST_OPERATORS,
    MODEL_OPERATORS,
    OPTIONAL_HOST_OPERATORS,
    OperatorTable,
)

SWITCH_S = 1e-4
"""How long a thread may keep the interpreter from another that wants it while serving; Python's default is 5 ms."""
UNREST = 1.25
"""A host that takes this many times as long as when it is quiet is busy with other work."""
QUIETEST = 0.05
"""The quantile of times that counts as quiet: the minimum may be chance."""

APART = (*HOST_OPERATORS, *OPTIONAL_HOST_OPERATORS, *MODEL_OPERATORS, ALL_REDUCE, GRAPH, GRAPH_RESTED)
"""Operators that are not launched in every layer of one rank."""

Usual = Callable[[ArrayLike], float]


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


def undisturbed(values: ArrayLike) -> float:
    """The median of the values within `UNREST` times the quiet quantile; at least one value."""
    taken = np.asarray(values, float)
    return float(np.median(taken[taken <= UNREST * np.quantile(taken, QUIETEST)]))


def shorth(values: ArrayLike) -> float:
    """The median of the shortest half of the values, the first such half; at least one value.

    With two modes, it is in the larger one. Half of n values are n // 2 + 1. P. J. Rousseeuw and
    A. M. Leroy, A robust scale estimator based on the shortest half, Statistica Neerlandica 42 (1988).
    """
    ordered = np.sort(np.asarray(values, float))
    half = ordered.size // 2 + 1
    first = int(np.argmin(ordered[half - 1 :] - ordered[: ordered.size - half + 1]))
    return float(np.median(ordered[first : first + half]))
