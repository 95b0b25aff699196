"""PowerModel once more, slowly: the speed summed up over small steps of time.

Sustained seconds are a Gauss-Legendre sum of the speed over pieces no longer than half a window, split where the use
passes the threshold; real ones are found by Newton's method. `flowsim.calibration.costs.power` has both in closed form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise, starmap

import numpy as np

NODES = [(float(node), float(weight)) for node, weight in zip(*np.polynomial.legendre.leggauss(6), strict=True)]
"""Of the sum: where the speed is taken, from -1 to 1, and with what weight; exact to 1e-16 on half a window."""


@dataclass
class Heat:
    """The use of a GPU at a moment; it tends to `share` from then on, and while it does, work gains up to `gain`."""

    window_s: float
    threshold: float
    use: float = 0.0
    at_s: float = 0.0
    share: float = 0.0
    gain: float = 0.0
    known: dict[float, float] = field(default_factory=dict)
    """`real_s` of what was asked since the last change: the cuts of a pass are asked for again and again."""

    def becomes(self, now: float, share: float, gain: float = 0.0) -> None:
        """From now on the GPU is busy for this share of the time."""
        self.use, self.at_s, self.share, self.gain = self.use_at(now - self.at_s), now, share, gain
        self.known.clear()

    def use_at(self, seconds: float) -> float:
        """The use this many seconds later."""
        return self.use + (self.share - self.use) * (1 - math.exp(-seconds / self.window_s))

    def work_s(self, real_s: float) -> float:
        """Sustained seconds done in `real_s` seconds."""
        return sum(starmap(self._piece_s, pairwise([0.0, *self._borders(real_s), real_s])))

    def real_s(self, work_s: float) -> float:
        """Seconds until `work_s` sustained seconds are done."""
        if work_s not in self.known:
            real_s = step_s = work_s
            while abs(step_s) > 1e-13 * (1 + real_s):
                step_s = (work_s - self.work_s(real_s)) / self._speed(real_s)
                real_s += step_s
            self.known[work_s] = real_s
        return self.known[work_s]

    def _piece_s(self, low: float, high: float) -> float:
        middle, half = (low + high) / 2, (high - low) / 2
        return half * sum([weight * self._speed(middle + half * node) for node, weight in NODES])

    def _speed(self, seconds: float) -> float:
        """How fast it is this many seconds later."""
        over = (self.use_at(seconds) - self.threshold) / (1 - self.threshold)
        return 1 + self.gain * (1 - min(max(over, 0.0), 1.0))

    def _borders(self, real_s: float) -> list[float]:
        """Where pieces end: every half window until little changes, and where the use passes the threshold."""
        steps = min(math.ceil(2 * real_s / self.window_s), 90)
        found = [step * self.window_s / 2 for step in range(1, steps)]
        left = (self.threshold - self.share) / (self.use - self.share) if self.use != self.share else 0.0
        if 0 < left < 1:
            found.append(-self.window_s * math.log(left))
        return sorted(border for border in found if border < real_s)
