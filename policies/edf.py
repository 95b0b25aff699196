"""Earliest deadline first, preemptive (Liu and Layland 1973)."""

from __future__ import annotations

from dataclasses import dataclass

from flowsim.core.operators import Cut
from flowsim.policies.parts.composed import Composed


@dataclass(frozen=True, kw_only=True)
class EDF(Composed):
    """The earliest deadline goes first, one prompt a pass, preempting a later one at its next cut."""

    cut: Cut = "operator"
    order: str = "edf"
