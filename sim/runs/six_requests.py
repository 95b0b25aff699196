"""Six requests on costs by hand: what a policy does, small enough to follow with a pencil.

A hundred tokens take a second, a fifth of it in each of the five operators that the paper checks after; a batch takes
the sum. Nothing else costs anything, and predictions are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from flowsim.calibration.costs.cost_model import Cost, CostModel
from flowsim.calibration.costs.predictor import make_predictor
from flowsim.core.events import stretches
from flowsim.core.policy import Policy
from flowsim.core.request import Request
from flowsim.core.server import ServerOptions
from flowsim.engine.simulate import simulate

ROWS = (
    # (arrival, tokens, SLO, class, client)
    (0.0, 1000, 30.0, "file", "a"),
    (1.0, 100, 4.0, "text", "b"),
    (2.0, 600, 20.0, "search", "a"),
    (3.0, 100, 3.0, "text", "a"),
    (4.0, 500, 4.0, "search", "b"),  # hopeless from the start
    (12.0, 200, 5.0, "text", "b"),
)
TOKENS_PER_S = 100


class ServedRequest(NamedTuple):
    """What became of one of the six.

    Attributes:
        request: the request, as it arrived.
        ran: when it was computed: from, to, seconds.
        finished_s: when its first token was there; NaN if never.
        rejected: whether the policy rejected it.
    """

    request: Request
    ran: Sequence[tuple[float, float]]
    finished_s: float
    rejected: bool


def six_requests(policy: Policy) -> list[ServedRequest]:
    """What the policy does with the six requests. InputError: it does something that cannot be."""
    cost = _by_hand()
    outcome = simulate(_requests(), policy, cost, make_predictor("exact", cost, policy.cut, 8192), _SERVER, events=True)
    assert outcome.events is not None
    ran: list[list[tuple[float, float]]] = [[] for _ in ROWS]
    for stretch in stretches(outcome.events[0]):
        for member in stretch.members:
            if stretch.ended_s > stretch.began_s:
                ran[member].append((stretch.began_s, stretch.ended_s))
    ledger = outcome.ledger
    return [ServedRequest(*row) for row in zip(_requests(), ran, ledger.finished_s, ledger.rejected, strict=True)]


_SERVER = ServerOptions(block_tokens=1, kv_tokens=100_000)


def _requests() -> list[Request]:
    return [
        Request(id, arrival_s, tokens, slo_s, name, client=client)
        for id, (arrival_s, tokens, slo_s, name, client) in enumerate(ROWS)
    ]


def _by_hand() -> CostModel:
    checked = ("qkv_proj", "o_proj", "gate_up_proj", "down_proj")
    device: dict[str, Cost] = dict.fromkeys(checked, lambda tokens: tokens / (5 * TOKENS_PER_S))
    return CostModel("by hand", 1, device, lambda tokens, context: tokens / (5 * TOKENS_PER_S))
