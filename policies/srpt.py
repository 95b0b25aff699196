"""Shortest remaining prefill time, preemptive, with and without regard to what can still make its deadline."""

from __future__ import annotations

from dataclasses import dataclass

from flowsim.core.operators import Cut
from flowsim.policies.parts.composed import Composed


@dataclass(frozen=True, kw_only=True)
class SRPT(Composed):
    """The least predicted time left goes first, one prompt a pass, preempting a longer one at its next cut.

    Key: c(n), the predicted seconds that the n tokens left take alone, smallest first. Source: Schrage and Miller
    (1966), who analyse the rule for M/G/1; Schrage (1968) proves that whatever arrives, it keeps the fewest jobs in the
    system, and with that the least mean response time, on one machine whose preemptions are free. `sjf` ranks by
    tokens, which differs where tokens after a cached or computed context take longer.
    """

    cut: Cut = "operator"
    order: str = "srpt"


@dataclass(frozen=True, kw_only=True)
class FeasibleSRPT(Composed):
    """Those that can still make their deadline go first, the shortest of them before the others; then the hopeless.

    Key: (t >= d - c(n), c(n)), smallest first: t the time, d the deadline, c(n) the predicted seconds left. As with
    `sedf`, no slack at all counts as hopeless. Source: flowsim's own, an ablation between `srpt` and `flowprefill`.
    """

    cut: Cut = "operator"
    order: str = "feasible-srpt"
