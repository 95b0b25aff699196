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
PRIORITY_THEN_SHORTEST = Fixed(key=lambda candidate: (candidate.priority, candidate.tokens))
MOST_CACHED = Fixed(key=lambda candidate: -candidate.cached)
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
SCORED = Moving(
    key=lambda candidate, now: (
        -np.tanh((now - candidate.arrival_s - 5.0) / 10.0) - np.tanh((32768 - candidate.input_length) / 65536)
    )
)
"""The sum of two logistic functions 1 / (1 + e^-x) = (1 + tanh(x / 2)) / 2: of (wait - 5 s) / 5 s, and of (32768 -
tokens of the prompt) / 32768; the largest first."""
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
    "wspt": PRIORITY_THEN_SHORTEST,
    "lpm": MOST_CACHED,
    "sjf": SHORTEST,
    "vllm-sjf": SCORED,
    "srpt": LEAST_TIME,
    "feasible-srpt": FEASIBLE_FIRST,
    "edf": EARLIEST,
    "sedf": S_EDF,
    "llf": LEAST_SLACK,
    "lars": RELATIVE_SLACK,
    "prefillonly": AGED,
}
