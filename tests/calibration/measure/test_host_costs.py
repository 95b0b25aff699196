"""Decisions and hand-offs are timed as a real run has them."""

from types import SimpleNamespace
from typing import cast

import pytest

from flowsim.calibration.gpu.decoder import Decoder
from flowsim.calibration.gpu_engine.gpu_device import GpuDevice
from flowsim.calibration.gpu_engine.runner import Runner
from flowsim.calibration.measure.host_costs import time_decisions, time_hand_offs, time_proceeding
from flowsim.calibration.measure.repeats import RepeatLimits
from flowsim.core.policy import Policy
from flowsim.core.request import Request
from support.calibration import SPEC

torch = pytest.importorskip("torch")


def test_decisions_are_timed_on_the_real_scheduler_with_so_many_in_sight(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[int] = []
    real = GpuDevice.think

    def think(device: GpuDevice, seen: int) -> None:
        looked_at.append(seen)
        real(device, seen)

    monkeypatch.setattr(GpuDevice, "think", think)
    for seen in (1, 2, 50):
        looked_at.clear()
        samples = time_decisions(seen, RepeatLimits(3, 8, 60.0), apart_s=0.0)
        assert len(samples) == 8
        assert min(samples) > 0
        assert max(looked_at) == seen
        assert looked_at.count(seen) >= 8  # the last arrival of every round


@pytest.mark.parametrize("stops", [2, 0])
def test_hand_offs_are_those_of_short_prompts_in_bursts_and_of_long_ones_that_are_preempted(
    monkeypatch: pytest.MonkeyPatch, stops: int
) -> None:
    """Passes of 1 ms; ends known after 3 and 5 us, decisions of 10 us, next begins after 34 us and (in no time) 9."""
    served: list[tuple[str, list[int], list[float]]] = []

    def execute(requests: list[Request], policy: Policy, cost: object, predictor: object, runner: object) -> object:
        served.append((type(policy).__name__, [r.input_length for r in requests], [r.arrival_s for r in requests]))
        log = SimpleNamespace(control_s=100e-6, decisions=10)
        ledger = SimpleNamespace(service_s=[1e-3])
        pauses = [SimpleNamespace(stopped_s=1.0, acknowledged_s=1.0 + us * 1e-6) for us in (7, 8)[:stops]]
        outcome = SimpleNamespace(logs=[log], ledger=ledger)
        return SimpleNamespace(
            outcome=outcome, acknowledged_s=[3e-6, 5e-6], hand_overs_s=[34e-6, 9e-6], preemptions=pauses
        )

    monkeypatch.setattr("flowsim.calibration.measure.host_costs.replay_on_device", execute)
    runner = cast(Runner, SimpleNamespace(decoder=SimpleNamespace(rows=20000)))
    complete, acknowledge, resume = time_hand_offs(runner, 33)
    assert complete == [3e-6, 5e-6]
    assert acknowledge == pytest.approx([7e-6, 8e-6] if stops else complete, abs=1e-9)  # if none stopped, as an end
    assert resume == pytest.approx([20e-6, 0.0])
    (first, bursts, at), (second, mixed, apart) = served
    assert (first, second) == ("FCFS", "EDF")
    assert (bursts, at[4:6]) == ([64] * 33, [0.0, 5e-3])
    assert [i for i, tokens in enumerate(mixed) if tokens == 16384] == [0, 31]
    assert apart[:2] == [0.0, 15e-3]


def test_proceeding_is_timed_from_each_stop_of_one_prompt_until_it_runs_on() -> None:
    with Runner(Decoder(SPEC, "cpu", rows=64, dtype="float32")) as runner:
        samples = time_proceeding(runner, 40)
    assert len(samples) == 5 * SPEC.layers  # the operators after which it stops; then its end
    assert min(samples) > 0
