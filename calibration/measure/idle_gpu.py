"""How much faster than sustained an idle GPU starts, and how soon it slows down: measured, and fitted to a `PowerFit`.

The layers of a stack run repeatedly on one batch, with the host ahead of the device. A CPU has no such power limit, so
there is nothing to measure on it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from itertools import cycle, islice, pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flowsim.calibration.costs.power import PowerModel
from flowsim.calibration.costs.provenance import PowerFit
from flowsim.calibration.gpu.batch import CacheSlice
from flowsim.calibration.gpu.decoder import Decoder
from flowsim.calibration.measure.stopwatch import AHEAD, LEAD_S, Stopwatch

REST_S = 0.2
"""A pause after which a GPU counts as idle: several windows long."""
HEAT_S = 0.3
"""How long it is kept busy to reach its sustained speed."""
SUSTAINED = 8
"""Timings of the sustained speed: cheap compared with a pause."""
BURST_S = 15e-3
"""How long an idle GPU is timed: too short for the power limit to take effect."""
SERIES_TOKENS = 4096
SERIES_S = 0.35
DUTIES = (0.9, 0.8, 0.7, 0.6)
DUTY_S, CYCLE_S = 0.6, 20e-3
"""How long each duty cycle is kept up, and how long the GPU is busy at a time."""
LEAST_GAIN = 0.01
"""With a smaller gain there is no boost to speak of, and its window cannot be fitted."""
STARTS = [(window_s, threshold) for window_s in (0.01, 0.04, 0.16) for threshold in (0.3, 0.6, 0.8)]
WINDOWS_S, THRESHOLDS = (2e-3, 2.0), (0.0, 0.95)
OUTLIER = 0.01
"""Relative residual beyond which a sample has less weight."""


class Burst(NamedTuple):
    """Uninterrupted work, seconds: the pause before it, its time on a busy GPU, and its measured time."""

    idle_s: float
    work_s: float
    real_s: float


BurstSeries = Sequence[Sequence[float]]
"""Spans in succession; the first begins on an idle GPU, and its pause does not count."""


class Stack:
    """The layers of a decoder, run repeatedly on one batch of `tokens` without context.

    Attributes:
        layer_s: approximate device time of a layer.
        launch_s: approximate host time to launch a layer.
    """

    def __init__(self, decoder: Decoder, tokens: int) -> None:
        self.watch = Stopwatch(decoder.device)
        self.layer_s = self.launch_s = 0.0
        self._batch = decoder.prepare([CacheSlice(tokens)])
        self._embed = decoder.program[0].run
        self._layers = [[step.run for step in decoder.program if step.layer == i] for i in range(decoder.layers)]
        for _ in range(3):  # the first run loads kernels
            begun = time.perf_counter()
            marks = self._launch(len(self._layers), 0.0)
            self.launch_s = (time.perf_counter() - begun) / len(self._layers)
            self.watch.synchronise()
            self.layer_s = self.watch.between(marks[0], marks[-1]) / len(self._layers)

    def sustained_s(self, layers: int, rounds: int = SUSTAINED, heat_s: float = HEAT_S) -> float:
        """Device seconds of `layers` layers on a busy GPU, median, after a warm-up of `heat_s` that runs as they do.

        The device is kept busy until the host is ahead: by other layers, which also follow, so that it is not idle
        until the next round; or by a stall if the host is slower than the device.
        """
        ahead = self.layer_s > AHEAD * self.launch_s
        leading = int(LEAD_S / self.layer_s) + 1 if ahead else 0
        samples, end = list[float](), time.perf_counter() + heat_s
        while len(samples) < rounds:
            heated = time.perf_counter() >= end
            marks = self._launch(leading + layers + leading, 0.0 if ahead else self._stall_s(layers))
            self.watch.wait(marks[leading + layers])
            samples += [self.watch.between(marks[leading], marks[leading + layers])] if heated else []
        self.watch.synchronise()
        return statistics.median(samples)

    def rested_s(self, layers: int, rounds: int, rest_s: float = REST_S) -> float:
        """Device seconds of `layers` layers after a pause, median."""
        return statistics.median(sum(s.real_s for s in self.series(layers, 0.0, rest_s)) for _ in range(rounds))

    def series(self, layers: int, layer_s: float, rest_s: float = REST_S) -> list[Burst]:
        """`layers` layers without a pause, on an idle GPU; `layer_s` is what each takes on a busy one."""
        spin(rest_s)
        marks = self._launch(layers, self._stall_s(layers))
        self.watch.synchronise()
        return [Burst(0.0, layer_s, self.watch.between(a, b)) for a, b in pairwise(marks)]

    def cycles(self, layers: int, layer_s: float, duty: float, seconds: float, rest_s: float = REST_S) -> list[Burst]:
        """Bursts of `layers` layers, from an idle GPU on, with pauses that leave it busy for the share `duty`.

        The stall in which the host gets ahead is part of the pause, which is measured by the device's clock.
        """
        spin(rest_s)
        work_s, stall_s = layers * layer_s, self._stall_s(layers)
        bursts, ended = list[Burst](), None
        for _ in range(max(1, int(seconds * duty / work_s))):
            marks = self._launch(layers, stall_s)
            self.watch.synchronise()
            idle_s = 0.0 if ended is None else self.watch.between(ended, marks[0])
            ended = marks[-1]
            bursts.append(Burst(idle_s, work_s, self.watch.between(marks[0], ended)))
            spin(work_s * (1 / duty - 1) - stall_s)
        return bursts

    def _launch(self, layers: int, stall_s: float) -> list[Any]:
        """Launch `layers` layers after a stall; returns the marks before, between and after them."""
        self._embed(self._batch)
        self.watch.stall(stall_s)
        marks = [self.watch.mark()]
        for layer in islice(cycle(self._layers), layers):
            for run in layer:
                run(self._batch)
            marks.append(self.watch.mark())
        return marks

    def _stall_s(self, layers: int) -> float:
        """The stall in which the host gets ahead of `layers` layers."""
        return min(1.2 * layers * self.launch_s + 2e-4, 20e-3)


def time_gain(decoder: Decoder, tokens: int, rounds: int) -> list[dict[str, Any]]:
    """Rows for the log: `gain`, (tokens, sustained over idle time, less 1), or a note why there is none."""
    stack = Stack(decoder, tokens)
    layers = int(BURST_S / stack.layer_s)
    if not layers:
        return [{"note": f"not measured: a layer takes {stack.layer_s * 1e3:.1f} ms, more than a burst"}]
    gain = stack.sustained_s(layers) / stack.rested_s(layers, rounds) - 1
    return [{"gain": [tokens, round(gain, 5)]}]


def time_series(decoder: Decoder, tokens: int) -> list[dict[str, Any]]:
    """Rows for the log on how the gain fades at one size: `series`, (tokens, series of bursts)."""
    stack = Stack(decoder, tokens)
    layers = max(1, round(CYCLE_S / stack.layer_s))
    layer_s = stack.sustained_s(layers) / layers
    all_series = [stack.series(int(SERIES_S / layer_s), layer_s)]
    all_series += [stack.cycles(layers, layer_s, duty, DUTY_S) for duty in DUTIES]
    return [{"series": [tokens, [[[round(x, 7) for x in burst] for burst in series] for series in all_series]]}]


def series_tokens(gains: Mapping[int, float]) -> int | None:
    """The size at which to measure how the gain fades: the largest up to SERIES_TOKENS; None if it has no gain."""
    size = max((tokens for tokens in gains if tokens <= SERIES_TOKENS), default=None)
    return size if size is not None and gains[size] >= LEAST_GAIN else None


def fit_boost(gains: Mapping[int, float], all_series: Mapping[int, Sequence[BurstSeries]]) -> PowerFit | None:
    """The boost of a GPU; None if it has none.

    Args:
        gains: by tokens.
        all_series: measured at one size, by its tokens.
    """
    if not all_series:
        return None
    ((tokens, measured),) = all_series.items()
    window_s, threshold = fit_window(gains[tokens], measured)
    return PowerFit(window_s=round(window_s, 5), threshold=round(threshold, 4), gain=sorted(gains.items()))


def fit_window(gain: float, all_series: Sequence[BurstSeries]) -> tuple[float, float]:
    """The window (seconds) and the threshold that fit the series best, by relative least squares with a soft L1 loss.

    From several starts, since there is more than one local minimum.
    """
    from scipy.optimize import least_squares

    bursts = [[Burst(*burst) for burst in series] for series in all_series]

    def residuals(x: NDArray[np.float64]) -> list[float]:
        boost = PowerModel(float(np.exp(x[0])), float(x[1]), lambda tokens: gain)
        pairs = [zip(series, burst_times_s(boost, series), strict=True) for series in bursts]
        return [modelled_s / burst.real_s - 1 for series in pairs for burst, modelled_s in series]

    (first, last), (low, high) = np.log(WINDOWS_S), THRESHOLDS
    options: dict[str, Any] = {"bounds": ([first, low], [last, high]), "loss": "soft_l1", "f_scale": OUTLIER}
    found = [least_squares(residuals, (np.log(w), a), diff_step=1e-4, x_scale=(1.0, 0.2), **options) for w, a in STARTS]
    log_window, threshold = min(found, key=lambda fit: float(fit.cost)).x
    return float(np.exp(log_window)), float(threshold)


def burst_times_s(boost: PowerModel, bursts: Sequence[Burst]) -> list[float]:
    """The model's time of each burst in seconds, from an idle GPU on."""
    use, seconds = 0.0, list[float]()
    for idle_s, work_s, _ in bursts:
        profile = boost.profile(boost.rested(use, idle_s), 0)
        seconds.append(profile.real_s(work_s))
        use = profile.use_after(seconds[-1])
    return seconds


def spin(seconds: float) -> None:
    """Busy-wait: a host that has slept launches slowly."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
