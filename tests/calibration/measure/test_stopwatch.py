"""Operators are timed between marks, whose own time is taken off."""

from types import SimpleNamespace
from typing import cast

import pytest

from flowsim.calibration.gpu.batch import CacheSlice, Step
from flowsim.calibration.gpu.decoder import Decoder
from flowsim.calibration.measure import stopwatch
from flowsim.calibration.measure.repeats import RepeatLimits


class Scripted:
    """A device on which every step takes what is written, and every mark 0.5 s."""

    cuda, now = False, 0.0

    def __init__(self, device: object) -> None:
        """Of whatever device."""

    def mark(self) -> float:
        Scripted.now += 0.5
        return Scripted.now

    def between(self, begin: float, end: float) -> float:
        return end - begin

    def stall(self, seconds: float) -> None:
        """Takes nothing."""

    synchronise = wait = lambda *arguments: None


def scripted(operator: str, layer: int, seconds: float) -> Step:
    def run(p: object) -> None:
        Scripted.now += seconds

    return Step(operator, layer, run)


def test_marks_are_taken_off_and_layers_take_what_they_take_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopwatch, "Stopwatch", Scripted)
    layers = [step for i in range(3) for step in (scripted("norm", i, 1.0), scripted("proj", i, 8.0 + i))]
    program = [scripted("embed", -1, 4.0), *layers, scripted("head", 3, 7.0)]
    decoder = SimpleNamespace(
        device="none", layers=3, operators=("norm", "proj"), program=program, prepare=lambda slices: None
    )
    device, host = stopwatch.time_layers(cast(Decoder, decoder), [CacheSlice(1)], RepeatLimits(2, 3, 0.0))
    # The last two layers take 1 + 9 and 1 + 10 s and, with the mark behind them, 10.75 s each.
    scale = 10.75 / 10.5
    assert device["embed"] == pytest.approx([4.0] * 2)
    assert device["norm"] == pytest.approx([1.0 * scale] * 2)
    assert device["proj"] == pytest.approx([9.5 * scale] * 2)
    assert [len(host[name]) for name in ("embed", "norm", "proj")] == [2, 2, 2]
