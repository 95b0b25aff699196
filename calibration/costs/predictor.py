"""Predictors: what a policy believes a prompt takes, which need not be what the engine makes it take."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.core.passes import Execution
from flowsim.errors import InputError, unknown

Solo = Callable[[int, int], float]

CHUNK_TOKENS, CHUNK_PENALTY_S, LONGEST_FITTED = 8192, 0.010, 20480
"""The released code's prediction above 20480 tokens: whole chunks of 8192, 10 ms each besides, and the rest."""


class Predictor:
    """Predicted seconds of a prompt alone.

    Args:
        name: as `make_predictor` takes it.
        solo: seconds of (tokens, context); asked once for each pair.
        left: if given, seconds left of an execution that ran so far; else prediction of the tokens left less the
            time since the last completed forward (released FlowPrefill code), which ignores the context computed
            before and takes a batch for one sequence.
    """

    def __init__(self, name: str, solo: Solo, left: Callable[[Execution, float], float] | None = None) -> None:
        self.name = name
        self._solo = solo
        self._left = left
        self._known: dict[tuple[int, int], float] = {}

    def predict(self, tokens: int, context: int = 0) -> float:
        """Seconds that `tokens` take alone on top of `context`."""
        known = self._known.get((tokens, context))
        if known is None:
            known = self._known[tokens, context] = self._solo(tokens, context)
        return known

    def left(self, execution: Execution, elapsed_s: float, tokens: int, since_s: float) -> float:
        """Seconds left of an execution after `elapsed_s`: `tokens` to go, `since_s` since the last forward ended."""
        if self._left is not None:
            return self._left(execution, elapsed_s)
        return self.predict(tokens) - since_s


def exact(cost: CostModel, cut: str, chunk_tokens: int) -> Predictor:
    """What the engine will really take for a prompt alone, and for the rest of an execution, on a GPU kept busy."""
    return Predictor(
        "exact",
        lambda tokens, context: cost.solo_s(tokens, context, cut, chunk_tokens),
        lambda execution, elapsed_s: execution.timeline.duration_s - elapsed_s,
    )


def cubic(cost: CostModel, cut: str, chunk_tokens: int) -> Predictor:
    """The paper's: a cubic polynomial fitted to solo TTFT at 16 ... 256 and 512, 1024, ... 20480 tokens.

    Points off by more than three times the median residual are left out of a second fit (the released code refits
    without outliers; its threshold is not stated, this one is ours).
    """
    sizes = np.array([16, 32, 64, 128, 256, *range(512, LONGEST_FITTED + 1, 512)])
    solo = np.array([cost.solo_s(int(size), 0, cut, chunk_tokens) for size in sizes])
    fit = np.polynomial.Polynomial.fit(sizes, solo, 3)
    off = np.abs(fit(sizes) - solo)
    keep = off <= 3 * max(float(np.median(off)), 1e-12)
    coefficients = np.polynomial.Polynomial.fit(sizes[keep], solo[keep], 3).convert().coef.tolist()

    def polynomial(tokens: int) -> float:
        return float(sum(c * tokens**power for power, c in enumerate(coefficients)))

    def predicted(tokens: int, context: int) -> float:
        if tokens <= LONGEST_FITTED:
            return polynomial(tokens)
        chunks, rest = divmod(tokens, CHUNK_TOKENS)
        return chunks * (polynomial(CHUNK_TOKENS) + CHUNK_PENALTY_S) + (polynomial(rest) if rest else 0.0)

    return Predictor("cubic", predicted)


def mistaken(name: str, base: Predictor, factor: Callable[[int], float]) -> Predictor:
    """`base`, off by `factor(tokens)`."""
    return Predictor(
        name,
        lambda tokens, context: factor(tokens) * base.predict(tokens, context),
        lambda execution, elapsed_s: factor(execution.batch_tokens) * base.left(execution, elapsed_s, 0, 0.0),
    )


def noise(sigma: float, seed: int) -> Callable[[int], float]:
    """A lognormal factor of median 1 with this sigma, drawn once for each prompt length."""
    return lambda tokens: math.exp(sigma * float(np.random.default_rng((seed, tokens)).standard_normal()))


PREDICTORS = ("exact", "cubic", "biased:FACTOR", "noisy:SIGMA")


def make_predictor(spec: str, cost: CostModel, cut: str, chunk_tokens: int, seed: int = 0) -> Predictor:
    """The predictor that `spec` names: exact, cubic (the paper's), biased:FACTOR or noisy:SIGMA.

    The last two are exact but for a factor: a constant one, or a lognormal one drawn for each prompt length.

    It predicts passes checked at `cut`, in forwards of at most `chunk_tokens`.

    Raises:
        InputError: an unknown name, or a factor that is no positive number.
    """
    name, number = parse_predictor(spec)
    if name in ("exact", "cubic"):
        return (exact if name == "exact" else cubic)(cost, cut, chunk_tokens)
    factor = noise(number, seed) if name == "noisy" else lambda tokens: number
    return mistaken(spec, exact(cost, cut, chunk_tokens), factor)


def parse_predictor(spec: str) -> tuple[str, float]:
    """The name of a predictor and its number, 1 where it takes none. InputError as `make_predictor` says."""
    name, _, text = spec.partition(":")
    if name not in {known.partition(":")[0] for known in PREDICTORS}:
        raise unknown("predictor", spec, PREDICTORS)
    if name in ("exact", "cubic"):
        if text:
            raise InputError(f"predictor {spec!r}: {name} takes no number")
        return name, 1.0
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    least, most = (0.0, 10.0) if name == "noisy" else (1e-3, 1e3)
    if not least <= number <= most:
        raise InputError(f"predictor {spec!r}: allowed is {name}:NUMBER with a number from {least:g} to {most:g}")
    return name, number
