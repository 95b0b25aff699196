"""How layers and recorded forwards are timed: on a GPU that obeys the model of its power limit, and on a processor."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from flowsim.calibration.costs.power import PowerModel
from flowsim.calibration.gpu.batch import CacheSlice, Step
from flowsim.calibration.measure import graph_stopwatch, idle_gpu, stopwatch
from flowsim.calibration.measure.repeats import RepeatLimits

GAINS = {64: 0.0, 128: 0.05, 2048: 0.1}
LAUNCH_S, SEGMENT_S = 2e-4, 3e-5


class Device:
    """A GPU that obeys the model and its host; a recording of n tokens takes 20 n us when it is busy.

    The host takes LAUNCH_S to launch a recording, in as many segments as `cuts`, and SEGMENT_S to see that one is over.
    """

    def __init__(self) -> None:
        self.boost = PowerModel(0.03, 0.7, GAINS.__getitem__)
        self.use = self.free_s = self.host_s = 0.0
        self.type, self.device = "cuda", self
        self.decoder, self.cuda = self, True
        self.held = 0

    def launcher(self, cuts: int) -> Any:
        return SimpleNamespace(decoder=self, ready=lambda slices: self.ready(slices, cuts), next_ids=self.release)

    def ready(self, slices: Any, cuts: int) -> Any:
        self.host_s += 5e-5
        self.held += 1
        tokens = slices[0].tokens
        step = [lambda batch: self.run(batch, cuts)]
        return SimpleNamespace(batch=tokens, segments=[step] * cuts)

    def release(self, forward: Any) -> None:
        self.held -= 1

    def run(self, tokens: int, cuts: int) -> None:
        self.host_s += LAUNCH_S / cuts
        begin_s = max(self.host_s, self.free_s)
        profile = self.boost.profile(self.boost.rested(self.use, begin_s - self.free_s), tokens)
        took_s = profile.real_s(tokens * 20e-6 / cuts)
        self.use, self.free_s = profile.use_after(took_s), begin_s + took_s

    def mark(self) -> float:
        return max(self.host_s, self.free_s)

    def between(self, begin: float, end: float) -> float:
        return end - begin

    def wait(self, mark: float) -> None:
        self.host_s = max(self.host_s, mark)

    def stall(self, seconds: float) -> None:
        begin_s = self.mark()
        self.use = self.boost.rested(self.use, begin_s + seconds - self.free_s)
        self.free_s = begin_s + seconds

    def synchronise(self) -> None:
        self.host_s = max(self.host_s, self.free_s) + SEGMENT_S

    def perf_counter(self) -> float:
        self.host_s += 1e-7
        return self.host_s


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Device:
    device = Device()
    for module in (graph_stopwatch, idle_gpu, stopwatch):
        monkeypatch.setattr(module, "time", device)
    monkeypatch.setattr(graph_stopwatch, "Stopwatch", lambda of: of)
    monkeypatch.setattr(stopwatch, "synchroniser", lambda of: of.synchronise)
    return device


def stack(gpu: Device, launch_s: float, plan_s: float) -> Any:
    """Layers of one operator, of 2.56 ms; the host takes launch_s longer to launch it, and once plan_s."""
    planned = []

    def run(batch: object) -> None:
        gpu.host_s += launch_s if planned else plan_s
        planned.append(True)
        gpu.run(2048, 16)

    program = [Step("embed", -1, run), *(Step("proj", i, run) for i in range(3)), Step("head", 3, run)]
    return SimpleNamespace(device=gpu, layers=3, operators=("proj",), program=program, prepare=lambda slices: None)


@pytest.fixture
def timed(gpu: Device, monkeypatch: pytest.MonkeyPatch) -> Device:
    monkeypatch.setattr(stopwatch, "Stopwatch", lambda of: of)
    return gpu


def test_layers_are_timed_on_a_gpu_that_has_been_busy_for_long(timed: Device) -> None:
    device, host = stopwatch.time_layers(stack(timed, 1e-4, plan_s=1.0), [CacheSlice(1)], RepeatLimits(4, 12, 0.1))
    assert stopwatch.typical(device["proj"]) == pytest.approx(2048 * 20e-6 / 16, rel=1e-3)  # rested: 9 % less
    assert stopwatch.typical(host["proj"]) == pytest.approx(1e-4 + LAUNCH_S / 16, rel=0.01)


@pytest.mark.parametrize(("launch_s", "least_s", "most_s"), [(1e-4, 10.0, 10.2), (5e-3, stopwatch.LIGHT_HEAT_S, 0.4)])
def test_where_the_host_is_the_slower_a_gpu_is_not_heated_for_long(
    timed: Device, launch_s: float, least_s: float, most_s: float
) -> None:
    stopwatch.time_layers(stack(timed, launch_s, 0.0), [CacheSlice(1)], RepeatLimits(2, 3, 0.0, heat_s=10.0))
    assert least_s < timed.host_s < most_s


def test_a_pass_is_heated_just_as_it_is_timed(timed: Device) -> None:
    """What comes before each sample changes how fast it is, and so it comes before each run that heats, too."""
    whole, longest = timed.launcher(1), timed.launcher(1)
    before = stopwatch.watched(longest, [CacheSlice(2048)])
    samples = stopwatch.time_pass(whole, [CacheSlice(128)], RepeatLimits(6, 12, 0.1), before)
    assert samples == pytest.approx([samples[-1]] * len(samples), rel=1e-4)


def test_what_leads_is_as_long_as_it_takes_the_host_to_get_ahead(timed: Device) -> None:
    one = stack(timed, 0.0, 0.0).program[:1]
    lead = stopwatch.heat_up(timed, one, 0, 0.0)  # type: ignore[arg-type]
    assert lead.steps == one * 3  # each takes 2.3 ms on a rested GPU


@pytest.mark.parametrize("tokens", GAINS)
def test_the_gain_of_a_recording_is_found_again(gpu: Device, tokens: int) -> None:
    times = graph_stopwatch.time_recording(gpu.launcher(1), tokens, 2048, RepeatLimits(4, 12, 0.1), 3)
    busy_s, rested_s = stopwatch.typical(times.busy), stopwatch.typical(times.rested)
    assert busy_s == pytest.approx(tokens * 20e-6, rel=0.01)
    assert len(times.busy) >= 4
    assert len(times.rested) == 3
    found = gpu.boost.with_recordings({tokens: (busy_s, rested_s)}).recorded_gain
    assert found is not None
    assert found(tokens) == pytest.approx(GAINS[tokens], abs=0.01)
    assert gpu.held == 0


@pytest.mark.parametrize("tokens", [64, 128])
def test_what_the_host_takes_to_launch_and_to_check_is_told_apart(gpu: Device, tokens: int) -> None:
    prepare, check = graph_stopwatch.time_graph_checks(
        gpu.launcher(1), gpu.launcher(10), tokens, RepeatLimits(4, 12, 0.1)
    )
    # The launch of a segment shows where the device waits for it, which is behind every check.
    assert stopwatch.typical(check) == pytest.approx(SEGMENT_S, rel=0.1)
    assert stopwatch.typical(prepare) == pytest.approx(5e-5 + LAUNCH_S, rel=0.1)
    assert gpu.held == 0


def test_a_processor_has_no_rested_times() -> None:
    torch = pytest.importorskip("torch")
    from flowsim.calibration.costs.models import ModelSpec
    from flowsim.calibration.gpu.decoder import Decoder
    from flowsim.calibration.gpu.graphs import Launcher

    spec = ModelSpec("tiny", 2, 64, 4, 2, 16, 128, 97, 512, 10000.0, 1e-5)
    with torch.inference_mode():
        whole = Launcher(Decoder(spec, "cpu", rows=128, dtype="float32"), "none", [64, 128])
        times = graph_stopwatch.time_recording(whole, 64, 128, RepeatLimits(2, 3, 0.01), 3)
        prepare, check = graph_stopwatch.time_graph_checks(whole, whole, 64, RepeatLimits(2, 3, 0.01))
    assert times.rested == []
    assert all(0 < s < math.inf for s in (*times.busy, *prepare))
    assert len(prepare) == len(check) >= 2
    assert whole.crowded == 0
