"""A simulated instance whose GPU runs above its sustained clock until its power limit holds (`Boost`).

Two kinds of seconds: timelines, cuts and what predictors are asked (`elapsed_s`) are in those of a busy GPU, as in any
simulation; the environment, the ledger and the log (`busy_s`, `check_s`, `service_s`, stretches) are in real ones. They
are converted at one place, `_pace`, which every stretch of execution gets at its begin and which holds until its end:
it takes the tokens of the recording as which the pass runs or else its own, at most those of one forward, and the share
of its time for which the device is busy.
"""

from __future__ import annotations

from typing import Any

from flowsim.calibration.costs.power import Boost, Pace
from flowsim.core.passes import Execution
from flowsim.engine.device import SimulatedInstance


class BoostedInstance(SimulatedInstance):
    """One prefill instance, rested when the simulation begins.

    Args:
        boost: how the GPU's speed follows from its use.
        arguments, options: as `SimulatedInstance` takes them.
    """

    def __init__(self, boost: Boost, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._boost = boost
        self._use = 0.0
        """Its use at `_use_s`: the begin of the running stretch, or the end of the last one."""
        self._use_s = 0.0
        self._pace: Pace = boost.pace(0.0, 0)
        """Of the running stretch, which began at `_from_s` of the pass's timeline."""
        self._from_s = 0.0
        self._then = (0.0, 0.0)
        """The latest answer of `_when` in this stretch: how far in the timeline, and when."""

    def _begin_stretch(self, execution: Execution) -> None:
        timeline = execution.timeline
        share = timeline.device_s / timeline.duration_s if timeline.duration_s else 1.0
        tokens = min(execution.batch_tokens, self._chunk_tokens)
        self._use, self._use_s = self._boost.rested(self._use, self._began_s - self._use_s), self._began_s
        self._pace = self._boost.pace(self._use, tokens, min(share, 1.0), timeline.recorded)
        self._from_s = execution.elapsed_s
        self._then = (self._from_s, self._began_s)

    def _end_stretch(self, execution: Execution, end_s: float, *, completed: bool) -> None:
        super()._end_stretch(execution, end_s, completed=completed)
        real_s = end_s - self._began_s
        self._use, self._use_s = self._pace.use_after(real_s), end_s
        execution.taken_s += real_s

    def _when(self, running: Execution, elapsed_s: float) -> float:
        if elapsed_s != self._then[0]:
            self._then = (elapsed_s, self._began_s + self._pace.real_s(elapsed_s - self._from_s))
        return self._then[1]

    def _ran_by(self, running: Execution, time_s: float) -> float:
        return self._from_s + self._pace.work_s(max(time_s - self._began_s, 0.0))

    def _taken_s(self, execution: Execution) -> float:
        return execution.taken_s
