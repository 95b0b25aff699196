"""The orders by name: which request, or paused batch, goes next.

An order is one key; `flowsim.core.order` says which kind fits. `candidate` is a request or an execution: they have the
same attributes. The smallest key goes first; ties go to the earlier arrival.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from flowsim.core.order import Arrival, Fixed, Flipping, Moving, Order

ARRIVAL = Arrival()
SHORTEST = Fixed(key=lambda candidate: candidate.tokens)
EARLIEST = Fixed(key=lambda candidate: candidate.deadline_s)
PRIORITY = Fixed(key=lambda candidate: candidate.priority)
LEAST_TIME = Fixed(key=lambda candidate: candidate.predicted_s)
LEAST_SLACK = Fixed(key=lambda candidate: candidate.deadline_s - candidate.predicted_s)
"""deadline - now - predicted time left, without the time, which all have in common."""
RELATIVE_SLACK = Moving(
    key=lambda candidate, now: (
        (candidate.deadline_s - now - candidate.predicted_s) / np.maximum(candidate.predicted_whole_s, 1e-6)
    )
)
AGED = Fixed(key=lambda candidate: candidate.tokens + 500.0 * candidate.arrival_s)
"""tokens - 500 * (now - arrival), without the time, which all have in common."""
FEASIBLE_FIRST = Flipping(
    key=lambda candidate: candidate.predicted_s,
    flips_at=lambda candidate: candidate.deadline_s - candidate.predicted_s,
    flipped=lambda candidate: candidate.predicted_s,
)
S_EDF = Flipping(
    key=lambda candidate: candidate.deadline_s,
    flips_at=lambda candidate: candidate.deadline_s - max(candidate.predicted_s, 0.0),
    flipped=lambda candidate: -candidate.deadline_s,
)
"""sign(slack) / deadline, largest first: those that can still make it by earliest deadline, then the hopeless by
latest deadline. slack = (deadline - now) - max(predicted time left, 0); zero slack counts as hopeless."""

ORDERS: Mapping[str, Order] = {
    "fcfs": ARRIVAL,
    "priority": PRIORITY,
    "sjf": SHORTEST,
    "srpt": LEAST_TIME,
    "feasible-srpt": FEASIBLE_FIRST,
    "edf": EARLIEST,
    "sedf": S_EDF,
    "llf": LEAST_SLACK,
    "lars": RELATIVE_SLACK,
    "prefillonly": AGED,
}
