"""Earliest deadline first, preemptive (Liu and Layland 1973)."""

from __future__ import annotations

from dataclasses import dataclass

from flowsim.core.order import Fixed
from flowsim.core.passes import Execution, Pass
from flowsim.core.policy import View, Wake
from flowsim.core.request import Request
from flowsim.core.timeline import Cut

EARLIEST = Fixed(key=lambda candidate: candidate.deadline_s)


@dataclass(frozen=True)
class EDF:
    """The earliest deadline goes first, one prompt a pass, preempting a later one at its next cut."""

    cut: Cut = "operator"
    wake: Wake = "events"

    def choose(self, view: View) -> Pass | Execution | None:
        """Whatever is due first."""
        head = view.first(EARLIEST)
        return Pass.whole(head) if isinstance(head, Request) else head
