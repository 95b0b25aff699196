"""How fast a simulated GPU runs: from seconds of a timeline to those of the simulation, and back.

Timelines, cuts and what predictors are asked (`Execution.elapsed_s`) are in seconds of a GPU that has been busy; the
environment, the ledger and the log (`busy_s`, `check_s`, `service_s`) are in seconds of the simulation. They differ on
a GPU that runs above its sustained clock after a rest (`flowsim.calibration.costs.power`), and only here is one made of
the other.
"""

from __future__ import annotations

from typing import Protocol

from msgspec.structs import force_setattr

from flowsim.calibration.costs.power import PowerModel, SpeedProfile
from flowsim.core.pass_timeline import Timeline
from flowsim.core.passes import Execution


class Speed(Protocol):
    """Converts times of one stretch of execution after another."""

    def begin(self, execution: Execution, timeline: Timeline) -> None:
        """A stretch of this pass begins at `execution.began_s`."""

    def end(self, execution: Execution, elapsed_s: float) -> None:
        """It ended this far into the timeline; brings `elapsed_s`, `ended_s` and `taken_s` of the pass up to date."""

    def time_of(self, elapsed_s: float) -> float:
        """When the running pass gets this far in its timeline."""

    def elapsed_at(self, time_s: float) -> float:
        """How far the running pass gets in its timeline by then."""


class SustainedSpeed:
    """A GPU that always runs at its sustained clock: both kinds of seconds are the same."""

    def __init__(self) -> None:
        self._origin_s = 0.0
        """When the running pass would have begun, had it never been stopped."""
        self._from_s = 0.0

    def begin(self, execution: Execution, timeline: Timeline) -> None:
        """See `Speed`."""
        self._from_s = execution.elapsed_s
        self._origin_s = execution.began_s - execution.elapsed_s

    def end(self, execution: Execution, elapsed_s: float) -> None:
        """See `Speed`."""
        force_setattr(execution, "elapsed_s", elapsed_s)
        force_setattr(execution, "taken_s", elapsed_s)
        force_setattr(execution, "ended_s", self._origin_s + elapsed_s)

    def time_of(self, elapsed_s: float) -> float:
        """See `Speed`."""
        return self._origin_s + elapsed_s

    def elapsed_at(self, time_s: float) -> float:
        """See `Speed`."""
        return max(time_s - self._origin_s, self._from_s)


class PowerLimitedSpeed:
    """A GPU, rested when the simulation begins, that runs above its sustained clock until its power limit holds.

    Each stretch gets a `SpeedProfile` when it begins, which holds until its end. It follows from the share of time for
    which the device is busy, and from the tokens of the recording that the pass runs as, or else from those of the
    pass, at most those of one forward.

    Args:
        boost: how the GPU's speed follows from its use.
        max_batched_tokens: most tokens of one forward.
    """

    def __init__(self, boost: PowerModel, max_batched_tokens: int) -> None:
        self._boost = boost
        self._max_batched_tokens = max_batched_tokens
        self._use = 0.0
        """Its use at `_use_s`: the begin of the running stretch, or the end of the last one."""
        self._use_s = 0.0
        self._profile: SpeedProfile = boost.profile(0.0, 0)
        """Of the running stretch, which began at `_began_s`, `_from_s` into the timeline of its pass."""
        self._began_s = self._from_s = 0.0
        self._latest = (0.0, 0.0)
        """The latest answer of `time_of` in this stretch: how far in the timeline, and when."""

    def begin(self, execution: Execution, timeline: Timeline) -> None:
        """See `Speed`."""
        share = timeline.device_s / timeline.duration_s if timeline.duration_s else 1.0
        tokens = min(execution.batch_tokens, self._max_batched_tokens)
        self._began_s, self._from_s = execution.began_s, execution.elapsed_s
        self._use, self._use_s = self._boost.rested(self._use, self._began_s - self._use_s), self._began_s
        self._profile = self._boost.profile(self._use, tokens, min(share, 1.0), timeline.recorded)
        self._latest = (self._from_s, self._began_s)

    def end(self, execution: Execution, elapsed_s: float) -> None:
        """See `Speed`."""
        ended_s = self.time_of(elapsed_s)
        real_s = ended_s - self._began_s
        self._use, self._use_s = self._profile.use_after(real_s), ended_s
        force_setattr(execution, "elapsed_s", elapsed_s)
        force_setattr(execution, "taken_s", execution.taken_s + real_s)
        force_setattr(execution, "ended_s", ended_s)

    def time_of(self, elapsed_s: float) -> float:
        """See `Speed`."""
        if elapsed_s != self._latest[0]:
            self._latest = (elapsed_s, self._began_s + self._profile.real_s(elapsed_s - self._from_s))
        return self._latest[1]

    def elapsed_at(self, time_s: float) -> float:
        """See `Speed`."""
        return self._from_s + self._profile.work_s(max(time_s - self._began_s, 0.0))


def speed_of(boost: PowerModel | None, max_batched_tokens: int) -> Speed:
    """The speed of a GPU with this boost, or with none."""
    return SustainedSpeed() if boost is None else PowerLimitedSpeed(boost, max_batched_tokens)
