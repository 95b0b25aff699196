"""A warm GPU has met every size."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest

from flowsim.calibration.gpu.batch import Batch, CacheSlice, Step
from flowsim.calibration.gpu.decoder import Decoder
from flowsim.calibration.gpu_engine import warm_up as serving

torch = pytest.importorskip("torch")


def test_a_warm_gpu_has_met_every_number_of_tokens(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers that wait for the host through all of a layer, and multiples of 128 through attention."""
    ran: dict[str, set[int]] = {}

    class Noted:
        """The decoder, as if it were on a GPU, and what it has run."""

        device = SimpleNamespace(type="cuda")
        operators = decoder.operators

        def __init__(self) -> None:
            self.program = [replace(step, run=self.noting(step)) for step in decoder.program]

        def noting(self, step: Step) -> Callable[[Batch], None]:
            def run(p: Batch) -> None:
                ran.setdefault(step.operator, set()).add(p.tokens)
                step.run(p)

            return run

        def prepare(self, slices: list[CacheSlice]) -> Batch:
            return decoder.prepare(slices)

        def segments(self, cut: str) -> list[list[Callable[[Batch], None]]]:
            assert cut == "layer"
            return [[step.run for step in self.program]]

    monkeypatch.setattr(serving, "synchroniser", lambda device: lambda: None)
    monkeypatch.setattr(serving, "HEAT_S", 0.0)
    monkeypatch.setattr(serving, "MET_TOKENS", 40)
    with torch.inference_mode():
        for _ in serving.warm_up(Noted(), 500, 600):  # type: ignore[arg-type]
            pass
    met = {*range(1, 41), 64, 100, 128, 256, 500}
    assert ran["down_proj"] == ran["head"] == met
    assert ran["attention"] == met | {384}
