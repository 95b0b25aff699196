"""Least laxity first: the least slack before the deadline, absolute."""

from __future__ import annotations

from dataclasses import dataclass

from flowsim.core.timeline import Cut
from flowsim.policies.parts.composed import Composed


@dataclass(frozen=True, kw_only=True)
class LLF(Composed):
    """The least slack goes first, one prompt a pass, preempting one with more slack at its next cut.

    Key: d - t - c(n), smallest first: d the deadline, t the time, c(n) the predicted seconds left. The time is the same
    for all that are compared, so d - c(n) ranks them alike. Source: the textbook rule (Mok 1983). Those that are late
    already have the least slack, and go first. It decides at arrivals and completions only, so two of equal slack do
    not take turns.
    """

    cut: Cut = "operator"
    order: str = "llf"
