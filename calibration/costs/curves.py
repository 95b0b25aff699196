"""Curves through measured costs: monotone, and linear between measured points."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowsim.calibration.costs.attention.waves import TILE, Waves


class Curve:
    """A cost as a function of size: linear between measured points, and extrapolated with the nearest line.

    Args:
        sizes: measured sizes, increasing, shape [n].
        seconds: cost at each; made non-decreasing by isotonic regression.
        tabulate: whole sizes below this are computed beforehand.
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
        """The same as `__call__`, for many sizes at once."""
        left = np.clip(np.searchsorted(self._sizes, sizes, "right") - 1, 0, len(self._slopes) - 1)
        low, seconds, slopes = (np.array(column)[left] for column in (self._sizes, self._seconds, self._slopes))
        costs: NDArray[Any] = np.maximum(seconds + slopes * (sizes - low), 0.0)
        return costs


class AttentionCurve:
    """The cost of attention as a function of (tokens, context).

    Between two measured sizes it grows linearly with the work, tokens * (context + (tokens + 1) / 2) query-key pairs,
    which is right whether a fixed cost or the work dominates; on a context it grows with the work of full waves, if
    these are known. Between two measured contexts it grows linearly with the context; beyond the last, with the work.

    Args:
        tokens: measured sizes of chunks, increasing for each context, shape [n].
        context: tokens before each, shape [n].
        seconds: cost of each, shape [n].
        waves: of the GPU, for chunks on context; of the sizes that fill the same waves, the largest counts.
    """

    def __init__(
        self, tokens: NDArray[Any], context: NDArray[Any], seconds: NDArray[Any], waves: Waves | None = None
    ) -> None:
        self._waves, self._contexts = waves, sorted({int(c) for c in context})
        self._rows = []
        for c in self._contexts:
            sizes, at = tokens[context == c].tolist(), seconds[context == c]
            if waves is not None and c:
                last = {waves.quantized(n): i for i, n in enumerate(sizes)}
                sizes, at = [sizes[i] for i in last.values()], at[list(last.values())]
            self._rows.append(Curve(quantized_work(sizes, c, waves), at))

    def __call__(self, tokens: int, context: int) -> float:
        """Device seconds of one layer's attention for `tokens` new tokens on `context`."""
        if not tokens:
            return 0.0
        contexts, rows = self._contexts, self._rows
        below = bisect_right(contexts, context)

        alone, filled = query_key_pairs(tokens, 0), tokens if self._waves is None else self._waves.quantized(tokens)

        def pairs(context: int) -> float:
            return float(alone + filled * context)

        if below <= 1 and context <= contexts[0]:
            return rows[0](pairs(context))
        # The largest so far: noise must not make it fall from one context to the next.
        at_low = max([row(pairs(c)) for row, c in zip(rows[:below], contexts, strict=False)])
        if below == len(contexts):
            return max(at_low, rows[-1](pairs(context)))
        low, high = contexts[below - 1], contexts[below]
        at_high = max(at_low, rows[below](pairs(high)))
        return at_low + (at_high - at_low) * (context - low) / (high - low)

    def of_work(self, pairs: float) -> float:
        """Device seconds of one layer's attention for a whole prompt with this number of query-key pairs."""
        return self._rows[0](pairs)


class WindowedAttention:
    """The mean cost of attention over layers of which some have a sliding window.

    So a whole pass costs what its layers add up to; only at a cut between layers, all count as equal. A windowed chunk
    costs what a chunk of as many query-key pairs costs on full attention: with as many tokens, on less context, or,
    where it has fewer pairs than these have alone, that of a shorter prompt. Kernels compute tiles of queries on all
    keys that any of them sees, which is a tile more than the window.

    Args:
        full: the cost without a window.
        window: the tokens to which a token attends, itself included.
        share: of the layers that have it.
    """

    def __init__(self, full: AttentionCurve, window: int, share: float) -> None:
        self._full, self._window, self._share = full, window + TILE, share

    def __call__(self, tokens: int, context: int) -> float:
        """Device seconds of one layer's attention for `tokens` new tokens on `context`."""
        whole_s = self._full(tokens, context)
        if context + tokens <= self._window:
            return whole_s
        pairs = windowed_pairs(tokens, context, self._window)
        left = (pairs - query_key_pairs(tokens, 0)) / tokens
        windowed_s = self._full(tokens, int(left)) if left >= 0 else self._full.of_work(pairs)
        return whole_s + self._share * min(windowed_s - whole_s, 0.0)


class ChunkedAttention:
    """The mean cost of attention over layers of which some attend within chunks of the sequence, as in Llama 4.

    In these layers, a slice costs what its parts in each chunk cost, as prompts of their own.

    Args:
        full: the cost where all attend to all before them.
        size: tokens of a chunk, counted from the sequence's first.
        share: of the layers that attend within chunks.
    """

    def __init__(self, full: AttentionCurve, size: int, share: float) -> None:
        self._full, self._size, self._share = full, size, share

    def __call__(self, tokens: int, context: int) -> float:
        """Device seconds of one layer's attention for `tokens` new tokens on `context`."""
        whole_s, begun = self._full(tokens, context), context % self._size
        first = min(tokens, self._size - begun)
        chunks, rest = divmod(tokens - first, self._size)
        parts_s = self._full(first, begun) + chunks * self._full(self._size, 0) + self._full(rest, 0)
        return whole_s + self._share * min(parts_s - whole_s, 0.0)


def windowed_pairs(tokens: int, context: int, window: int) -> float:
    """Query-key pairs of causal attention to the last `window` tokens."""
    below = min(max(window - context, 0), tokens)  # queries that see all before them
    return float(query_key_pairs(below, context) + (tokens - below) * window)


def query_key_pairs(tokens: Any, context: Any) -> Any:
    """Query-key pairs of causal attention: tokens * context + tokens * (tokens + 1) / 2."""
    return tokens * context + tokens * (tokens + 1) / 2


def quantized_work(tokens: Sequence[int], context: int, waves: Waves | None) -> NDArray[Any]:
    """The work of each chunk, in query-key pairs, with full waves of tiles on the context."""
    filled = tokens if waves is None else [waves.quantized(n) for n in tokens]
    pairs: NDArray[Any] = np.asarray(filled) * context + query_key_pairs(np.asarray(tokens), 0)
    return pairs


def isotonic(values: NDArray[Any]) -> list[float]:
    """The non-decreasing sequence nearest to `values`, with weights 1 / value: pool adjacent violators.

    Source: Barlow et al., Statistical Inference under Order Restrictions, 1972. Not scipy's, which takes longer to
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
