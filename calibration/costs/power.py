"""The power model: how a GPU that has rested runs above its sustained clock until its power limit holds.

A GPU holds the average of its power, not each moment's, to its limit. So after a pause compute-bound work runs faster
than what a table holds, which is the time on a GPU that has been busy, until the average has reached the limit. On an
H200 (llama3-8b) 1100 tokens again and again with pauses between, which left it busy for 80, 60 and 40 % of the time,
took 0.948, 0.925 and 0.919 of the sustained time; after a pause of 0.1 s the first two passes took 0.942 and 0.951,
and the fourth 0.999; 300 tokens took 0.98 to 1.0, and 64 tokens the same time in all cases.

The model is of first order. The use u of a GPU is the exponential average, over a window of some tens of milliseconds,
of whether it is busy. Up to a threshold a (0.5 to 0.7 on H200s) it runs at full speed, and from there its speed falls
in proportion, to the sustained one at u = 1:

    du/dt = (w - u) / window_s                  w = the share of the time that is device work; 0 when idle
    g(u) = (u - a) / (1 - a), within 0 and 1
    speed = 1 + w * gain(tokens) * (1 - g(u))   sustained seconds a second

Where w is constant, u is an exponential and the sustained seconds done, the integral of the speed, have a closed form.

Forwards recorded as CUDA graphs do not wait for the host, so that short ones gain too: on an H200 (llama3-8b, in
service) those of 192 to 448 tokens took 5 to 10 % longer among long prompts than on a rested GPU. So their gain is
known separately, and their sustained time is the one after heavier work. A long run of short ones draws less than the
limit allows and is not held to it. The model ignores that: for short prompts alone, at full load, it is too slow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from flowsim.calibration.costs.provenance import PowerFit

Gain = Callable[[int], float]
"""The gain of a number of tokens."""
KNOWN = 1 << 16
"""How many answers a gain remembers."""
MOST_GAIN = 0.99
"""Of a recording: a gain is less than 1."""
NO_GAIN_TOKENS = 64
"""Tokens up to which nothing is gained, unless fewer were measured: such passes wait for memory or for the host."""
EXACT = 1e-8
"""Relative step at which Newton's method ends: what is left is about a tenth of its square."""


class PowerModel(Struct, frozen=True):
    """How a GPU's speed follows from its use.

    Attributes:
        window_s: seconds over which use is averaged.
        threshold: use up to which the GPU runs at full speed, from 0 to below 1.
        gain: sustained time over the time on a rested GPU, less 1, of the tokens of a forward.
        recorded_gain: the same of the tokens of a recorded forward; None if it is not known apart.
    """

    window_s: float
    threshold: float
    gain: Gain
    recorded_gain: Gain | None = None

    def rested(self, use: float, idle_s: float) -> float:
        """The use after `idle_s` idle seconds."""
        return use * math.exp(-max(idle_s, 0.0) / self.window_s)

    def profile(self, use: float, tokens: int, share: float = 1.0, recorded: int = 0) -> SpeedProfile:
        """The speed of a stretch of a pass that begins at this use; `share` of its time is device work.

        `tokens` are those of the pass; `recorded` those of the recording that it runs as, 0 if it is launched.
        """
        known = self.recorded_gain if recorded else None
        gain = self.gain(tokens) if known is None else known(recorded)
        return SpeedProfile(self.window_s, self.threshold, share * gain, share, use)

    def with_recordings(self, times_s: Mapping[int, tuple[float, float]]) -> PowerModel:
        """This boost with the gain of recordings, from how long they took: {tokens: (busy, rested)}, seconds.

        It is taken into account that the limit may begin to hold before a long one has ended.
        """
        gains = [self._gain_of(*times_s[tokens]) for tokens in sorted(times_s)]
        return replace(self, recorded_gain=_through(sorted(times_s), gains))

    def _gain_of(self, busy_s: float, rested_s: float) -> float:
        """The gain with which work of `busy_s` sustained seconds takes `rested_s` on a GPU that has rested.

        When the limit begins to hold does not depend on the gain, so that the time saved is proportional to it.
        """
        free_s = SpeedProfile(self.window_s, self.threshold, 1.0, 1.0, 0.0).work_s(rested_s) - rested_s
        return min(max((busy_s - rested_s) / free_s, 0.0), MOST_GAIN) if free_s else 0.0

    @classmethod
    def of(cls, stated: PowerFit | None) -> PowerModel | None:
        """The boost that a table's provenance states; None if it states none.

        A gain below 0 counts as 0. Between the stated sizes it is on straight lines, above them constant; below them it
        falls to 0 at NO_GAIN_TOKENS.
        """
        if stated is None:
            return None
        return cls(stated.window_s, stated.threshold, gain_through(stated.gain))


