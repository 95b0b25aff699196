"""Curves through measured costs: monotone, and straight between measured points, never in logarithms."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowsim.calibration.waves import Waves


class Curve:
    """A cost of one size, between measured points by straight lines; outside them the nearest line goes on.

    Args:
        sizes: measured sizes, increasing, shape [n].
        seconds: cost at each; made non-decreasing by isotonic regression.
        tabulate: whole sizes below this are worked out beforehand.
    """

    def __init__(self, sizes: NDArray[Any], seconds: NDArray[Any], tabulate: int = 0) -> None:
        self._sizes: list[float] = np.asarray(sizes, float).tolist()
        self._seconds = isotonic(seconds)
        steps = zip(pairwise(self._sizes), pairwise(self._seconds), strict=True)
        self._slopes: list[float] = [(after - before) / (high - low) for (low, high), (before, after) in steps] or [0.0]
        self._table: list[float] = self._at(np.arange(tabulate)).tolist() if tabulate else []

    def __call__(self, size: float) -> float:
        """Cost at this size, seconds."""
        if isinstance(size, int) and 0 <= size < len(self._table):
            return self._table[size]
        left = min(max(bisect_right(self._sizes, size) - 1, 0), len(self._slopes) - 1)
        return max(self._seconds[left] + self._slopes[left] * (size - self._sizes[left]), 0.0)

    def _at(self, sizes: NDArray[Any]) -> NDArray[Any]:
        """What `__call__` says of each of many sizes."""
        left = np.clip(np.searchsorted(self._sizes, sizes, "right") - 1, 0, len(self._slopes) - 1)
        low, seconds, slopes = (np.array(column)[left] for column in (self._sizes, self._seconds, self._slopes))
        costs: NDArray[Any] = np.maximum(seconds + slopes * (sizes - low), 0.0)
        return costs


class AttentionCurve:
    """The cost of attention, of (tokens, context).

    Between two measured sizes it grows linearly with the work, tokens * (context + (tokens + 1) / 2) query-key
    pairs, which is right both where a fixed cost and where the work dominates; on a context, where the waves are known
    in which a GPU takes it, with the work of full ones. Between two measured contexts it grows linearly with the
    context. Beyond the last context it goes on with the work.
    """

    def __init__(
        self, tokens: NDArray[Any], context: NDArray[Any], seconds: NDArray[Any], waves: Waves | None = None
    ) -> None:
        self._waves, self._contexts = waves, sorted({int(c) for c in context})
        self._rows = []
        for c in self._contexts:
            sizes = np.array([taken(t, c, waves) for t in tokens[context == c].tolist()])
            self._rows.append(Curve(sizes, seconds[context == c]))

    def __call__(self, tokens: int, context: int) -> float:
        """Device seconds of one layer's attention for `tokens` new ones on top of `context`."""
        if not tokens:
            return 0.0
        contexts, rows, waves = self._contexts, self._rows, self._waves
        below = bisect_right(contexts, context)
        if below <= 1 and context <= contexts[0]:
            return rows[0](taken(tokens, context, waves))
        alone, room = work(tokens, 0), tokens if waves is None else waves.room(tokens)
        # The largest so far: noise must not let it fall from one context to the next.
        at_low = max([row(room * c + alone) for row, c in zip(rows[:below], contexts, strict=False)])
        if below == len(contexts):
            return max(at_low, rows[-1](room * context + alone))
        low, high = contexts[below - 1], contexts[below]
        at_high = max(at_low, rows[below](room * high + alone))
        return at_low + (at_high - at_low) * (context - low) / (high - low)


def work(tokens: Any, context: Any) -> Any:
    """Query-key pairs of causal attention: tokens * context + tokens * (tokens + 1) / 2."""
    return tokens * context + tokens * (tokens + 1) / 2


def taken(tokens: int, context: int, waves: Waves | None) -> float:
    """Query-key pairs for which a GPU's multiprocessors are kept: `work`, but on a context that of full waves."""
    room = tokens if waves is None else waves.room(tokens)
    return float(room * context + work(tokens, 0))


def isotonic(values: NDArray[Any]) -> list[float]:
    """The non-decreasing sequence nearest to `values`, with weights 1 / value: pool adjacent violators.

    Source: Barlow et al., Statistical Inference under Order Restrictions, 1972. Ours because scipy's takes longer to
    import than a whole run takes.
    """
    pools: list[tuple[float, float, int]] = []  # sum of weight * value, sum of weights, members
    for value in values.tolist():
        weight = 1 / max(value, 1e-9)
        total, members = weight * value, 1
        while pools and pools[-1][0] * weight >= total * pools[-1][1]:
            before = pools.pop()
            total, weight, members = total + before[0], weight + before[1], members + before[2]
        pools.append((total, weight, members))
    return [total / weight for total, weight, members in pools for _ in range(members)]
