"""An interval: an estimate with the bounds that hold the true value with 95 % confidence."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """An estimate and its confidence interval.

    Attributes:
        mean: the estimate, a mean unless its maker says otherwise.
        low, high: the bounds; NaN when the interval is not known, as for one replication.
        n: replications, or requests, that it rests on.
    """

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        """As in "3.2 [2.9, 3.5]"."""
        return self.format("{:.3g}")

    def format(self, number: str) -> str:
        """The same with each number in this format."""
        mean = number.format(self.mean)
        return mean if math.isnan(self.low) else f"{mean} {self.bounds(number)}"

    def bounds(self, number: str) -> str:
        """The bounds alone, as in "[2.9, 3.5]"; "-" when they are not known.

        Equal values have "(all 5 equal)" in their place: what varies little is not known exactly.
        """
        if self.low == self.high:
            return f"(all {self.n} equal)"
        return "-" if math.isnan(self.low) else f"[{number.format(self.low)}, {number.format(self.high)}]"

    def scaled(self, factor: float) -> Interval:
        """In a unit `factor` times smaller."""
        return Interval(factor * self.mean, factor * self.low, factor * self.high, self.n)

    def within(self, least: float, most: float = math.inf) -> Interval:
        """The part of the interval in which the true value can lie: a share lies in [0, 1], a rate is not negative.

        This gives up no coverage: what is cut off never holds the true value.
        """
        if math.isnan(self.low):
            return self
        return replace(self, low=min(max(self.low, least), most), high=max(min(self.high, most), least))


def unknown_interval(mean: float, n: int) -> Interval:
    """An estimate whose interval is not known."""
    return Interval(mean, math.nan, math.nan, n)
