"""What an instance needs of a device, and what a device tells the instance.

A device has a clock, executes one pass at a time, and takes its time for that and for whatever the scheduler does.
`SimulatedDevice` computes these times; `flowsim.calibration.gpu_engine.gpu_device.GpuDevice` spends them.

Devices only prefill today. One that decodes as well begins another kind of pass: one token each of the requests in its
batch, again and again until the batch changes.
"""

from __future__ import annotations

from typing import Protocol

from flowsim.core.passes import Execution, Part


class Clock(Protocol):
    """What tells the time: a SimPy environment, or a real clock."""

    @property
    def now(self) -> float:
        """The time, seconds."""


class Listener(Protocol):
    """What a device tells its instance about the running pass, whose `Execution` it has brought up to date.

    The fields that a device keeps are `elapsed_s`, `taken_s`, `began_s`, `ended_s` and `passed`.
    """

    def decide(self) -> None:
        """The scheduler has decided."""

    def thought(self, began_s: float, control_s: float) -> None:
        """The decision about which it began to think at `began_s` takes the scheduler `control_s` in all."""

    def reached_cut(self) -> None:
        """The pass stands at a cut: the policy wakes at cuts."""

    def acknowledged(self) -> None:
        """The pass has stopped at a cut, as the scheduler wanted."""

    def completed(self) -> None:
        """The pass has completed."""

    def woken(self) -> None:
        """The time has come at which the scheduler wanted to be woken."""

    def cut_off(self) -> None:
        """The run ends while the pass is being executed."""


class Device(Protocol):
    """Executes the passes of one instance, one at a time."""

    @property
    def clock(self) -> Clock:
        """Tells the time at which the instance handles an event."""

    def connect(self, listener: Listener, stops_at_cuts: bool) -> None:
        """From now on tell `listener`, and stop at every cut if so told."""

    def tick(self) -> float:
        """Read the time again, after the policy has chosen; the clock shows it."""

    def think(self, seen: int) -> None:
        """Have the scheduler think about a decision among `seen` requests and passes, then `decide`."""

    def wake_at(self, time_s: float) -> None:
        """Tell `woken` at this time, and not at any other that was named before; infinite: at none."""

    def begin(self, parts: tuple[Part, ...]) -> Execution:
        """Begin a new pass."""

    def resume(self, execution: Execution) -> None:
        """Go on with a pass that stands at a cut or is paused."""

    def stop(self, execution: Execution) -> None:
        """Stop the running pass at its next cut and acknowledge; without a further cut it completes."""

    def elapsed_s(self, execution: Execution) -> float:
        """How far the running pass has got by now, seconds of its timeline."""
