"""Orders of every kind, and those of the policies."""

from __future__ import annotations

from typing import Any

from flowsim.core.order import Arrival, Fixed, Flipping, Moving, Scanned
from flowsim.policies.parts.orders import ORDERS as SHIPPED

ORDERS: dict[str, Any] = {
    **{f"policies' {name}": order for name, order in SHIPPED.items()},
    "arrival": Fixed(lambda candidate: 0),
    "as they came": Arrival(),
    "scanned": Scanned(lambda candidate, now: (candidate.tokens * now) % 3),
    "deadline": Fixed(lambda candidate: candidate.deadline_s),
    "tokens": Fixed(lambda candidate: candidate.tokens),
    "s-edf": Flipping(
        key=lambda candidate: candidate.deadline_s,
        flips_at=lambda candidate: candidate.deadline_s - candidate.predicted_s,
        flipped=lambda candidate: -candidate.deadline_s,
    ),
    "flips to tokens": Flipping(
        key=lambda candidate: candidate.tokens,
        flips_at=lambda candidate: candidate.deadline_s,
        flipped=lambda candidate: candidate.predicted_s,
    ),
    "laxity": Moving(lambda candidate, now: candidate.deadline_s - now - candidate.predicted_s),
    "response ratio": Moving(lambda candidate, now: -(now - candidate.arrival_s) / candidate.tokens),
    "power of waiting": Moving(lambda candidate, now: -(1.1 ** (now - candidate.arrival_s)) / candidate.tokens),
    "nothing": Moving(lambda candidate, now: 0.0),
}
