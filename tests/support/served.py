"""What the tests of real serving share: a tiny model, and a workload for it."""

import numpy as np

from flowsim.calibration.costs.cost_model import GraphCost
from flowsim.calibration.costs.models import ModelSpec
from flowsim.calibration.costs.pass_costs import PassCosts
from flowsim.calibration.costs.predictor import make_predictor
from flowsim.calibration.gpu.decoder import Decoder
from flowsim.calibration.gpu_engine.replay import Replay, replay_on_device
from flowsim.calibration.gpu_engine.runner import Runner
from flowsim.core.events import Stretch, stretches
from flowsim.core.policy import Policy
from flowsim.core.request import Request
from flowsim.core.server import ServerOptions
from flowsim.engine.kv import taken_tokens
from flowsim.policies.registry import load_policy
from support.costs import service

SPEC = ModelSpec("tiny", 2, 64, 4, 2, 16, 128, 97, 4096, 10000.0, 1e-5)
"""Two layers with a long context."""


COST = service(2, graph=GraphCost(192, lambda n: n / 2, lambda n: 0.0, lambda n: 0.0))
"""Costs that only predictions need."""


ROWS = 6000
"""Rows of its KV cache."""


def workload(n: int = 40, every_s: float = 0.004) -> list[Request]:
    """Prompts of four lengths, the longer with more time."""
    rng = np.random.default_rng(5)
    arrival_s = np.cumsum(rng.exponential(every_s, n))
    sizes = rng.choice([8, 60, 300, 1000], n).tolist()
    sizes[0] = 1000  # there is a long one to preempt from the start
    slos = {8: 0.05, 60: 0.1, 300: 1.0, 1000: 2.0}
    pairs = zip((arrival_s - arrival_s[0]).tolist(), sizes, strict=True)
    return [Request(i, t, size, slos[size], kv_tokens=taken_tokens(size, 16)) for i, (t, size) in enumerate(pairs)]


def executed(policy: Policy | str, decoder: Decoder, requests: list[Request] | None = None, **limits: int) -> Replay:
    """What a policy makes of these requests, the workload by default."""
    policy = load_policy(policy) if isinstance(policy, str) else policy
    server = ServerOptions(**{"kv_tokens": 4000, "max_batched_tokens": 256, **limits})
    costs = PassCosts(COST, server, policy.cut)
    with Runner(decoder) as runner:
        return replay_on_device(requests or workload(), policy, costs, make_predictor("exact", costs), runner)


def ran(replay: Replay) -> list[Stretch]:
    """The stretches of execution."""
    assert replay.outcome.events is not None
    return stretches(replay.outcome.events[0])
