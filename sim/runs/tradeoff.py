"""The trade-off of chunked prefill, and its absence with finer cuts: a long prompt's time, a short one's blocking.

Small chunks let a short prompt in soon, but each chunk reads its whole context and all weights again, so the long
prompt takes longer. Cuts inside a forward let the short prompt in sooner and cost the long one only the checks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.pass_costs import PassCosts
from flowsim.core.operators import Cut, check_cut
from flowsim.core.server import ServerOptions
from flowsim.core.slo_mix import SLOMix
from flowsim.errors import InputError
from flowsim.policies.flowprefill import FlowPrefill
from flowsim.results.quantiles import quantiles
from flowsim.runs.run import run
from flowsim.traces.trace import Trace

CHUNKS = (256, 512, 1024, 2048, 4096, 8192)
CUTS: tuple[Cut, ...] = ("layer", "block", "operator")
SHORT_TOKENS = 128
MOST_TOKENS = 2**20
"""The longest prompt, tokens: longer than the context of any model that has a table."""
MOST_CHUNKS = 2**14
"""The most chunks that a prompt may be cut into: each is a pass of its own in every sample."""
SLO = SLOMix("a short prompt in a hurry", {"long": 3600.0, "short": 60.0})


def tradeoff(
    cost: CostModel,
    tokens: int = 16384,
    chunks: Sequence[int] = CHUNKS,
    cuts: Sequence[Cut] = CUTS,
    *,
    samples: int = 200,
) -> list[dict[str, Any]]:
    """One row per chunk size (preemption between chunks) and per finer cut in a pass that is not chunked.

    Args:
        cost: the cost of passes.
        tokens: length of the long prompt; the short one has SHORT_TOKENS.
        chunks: chunk sizes, tokens.
        cuts: cut levels within a forward.
        samples: how many moments, evenly spread over the long prompt's execution, a short prompt arrives at.

    Returns:
        Rows with the keys preemption, solo_s (the long prompt alone), solo_more (how much longer that is than the whole
        prompt in one pass without checks, as a share of it) and mean_s, p99_s, max_s of the blocking time: from the
        signal until the long prompt has stopped.

    Raises:
        InputError: tokens not from 1 to 2^20, a chunk < 1 or so small that there are more than 2^14 of them, an
            unknown cut, or no sample.
    """
    if not isinstance(cost, CostModel):
        raise InputError("cost", found=cost, expected="a cost model, as flowsim.load_cost gives it")
    for name, values in (("chunks", chunks), ("cuts", cuts)):
        if not isinstance(values, Sequence) or isinstance(values, str | bytes):
            raise InputError(name, found=values, expected="a list")
    _check(tokens, chunks, cuts, samples)
    whole_s = cost.forward_s(tokens)
    ways = [(f"every {chunk} tokens", FlowPrefill(cut="chunk"), chunk) for chunk in chunks]
    ways += [(f"every {cut}", FlowPrefill(cut=cut), tokens) for cut in cuts]
    rows = []
    for name, policy, max_batched_tokens in ways:
        server = ServerOptions(instances=samples, max_batched_tokens=max_batched_tokens)
        costs = PassCosts(cost, server, policy.cut)
        solo_s = costs.solo_s(tokens)
        blocking = quantiles(_blocking_s(costs, policy, tokens, solo_s, samples), (99,))
        rows.append(
            {"preemption": name, "solo_s": solo_s, "solo_more": solo_s / whole_s - 1}
            | {f"{key}_s": blocking[key] for key in ("mean", "p99", "max")}
        )
    return rows


def is_extrapolated(cost: CostModel, tokens: int) -> bool:
    """Whether a prompt of this many tokens, whole or in CHUNKS, exceeds the sizes that were measured."""
    if cost.provenance is None:
        return False
    measured = cost.provenance.measured
    prompt, cached = np.array([tokens]), np.array([0])
    return any(measured.beyond(prompt, cached, forward).any() for forward in (*CHUNKS, tokens))


def _check(tokens: object, chunks: Sequence[object], cuts: Sequence[str], samples: object) -> None:
    most = f"a whole number from 1 to {MOST_TOKENS} (2^20)"
    tokens = _whole("tokens", tokens, 1, MOST_TOKENS, most)
    fewest = -(-tokens // MOST_CHUNKS)
    for chunk in chunks:
        _whole("chunks", chunk, fewest, None, f"whole numbers >= {fewest}")
    for cut in cuts:
        check_cut(cut)
    _whole("samples", samples, 1, None, "a whole number >= 1")


def _whole(name: str, value: object, least: int, most: int | None, expected: str) -> int:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least or value > (most or value):
        raise InputError(name, found=value, expected=expected)
    return int(value)


def _blocking_s(costs: PassCosts, policy: FlowPrefill, tokens: int, solo_s: float, samples: int) -> np.ndarray:
    """Blocking times, shape [samples]: each instance has a long prompt, and a short one at a moment of its own."""
    moments = (np.arange(samples) + 0.5) / samples * solo_s
    trace = Trace.of(
        np.concatenate([np.zeros(samples), moments]),
        [tokens] * samples + [SHORT_TOKENS] * samples,
        classes=["long"] * samples + ["short"] * samples,
    )
    result = run(trace, policy, cost=costs.model, slo=SLO, server=costs.server, predictor="exact", bound=False)
    return result.blocking_s