class SpeedProfile(Struct, frozen=True, gc=False):
    """How far a stretch of execution gets: seconds of a busy GPU (`work_s`) and real ones, both from its begin.

    Attributes:
        window_s, threshold: as `PowerModel` has them.
        gain: what a rested GPU gains.
        share: what the use tends to.
        use: the use at its begin.
    """

    window_s: float
    threshold: float
    gain: float
    share: float
    use: float

    def use_after(self, real_s: float) -> float:
        """The use after `real_s`."""
        return self.share + (self.use - self.share) * math.exp(-real_s / self.window_s)

    def work_s(self, real_s: float) -> float:
        """Sustained seconds done after `real_s` real ones: between `real_s` and (1 + gain) times that."""
        turn_s, free = self._turn_s(), self.use < self.threshold
        if real_s <= turn_s:
            return self._free(real_s) if free else self._held(real_s, self.use)
        rest_s = real_s - turn_s
        if free:
            return self._free(turn_s) + self._held(rest_s, self.threshold)
        return self._held(turn_s, self.use) + self._free(rest_s)

    def real_s(self, work_s: float) -> float:
        """Real seconds after which `work_s` sustained ones are done: the inverse of `work_s()`."""
        threshold, gain, share, use = self.threshold, self.gain, self.share, self.use
        if use < threshold:
            free_s = work_s / (1.0 + gain)
            if share <= threshold or use + (share - use) * -math.expm1(-free_s / self.window_s) <= threshold:
                return free_s
            turn_s = self._turn_s()
            return turn_s + self._until(work_s - (1.0 + gain) * turn_s, threshold)
        if share > threshold:
            return self._until(work_s, use)
        turn_s = self._turn_s()
        done_s = math.inf if turn_s == math.inf else self._held(turn_s, use)
        return self._until(work_s, use) if work_s <= done_s else turn_s + (work_s - done_s) / (1.0 + gain)

    def _turn_s(self) -> float:
        """When the use passes the threshold; infinity if it never does."""
        if (self.use < self.threshold) == (self.share <= self.threshold):
            return math.inf
        distance = self.share - self.threshold
        return self.window_s * math.log((self.share - self.use) / distance) if distance else math.inf

    def _free(self, real_s: float) -> float:
        return (1.0 + self.gain) * real_s

    def _held(self, real_s: float, use: float) -> float:
        """Sustained seconds done above the threshold, from this use on."""
        linear, fading_s = self._above(use)
        return linear * real_s - fading_s * math.expm1(-real_s / self.window_s)

    def _until(self, work_s: float, use: float) -> float:
        """The inverse of `_held`, by Newton's method.

        `_held` is convex or concave, so that from the speed at the begin every step approaches the root from one side.
        """
        window_s, share = self.window_s, self.share
        slope = self.gain / (1.0 - self.threshold)
        linear, fading = 1.0 + slope * (1.0 - share), slope * (share - use)
        real_s = work_s / (linear + fading)
        for _ in range(100):
            faded = math.expm1(-real_s / window_s)
            step_s = (work_s - linear * real_s + window_s * fading * faded) / (linear + fading + fading * faded)
            real_s += step_s
            if -EXACT * real_s <= step_s <= EXACT * real_s:
                break
        return real_s

    def _above(self, use: float) -> tuple[float, float]:
        """Coefficients of t and of 1 - exp(-t / window_s) in the sustained seconds done above the threshold."""
        slope = self.gain / (1.0 - self.threshold)
        return 1.0 + slope * (1.0 - self.share), slope * (self.share - use) * self.window_s


def gain_through(points: Sequence[tuple[float, float]]) -> Gain:
    """The gain of any number of tokens, from (tokens, gain) pairs, as `PowerModel.of` says."""
    if points[0][0] > NO_GAIN_TOKENS:
        points = [(NO_GAIN_TOKENS, 0.0), *points]
    return _through([tokens for tokens, _ in points], [max(gain, 0.0) for _, gain in points])


def _through(sizes: Sequence[float], values: Sequence[float]) -> Gain:
    """Straight lines through these points, constant outside."""
    return lru_cache(KNOWN)(lambda size: float(np.interp(size, sizes, values)))
