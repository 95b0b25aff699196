"""How the power model of a GPU is measured and fitted: on series that the model made, and on a GPU that obeys it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from flowsim.calibration.costs.models import ModelSpec
from flowsim.calibration.costs.power import PowerModel
from flowsim.calibration.measure import idle_gpu
from flowsim.calibration.measure.idle_gpu import (
    DUTIES,
    Burst,
    Stack,
    burst_times_s,
    fit_boost,
    fit_window,
    series_tokens,
)


def made_series(boost: PowerModel, noise: float, seed: int) -> list[list[list[float]]]:
    """A series on end and one for each duty, of 3.4 ms a layer, as the model tells them, with noise."""
    rng = np.random.default_rng(seed)
    all_series = [[(0.0, 3.4e-3)] * 100]
    all_series += [[(20.4e-3 * (1 / duty - 1), 20.4e-3)] * int(0.6 * duty / 20.4e-3) for duty in DUTIES]
    found = []
    for series in all_series:
        exact = burst_times_s(boost, [Burst(*span, 0.0) for span in series])
        off = 1 + noise * rng.standard_normal(len(series))
        found.append([[*span, s * o] for span, s, o in zip(series, exact, off, strict=True)])
    return found


@pytest.mark.parametrize(("window_s", "threshold"), [(0.04, 0.7), (0.025, 0.5), (0.1, 0.8), (0.06, 0.0)])
def test_the_fit_finds_the_window_and_the_threshold_again(window_s: float, threshold: float) -> None:
    all_series = made_series(PowerModel(window_s, threshold, lambda tokens: 0.08), 0.0, 0)
    found = fit_window(0.08, all_series)
    assert found == (pytest.approx(window_s, rel=1e-3), pytest.approx(threshold, abs=2e-3))


@pytest.mark.parametrize("seed", range(3))
def test_the_fit_stands_noise_and_outliers(seed: int) -> None:
    all_series = made_series(PowerModel(0.04, 0.7, lambda tokens: 0.08), 0.005, seed)
    all_series[0][50][2] *= 1.3
    all_series[2][5][2] *= 1.2
    window_s, threshold = fit_window(0.08, all_series)
    assert window_s == pytest.approx(0.04, rel=0.15)
    assert threshold == pytest.approx(0.7, abs=0.06)


def test_a_gpu_without_a_gain_has_no_boost() -> None:
    assert series_tokens({}) is None
    assert series_tokens({256: 0.05, 4096: 0.004}) is None
    assert series_tokens({256: 0.005, 1024: 0.05, 8192: 0.06}) == 1024
    assert fit_boost({256: 0.001}, {}) is None


class Device:
    """A GPU that obeys the model, and its host: a layer of n tokens takes n us when it is busy."""

    def __init__(self, boost: PowerModel) -> None:
        self.boost, self.use, self.free_s, self.host_s = boost, 0.0, 0.0, 0.0
        self.layers = 4
        self.program = [SimpleNamespace(layer=-1, run=lambda p: None)]
        self.program += [SimpleNamespace(layer=i, run=self.layer) for i in range(4)]
        self.device = self

    def prepare(self, slices: Any) -> int:
        return int(slices[0].tokens)

    def layer(self, tokens: int) -> None:
        self.host_s += 5e-5
        begin_s = max(self.host_s, self.free_s)
        profile = self.boost.profile(self.boost.rested(self.use, begin_s - self.free_s), tokens)
        took_s = profile.real_s(tokens * 1e-6)
        self.use, self.free_s = profile.use_after(took_s), begin_s + took_s

    def watch(self, device: Any) -> Any:
        return SimpleNamespace(
            mark=lambda: max(self.host_s, self.free_s),
            between=lambda begin, end: end - begin,
            synchronise=self.synchronise,
            wait=self.wait,
            stall=self.stall,
        )

    def synchronise(self) -> None:
        self.host_s = max(self.host_s, self.free_s)

    def wait(self, mark_s: float) -> None:
        self.host_s = max(self.host_s, mark_s)

    def stall(self, seconds: float) -> None:
        begin_s = max(self.host_s, self.free_s)
        self.use = self.boost.rested(self.use, begin_s + seconds - self.free_s)
        self.free_s = begin_s + seconds

    def perf_counter(self) -> float:
        self.host_s += 2e-5
        return self.host_s


def gpu(monkeypatch: pytest.MonkeyPatch, boost: PowerModel) -> Any:
    device = Device(boost)
    monkeypatch.setattr(idle_gpu, "Stopwatch", device.watch)
    monkeypatch.setattr(idle_gpu, "time", device)
    return device


def test_a_gpu_that_obeys_the_model_is_measured_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    device = gpu(monkeypatch, PowerModel(0.04, 0.7, lambda tokens: 0.08 if tokens >= 1000 else 0.03))
    gains = dict(row["gain"] for n in (300, 1000, 4000) for row in idle_gpu.time_gain(device, n, 3))
    assert gains == {
        300: pytest.approx(0.03, abs=2e-3),
        1000: pytest.approx(0.08, abs=2e-3),
        4000: pytest.approx(0.08, abs=2e-3),
    }
    (row,) = idle_gpu.time_series(device, 4000)
    found = fit_boost(gains, dict([row["series"]]))
    assert found is not None
    assert found.window_s == pytest.approx(0.04, rel=0.05)
    assert found.threshold == pytest.approx(0.7, abs=0.02)
    assert PowerModel.of(found) is not None
    assert [len(series) for series in row["series"][1]] == [87, 27, 24, 21, 18]


def test_a_size_whose_layer_is_longer_than_a_burst_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    device = gpu(monkeypatch, PowerModel(0.04, 0.7, lambda tokens: 0.08))
    assert idle_gpu.time_gain(device, 16000, 3) == [{"note": "not measured: a layer takes 15.9 ms, more than a burst"}]


def test_layers_of_a_real_stack_are_timed() -> None:
    torch = pytest.importorskip("torch")
    from flowsim.calibration.gpu.decoder import Decoder

    spec = ModelSpec("tiny", 2, 64, 4, 2, 16, 128, 97, 512, 10000.0, 1e-5)
    with torch.inference_mode():
        stack = Stack(Decoder(spec, "cpu", rows=64, dtype="float32"), 16)
        assert min(stack.layer_s, stack.launch_s, stack.sustained_s(3, 2, 0.0), stack.rested_s(3, 2, 0.0)) > 0
        series, cycles = stack.series(5, 1e-3, 0.0), stack.cycles(3, 1e-3, 0.5, 0.03, 0.0)
    assert [len(series), len(cycles)] == [5, 5]
    assert [span.work_s for span in (series[0], cycles[0])] == [1e-3, pytest.approx(3e-3)]
    assert cycles[0].idle_s == 0.0
    assert all(span.idle_s > 0 for span in cycles[1:])
