"""How the boost of a GPU is measured and fitted: on courses that the model itself made, and on a GPU that obeys it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from flowsim.calibration import rest
from flowsim.calibration.boost import Boost, Warming
from flowsim.calibration.models import ModelSpec
from flowsim.calibration.rest import DUTIES, Span, Stack, course_tokens, fit_boost, fit_warming, fit_window, told


def made_courses(boost: Boost, noise: float, seed: int) -> list[list[list[float]]]:
    """A course on end and one for each duty, of 3.4 ms a layer, as the model tells them, with noise."""
    rng = np.random.default_rng(seed)
    courses = [[(0.0, 3.4e-3)] * 100]
    courses += [[(20.4e-3 * (1 / duty - 1), 20.4e-3)] * int(0.6 * duty / 20.4e-3) for duty in DUTIES]
    found = []
    for course in courses:
        exact = told(boost, [Span(*span, 0.0) for span in course])
        off = 1 + noise * rng.standard_normal(len(course))
        found.append([[*span, s * o] for span, s, o in zip(course, exact, off, strict=True)])
    return found


@pytest.mark.parametrize(("window_s", "threshold"), [(0.04, 0.7), (0.025, 0.5), (0.1, 0.8), (0.06, 0.0)])
def test_the_fit_finds_the_window_and_the_threshold_again(window_s: float, threshold: float) -> None:
    courses = made_courses(Boost(window_s, threshold, lambda tokens: 0.08), 0.0, 0)
    found = fit_window(0.08, courses)
    assert found == (pytest.approx(window_s, rel=1e-3), pytest.approx(threshold, abs=2e-3))


@pytest.mark.parametrize("seed", range(3))
def test_the_fit_stands_noise_and_outliers(seed: int) -> None:
    courses = made_courses(Boost(0.04, 0.7, lambda tokens: 0.08), 0.005, seed)
    courses[0][50][2] *= 1.3
    courses[2][5][2] *= 1.2
    window_s, threshold = fit_window(0.08, courses)
    assert window_s == pytest.approx(0.04, rel=0.15)
    assert threshold == pytest.approx(0.7, abs=0.06)


def test_a_gpu_without_a_gain_has_no_boost() -> None:
    assert course_tokens({}) is None
    assert course_tokens({256: 0.05, 4096: 0.004}) is None
    assert course_tokens({256: 0.005, 1024: 0.05, 8192: 0.06}) == 1024
    assert fit_boost({256: 0.001}, {}) is None


class Device:
    """A GPU that obeys the model, and its host: a layer of n tokens takes n us when it is busy."""

    def __init__(self, boost: Boost) -> None:
        self.boost, self.use, self.free_s, self.host_s = boost, 0.0, 0.0, 0.0
        self.heat = 0.0
        self.layers = 4
        self.program = [SimpleNamespace(layer=-1, run=lambda p: None)]
        self.program += [SimpleNamespace(layer=i, run=self.layer) for i in range(4)]
        self.device = self

    def prepare(self, slices: Any) -> int:
        return int(slices[0].tokens)

    def layer(self, tokens: int) -> None:
        self.host_s += 5e-5
        begin_s, warming = max(self.host_s, self.free_s), self.boost.warming
        self.cool(begin_s)
        use = self.boost.rested(self.use, begin_s - self.free_s)
        pace = self.boost.pace(use, tokens, heat=self.heat)
        took_s = pace.real_s(tokens * 1e-6)
        self.use, self.free_s = pace.use_after(took_s), begin_s + took_s
        self.heat = warming.after(self.heat, 1.0, took_s) if warming else self.heat

    def cool(self, until_s: float) -> None:
        if self.boost.warming:
            self.heat = self.boost.warming.after(self.heat, 0.0, until_s - self.free_s)

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
        end_s = max(self.host_s, self.free_s) + seconds
        self.cool(end_s)
        self.use, self.free_s = self.boost.rested(self.use, end_s - self.free_s), end_s

    def sleep(self, seconds: float) -> None:
        self.host_s += seconds

    def perf_counter(self) -> float:
        self.host_s += 2e-5
        return self.host_s


def gpu(monkeypatch: pytest.MonkeyPatch, boost: Boost) -> Any:
    device = Device(boost)
    monkeypatch.setattr(rest, "Stopwatch", device.watch)
    monkeypatch.setattr(rest, "time", device)
    return device


def test_a_gpu_that_obeys_the_model_is_measured_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    device = gpu(monkeypatch, Boost(0.04, 0.7, lambda tokens: 0.08 if tokens >= 1000 else 0.03))
    gains = dict(row["gain"] for n in (300, 1000, 4000) for row in rest.time_gain(device, n, 3))
    assert gains == {
        300: pytest.approx(0.03, abs=2e-3),
        1000: pytest.approx(0.08, abs=2e-3),
        4000: pytest.approx(0.08, abs=2e-3),
    }
    (row,) = rest.time_course(device, 4000, 3)
    found = fit_boost(gains, dict([row["course"]]))
    assert found is not None
    assert found["window_s"] == pytest.approx(0.04, rel=0.05)
    assert found["threshold"] == pytest.approx(0.7, abs=0.02)
    assert Boost.of(found) is not None
    assert [len(course) for course in row["course"][1]] == [87, 27, 24, 21, 18]


@pytest.mark.parametrize(("window_s", "loss", "heat"), [(10.0, 0.04, 0.9), (5.0, 0.02, 0.5), (20.0, 0.05, 1.0)])
def test_how_a_gpu_grows_warm_is_found_again(
    monkeypatch: pytest.MonkeyPatch, window_s: float, loss: float, heat: float
) -> None:
    """Whatever the GPU did before: it has just rested and cooled, and how a layer goes by the table is known apart."""
    warming = Warming(window_s, loss, heat)
    device = gpu(monkeypatch, Boost(0.04, 0.7, lambda tokens: 0.08, warming=warming))
    gains = dict(row["gain"] for n in (1000, 4000) for row in rest.time_gain(device, n, 5))
    course = dict([rest.time_course(device, 4000, 5)[0]["course"]])
    warmings = dict([rest.time_warming(device, 4000, 8.0, 10.0)[0]["warming"]])
    stated = fit_boost(gains, course, warmings, {4000: 4e-3})
    assert stated is not None
    boost = Boost.of(stated)
    assert boost is not None
    assert boost.warming is not None
    assert boost.warming.window_s == pytest.approx(window_s, rel=0.15)
    assert boost.warming.loss == pytest.approx(loss, rel=0.15)
    assert boost.warming.heat == pytest.approx(heat, abs=0.05)
    assert "warming" not in (fit_boost(gains, course, warmings, {1000: 1e-3}) or {})


def runs(rise: float, noise: float = 0.0, points: int = 38) -> list[list[list[float]]]:
    """Two runs of layers of 1 ms, in each of which they take longer by so much in the end."""
    rng = np.random.default_rng(0)
    times_s = 0.5 + 0.25 * np.arange(points)
    return [
        [
            [t, 1e-3 * (1 + rise * t / 10) * (1 + noise * e)]
            for t, e in zip(times_s, rng.standard_normal(points), strict=True)
        ]
        for _ in range(2)
    ]


def test_a_gpu_that_does_not_grow_warm_has_no_warming() -> None:
    assert fit_warming(1e-3, 8.0, 10.0, *runs(0.0)) is None
    assert fit_warming(1e-3, 8.0, 10.0, *runs(-0.03)) is None
    assert fit_warming(1e-3, 8.0, 10.0, *runs(0.03, points=9)) is None
    assert fit_warming(1e-3, 8.0, 10.0, *runs(0.0, 0.002)) is None


@pytest.mark.parametrize("rise", [0.01, 0.03, 0.3])
def test_a_drift_of_another_shape_is_stated_within_bounds(rise: float) -> None:
    """It goes on as long as it was seen: what the model makes of it is no steeper than twice the drift, and allowed."""
    found = fit_warming(1e-3, 8.0, 10.0, *runs(rise))
    assert found is not None
    assert 2.0 <= found.window_s <= 20.0
    assert found.loss <= 0.5
    stated = {"window_s": 0.04, "threshold": 0.7, "gain": [[64, 0.0]], "warming": found._asdict()}
    assert Boost.of(stated) is not None


def test_a_size_whose_layer_is_longer_than_a_burst_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    device = gpu(monkeypatch, Boost(0.04, 0.7, lambda tokens: 0.08))
    assert rest.time_gain(device, 16000, 3) == [{"note": "not measured: a layer takes 16.0 ms, more than a burst"}]


def test_layers_of_a_real_stack_are_timed() -> None:
    torch = pytest.importorskip("torch")
    from flowsim.calibration.operators import Decoder

    spec = ModelSpec("tiny", 2, 64, 4, 2, 16, 128, 97, 512, 10000.0, 1e-5)
    with torch.inference_mode():
        stack = Stack(Decoder(spec, "cpu", rows=64, dtype="float32"), 16)
        stack.heat(0.0)
        assert min(stack.layer_s, stack.launch_s, stack.sustained_s(3, 2), stack.rested_s(3, 2, 0.0)) > 0
        course, cycles = stack.course(5, 1e-3, 0.0), stack.cycles(3, 1e-3, 0.5, 0.03, 0.0)
    assert [len(course), len(cycles)] == [5, 5]
    assert [span.work_s for span in (course[0], cycles[0])] == [1e-3, pytest.approx(3e-3)]
    assert cycles[0].idle_s == 0.0
    assert all(span.idle_s > 0 for span in cycles[1:])
