"""What each request needs at least, whatever the scheduler does: seconds of the device, and seconds to its first token.

Every pass takes at least its device time. Its linear operators cost at least the least that they cost per token in a
pass of any size, its attention at least the least that attention costs per pair of query and key at any size, and
cached tokens are not computed. Where recorded forwards cost less than that, both rates are lower by what the cheapest
of them saves. Launches, checks, decisions and hand-overs come on top, so they are left out.

A GPU that has rested runs faster (`flowsim.calibration.costs.power`), by a factor 1 + G(u) that falls with its use u.
Let V(u) be the seconds of work that it can still gain before it is as busy as it can be, V'(u) = -window G(u) / (1 - u)
and V(1) = 0. While it works V falls by what it gains, and while it idles V grows by less than the time it idles. So in
any interval it does at most V(0) seconds more work than the interval is long:

    V(0) = window * gain * (log(1 / (1 - threshold)) + 1)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from flowsim.calibration.costs.cost_model import CostModel, free
from flowsim.calibration.costs.pass_costs import PassCosts
from flowsim.core.operators import LAYER_OPERATORS
from flowsim.core.pass_timeline import GRAPH_STEP, Slice, graph_size
from flowsim.core.prefix_cache import Prefixes
from flowsim.core.request import Request
from flowsim.core.server import ServerOptions

Floats = NDArray[np.float64]

ATTENTION_STEP = 128
"""Query tokens from one size of attention that is looked at to the next: a tile of the kernel."""


@dataclass(frozen=True, eq=False)
class Demand:
    """What requests need at least; each array has shape [n], seconds.

    Attributes:
        work_s: sustained device seconds of each, in whatever passes it runs.
        ttft_s: from its first launch to its first token, on a rested GPU.
        gained_s: by how much the work that a GPU does in an interval can exceed the interval.
    """

    work_s: Floats
    ttft_s: Floats
    gained_s: float


def demand(
    requests: Sequence[Request], costs: CostModel, server: ServerOptions, prefixes: Prefixes | None = None
) -> Demand:
    """What these requests, in order of arrival, need at least from a server with these costs.

    Of a prompt's prefix blocks those may be cached that another request has which arrives before this one is due.
    """
    least, sizes = Least(costs, server), _sizes(requests, prefixes)
    known = {size: (least.work_s(*size), least.ttft_s(*size)) for size in sorted(set(sizes))}
    work_s, ttft_s = np.array([known[size] for size in sizes], float).reshape(-1, 2).T
    return Demand(work_s, ttft_s, least.gained_s)


def alone_s(
    requests: Sequence[Request], costs: CostModel, server: ServerOptions, prefixes: Prefixes | None = None
) -> Floats:
    """Seconds to the first token of each, shape [n]: alone on a rested GPU, in forwards of the server's size."""
    least, sizes = Least(costs, server), _sizes(requests, prefixes)
    known = {size: least.alone_s(*size) for size in sorted(set(sizes))}
    return np.array([known[size] for size in sizes], float)


def _sizes(requests: Sequence[Request], prefixes: Prefixes | None) -> list[tuple[int, int]]:
    """Tokens to compute and tokens cached of each request, with as many cached as there can be."""
    cached = np.zeros(len(requests), np.int64) if prefixes is None else _cached(requests, prefixes.block_tokens)
    return [(request.input_length - hit, hit) for request, hit in zip(requests, cached.tolist(), strict=True)]


class Least:
    """The least that prompts cost.

    Args:
        costs: what passes cost.
        server: the limits of a forward.

    Attributes:
        gained_s: see `Demand`; infinite if a rested GPU is so fast that the argument does not hold.
    """

    def __init__(self, costs: CostModel, server: ServerOptions) -> None:
        self._unchecked = PassCosts(costs, server, "none")
        self._token_s, self._pair_s = _least_rates(costs, server.max_batched_tokens, server.graph_tokens)
        self._gain, self.gained_s = _gains(costs, server.max_batched_tokens)
        self._forward_s = _shortest_forward_s(costs, server.max_batched_tokens, server.graph_tokens)

    def work_s(self, tokens: int, context: int) -> float:
        """Sustained device seconds of `tokens` tokens on top of `context` cached ones."""
        least_s = self._device_s(tokens, context)
        return least_s if math.isfinite(self.gained_s) else least_s / (1 + self._gain)

    def ttft_s(self, tokens: int, context: int) -> float:
        """Seconds from launch to first token on a rested GPU, in whatever forwards: its work, and at least one forward.

        It falls with the tokens that are cached.
        """
        return self._rested_s(max(self._device_s(tokens, context), self._forward_s))

    def alone_s(self, tokens: int, context: int) -> float:
        """Seconds from launch to first token, alone on a rested GPU, in forwards of the server's size."""
        return self._rested_s(self._unchecked.solo_s(tokens, context))

    def _rested_s(self, busy_s: float) -> float:
        """The least that a rested GPU takes for what takes a busy one `busy_s`."""
        return max(busy_s / (1 + self._gain), busy_s - self.gained_s)

    def _device_s(self, tokens: int, context: int) -> float:
        return tokens * self._token_s + _pairs(tokens, context) * self._pair_s


