"""The fastest attention kernel wins at each size; what does not work, or does not fit, is noted."""

from __future__ import annotations

import pytest

from flowsim.calibration.gpu.attention import KERNELS
from flowsim.calibration.gpu.batch import Batch
from flowsim.calibration.gpu.decoder import Decoder
from flowsim.calibration.measure import kernel_race, stopwatch
from flowsim.calibration.measure.grid import Grid
from flowsim.calibration.measure.kernel_race import race_kernels
from flowsim.calibration.measure.measurement_log import MeasurementLog
from support.calibration import SPEC

pytest.importorskip("torch")

US = {
    ("flash", 16): 1.01, ("split", 16): 1.0, ("varlen", 16): 3.0,
    ("flash", 32): 2.0, ("split", 32): MemoryError(), ("varlen", 32): 1.5,
    ("flash", 64): ValueError(), ("split", 64): ValueError(), ("varlen", 64): ValueError(), ("sdpa", 64): 9.0,
}  # fmt: skip
"""Microseconds that each kernel takes, or what it raises, by tokens."""


def test_the_fastest_kernel_of_each_size_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tie within 2 % goes to the first; `sdpa` runs only where no other kernel does."""
    raced: list[tuple[str, int]] = []

    def time_attention(stack: object, p: Batch, limits: object) -> tuple[float, float]:
        (name,) = (name for name, kernel in KERNELS.items() if p.kernels == (kernel,))
        raced.append((name, p.tokens))
        took = US[name, p.tokens]
        if isinstance(took, Exception):
            raise took
        return took * 1e-6, took * 7e-6

    working = {"cudnn": "no GPU", "flash": "", "split": "", "sdpa": "", "varlen": "", "math": ""}
    monkeypatch.setattr(stopwatch, "time_attention", time_attention)
    monkeypatch.setattr(kernel_race, "working_kernels", lambda *arguments: dict(working))
    log = MeasurementLog(None, {}, lambda done, total, what: None)
    stack = Decoder(SPEC, "cpu", rows=64, dtype="float32")
    choice, first_call_us = race_kernels(stack, [(16, 0), (32, 0), (64, 0)], Grid(), log, ["math"])
    assert [choice(tokens, 0) for tokens in (16, 32, 64)] == ["flash", "varlen", "sdpa"]
    assert first_call_us == {"flash": 10.535, "split": 7.0, "varlen": 15.75, "sdpa": 63.0}  # medians over the sizes
    assert raced == [
        ("flash", 16), ("split", 16), ("varlen", 16), ("flash", 32), ("split", 32), ("varlen", 32),
        ("flash", 64), ("split", 64), ("sdpa", 64), ("varlen", 64),
    ]  # fmt: skip
    assert log.notes() == [
        "kernels: cudnn not used: no GPU",
        "kernels: math not used: left out",
        "kernel 32@0: split not tried: out of memory",
    ]
