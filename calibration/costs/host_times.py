"""What a host usually takes, when others use it too: at its own pace, not at that of what else it does."""

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
"""A host that takes so many times what it takes at its quietest is busy with something else."""
QUIETEST = 0.05
"""The quantile of times that counts as a host's quietest: the least of them may be chance."""

APART = (*HOST_OPERATORS, *OPTIONAL_HOST_OPERATORS, *MODEL_OPERATORS, ALL_REDUCE, GRAPH, GRAPH_RESTED)
"""Operators that are not launched in each layer of one rank."""

Usual = Callable[[ArrayLike], float]


def usual_of(table: OperatorTable) -> Usual:
    """How to tell what the host of a table usually took from its times, seconds at several sizes.

    On a busy host they gather twice: at its own pace, and at up to three times that for as long as it does something
    else. So it is `shorth`; but `undisturbed` if the host was busy for most of the table, by what launching a layer
    took at each size without context.
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
    """The median of those of these values, at least one, that are within `UNREST` times the quietest."""
    taken = np.asarray(values, float)
    return float(np.median(taken[taken <= UNREST * np.quantile(taken, QUIETEST)]))


def shorth(values: ArrayLike) -> float:
    """The median of the half of these values, at least one, that lies closest together, the first such half.

    Where values gather twice, it is where most of them are. Half is one more than n // 2 of n. P. J. Rousseeuw and
    A. M. Leroy, A robust scale estimator based on the shortest half, Statistica Neerlandica 42 (1988).
    """
    ordered = np.sort(np.asarray(values, float))
    half = ordered.size // 2 + 1
    first = int(np.argmin(ordered[half - 1 :] - ordered[: ordered.size - half + 1]))
    return float(np.median(ordered[first : first + half]))