@lru_cache(16)
def _least_rates(costs: CostModel, max_batched_tokens: int, graph_tokens: int) -> tuple[float, float]:
    """Device seconds of all layers: per token of the linear operators, and per pair of query and key of attention."""
    sizes = np.arange(1, max_batched_tokens + 1)
    linear = [costs.device[name] for name in LAYER_OPERATORS if name in costs.device and name != "attention"]
    embed = costs.device.get("embed", free)
    token_s = min(
        (embed(size) + costs.layers * math.fsum(operator(size) for operator in linear)) / size
        for size in sizes.tolist()
    )
    queries = {min(size, max_batched_tokens) for size in (1, 16, 64)}
    queries |= {max_batched_tokens, *range(ATTENTION_STEP, max_batched_tokens, ATTENTION_STEP)}
    contexts = {0, *(1 << power for power in range(6, 18))}
    contexts |= set() if math.isinf(costs.max_context) else {int(costs.max_context)}
    pair_s = costs.layers * min(
        costs.attention(tokens, context) / _pairs(tokens, context) for tokens in queries for context in contexts
    )
    recorded = range(GRAPH_STEP, graph_size(min(graph_tokens, max_batched_tokens)) + 1, GRAPH_STEP)
    ratios = [
        _recorded_s(costs, size) / (size * token_s + _pairs(size, 0) * pair_s) for size in recorded if costs.graph
    ]
    share = min([1.0, *ratios])
    return share * token_s, share * pair_s


def _recorded_s(costs: CostModel, size: int) -> float:
    """Device seconds of a recorded forward."""
    assert costs.graph is not None
    return costs.layers * costs.graph.layer(size) + costs.device.get("embed", free)(size)


@lru_cache(16)
def _shortest_forward_s(costs: CostModel, max_batched_tokens: int, graph_tokens: int) -> float:
    """Seconds of the shortest forward, which waits for the host."""
    sizes = [size for size in (1 << power for power in range(14)) if size <= max_batched_tokens]
    ways = [(size, recorded) for size in sizes for recorded in {False, size <= graph_tokens}]
    return min(costs.forward((Slice(size, 0),), "none", recorded=recorded).duration_s for size, recorded in ways)


def _pairs(tokens: int, context: int) -> float:
    """Pairs of a query and a key that it attends to."""
    return tokens * (context + (tokens + 1) / 2)


@lru_cache(16)
def _gains(costs: CostModel, max_batched_tokens: int) -> tuple[float, float]:
    """The largest gain of a rested GPU, and the work that it can gain in any interval, seconds."""
    boost = costs.boost
    if boost is None:
        return 0.0, 0.0
    sizes = range(1, max_batched_tokens + 1)
    gain = max(max(boost.gain(size) for size in sizes), 0.0)
    if boost.recorded_gain is not None:
        gain = max(gain, max(boost.recorded_gain(size) for size in sizes))
    slowly = gain <= 1 - boost.threshold and gain * boost.threshold <= 1 - boost.threshold
    gained_s = boost.window_s * gain * (math.log(1 / (1 - boost.threshold)) + 1)
    return gain, gained_s if slowly else math.inf


def _cached(requests: Sequence[Request], block_tokens: int) -> NDArray[np.int64]:
    """The most tokens of each request that another one can have computed before it is due, shape [n]."""
    first: dict[int, tuple[int, float]] = {}
    second: dict[int, float] = {}
    for request in sorted(requests, key=lambda request: request.arrival_s):
        for block in set(request.blocks):
            if block not in first:
                first[block] = request.id, request.arrival_s
            else:
                second.setdefault(block, request.arrival_s)
    return np.array([block_tokens * _run(request, block_tokens, first, second) for request in requests], np.int64)


def _run(request: Request, block_tokens: int, first: dict[int, tuple[int, float]], second: dict[int, float]) -> int:
    most = min(len(request.blocks), (request.input_length - 1) // block_tokens)
    for place, block in enumerate(request.blocks[:most]):
        id, arrival_s = first[block]
        if (second.get(block, math.inf) if id == request.id else arrival_s) >= request.deadline_s:
            return place
    return most
