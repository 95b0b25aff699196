"""Six requests on costs by hand: what a policy does, small enough to follow with a pencil.

A thousand tokens take a second, a fifth of it in each of the five operators that the paper checks after; a batch takes
the sum. A forward has at most 2,000 tokens and four layers: operators, layers and chunks of a long prompt end every
0.1, 0.5 and 2 s. Nothing else costs anything, and predictions are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.pass_costs import PassCosts
from flowsim.calibration.costs.predictor import make_predictor
from flowsim.core.events import stretches
from flowsim.core.policy import Policy
from flowsim.core.request import Request
from flowsim.core.server import ServerOptions
from flowsim.engine.simulate import simulate

ROWS = (
    # (arrival, tokens, SLO, class, client)
    (0.0, 10000, 30.0, "file", "a"),
    (1.0, 1000, 4.0, "text", "b"),
    (2.0, 6000, 20.0, "search", "a"),
    (3.0, 1000, 3.0, "text", "a"),
    (4.0, 5000, 4.0, "search", "b"),  # hopeless from the start
    (12.0, 2000, 5.0, "text", "b"),
)
TOKENS_PER_S = 1000
FORWARD_TOKENS = 2000
LAYERS = 4


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
    costs = PassCosts(_by_hand(), _SERVER, policy.cut)
    outcome = simulate(_requests(), policy, costs, make_predictor("exact", costs), events=True)
    assert outcome.events is not None
    ran: list[list[tuple[float, float]]] = [[] for _ in ROWS]
    for stretch in stretches(outcome.events[0]):
        for member in stretch.members:
            if stretch.ended_s > stretch.began_s:
                ran[member].append((stretch.began_s, stretch.ended_s))
    ledger = outcome.ledger
    return [ServedRequest(*row) for row in zip(_requests(), ran, ledger.finished_s, ledger.rejected, strict=True)]


_SERVER = ServerOptions(block_tokens=1, kv_tokens=100_000, max_batched_tokens=FORWARD_TOKENS)


def _requests() -> list[Request]:
    return [
        Request(id, arrival_s, tokens, slo_s, name, client=client)
        for id, (arrival_s, tokens, slo_s, name, client) in enumerate(ROWS)
    ]


def _by_hand() -> CostModel:
    def operator_s(tokens: int, context: int = 0) -> float:
        return tokens / (5 * LAYERS * TOKENS_PER_S)

    checked = ("qkv_proj", "o_proj", "gate_up_proj", "down_proj")
    return CostModel("by hand", LAYERS, dict.fromkeys(checked, operator_s), operator_s)
