"""How often to repeat a measurement, and its typical value."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


def typical(samples: Sequence[float]) -> float:
    """The mean of the middle half: a GPU at its power limit switches between clocks, and a median jumps with them."""
    skipped = len(samples) // 4
    return statistics.fmean(sorted(samples)[skipped : len(samples) - skipped])


@dataclass(frozen=True)
class RepeatLimits:
    """How often to repeat a measurement: within limits, until the median of the whole (layer, pass) is known to 1 %.

    Attributes:
        least: repeats at least.
        most: repeats at most.
        seconds: time after which to stop once `least` is reached.
        heat_s: how long to run a size on a GPU before timing it. On one H200, layers of 4096 tokens without a pause
            took 3 % less at first than after half a second, and up to 20 % more between 0.1 and 0.25 s, since the power
            limit overshoots; layers of 1024 tokens took 9 % less at first, and no longer changed after 0.1 s.
    """

    least: int = 4
    most: int = 60
    seconds: float = 0.5
    heat_s: float = 0.3

    def rounds(self, samples: Sequence[float]) -> Iterator[int]:
        """Count rounds until there are enough; each round appends to `samples`."""
        end = time.perf_counter() + self.seconds
        for i in range(self.most):
            if i >= self.least and (time.perf_counter() > end or settled(samples)):
                return
            yield i


def settled(samples: Sequence[float]) -> bool:
    """Whether the median's 95 % interval, by order statistics, is within 1 % of it."""
    n = len(samples)
    if n < 8:
        return False
    ordered, reach = sorted(samples), 0.98 * n**0.5
    low, high = ordered[max(0, int(n / 2 - reach))], ordered[min(n - 1, int(n / 2 + reach) + 1)]
    return high - low < 0.02 * statistics.median(ordered)
