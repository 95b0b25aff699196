"""PowerModel once more, slowly: the speed summed up over small steps of time.

Sustained seconds are a Gauss-Legendre sum of the speed over pieces no longer than half a window, split where the use
passes the threshold; real ones are found by Brent's method. `flowsim.calibration.costs.power` has both in closed form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

NODES, WEIGHTS = np.polynomial.legendre.leggauss(12)


@dataclass
class Heat:
    """The use of a GPU at a moment; it tends to `share` from then on, and while it does, work gains up to `gain`."""

    window_s: float
    threshold: float
    use: float = 0.0
    at_s: float = 0.0
    share: float = 0.0
    gain: float = 0.0

    def becomes(self, now: float, share: float, gain: float = 0.0) -> None:
        """From now on the GPU is busy for this share of the time."""
        self.use, self.at_s, self.share, self.gain = self.use_at(now - self.at_s), now, share, gain

    def use_at(self, seconds: float) -> float:
        """The use this many seconds later."""
        return self.use + (self.share - self.use) * (1 - math.exp(-seconds / self.window_s))

    def work_s(self, real_s: float) -> float:
        """Sustained seconds done in `real_s` seconds."""
        borders = [0.0, *self._borders(real_s), real_s]
        low, high = np.array(borders[:-1])[:, None], np.array(borders[1:])[:, None]
        times = (low + high) / 2 + (high - low) / 2 * NODES
        use = self.use + (self.share - self.use) * (1 - np.exp(-times / self.window_s))
        speed = 1 + self.gain * (1 - np.clip((use - self.threshold) / (1 - self.threshold), 0, 1))
        return float(((high - low) / 2 * WEIGHTS * speed).sum())

    def real_s(self, work_s: float) -> float:
        """Seconds until `work_s` sustained seconds are done."""
        low, high = work_s / (1 + self.gain), work_s
        return float(brentq(lambda real_s: self.work_s(real_s) - work_s, low - 1e-9, high + 1e-9, xtol=1e-13))

    def _borders(self, real_s: float) -> list[float]:
        """Where pieces end: every half window until little changes, and where the use passes the threshold."""
        steps = min(math.ceil(2 * real_s / self.window_s), 90)
        found = [step * self.window_s / 2 for step in range(1, steps)]
        left = (self.threshold - self.share) / (self.use - self.share) if self.use != self.share else 0.0
        if 0 < left < 1:
            found.append(-self.window_s * math.log(left))
        return sorted(border for border in found if border < real_s)
