"""Predictors: what a policy believes a prompt takes, which need not be what the engine makes it take."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from flowsim.calibration.costs.pass_costs import PassCosts
from flowsim.core.passes import Execution
from flowsim.core.predictor import Predictor
from flowsim.errors import InputError, unknown

Solo = Callable[[int, int], float]
"""Seconds of (tokens, context): what a prompt of `tokens` takes alone on top of `context`."""

CHUNK_TOKENS, CHUNK_PENALTY_S, LONGEST_FITTED = 8192, 0.010, 20480
"""The released code's prediction above 20480 tokens: whole chunks of 8192, 10 ms more for each, and the rest; far too
low, as it leaves out the attention of each chunk to those before it."""
FITTED_AT = (16, 32, 64, 128, 256, *range(512, LONGEST_FITTED + 1, 512))
"""Tokens of the prompts to which the cubic polynomial is fitted."""
OUTLIER, COEFFICIENTS = 0.4, 4
"""Points further from the first fit than this share of the largest residual are left out of the second; a cubic has
four coefficients."""


class SoloPredictor:
    """Predicts from what a prompt takes alone.

    Args:
        name: as `make_predictor` takes it.
        solo: seconds of (tokens, context); asked once for each pair.
        left: if given, seconds left of an execution that has got so far; else prediction of the tokens left less the
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
        """Seconds left of an execution after `elapsed_s`: `tokens` to go, `since_s` since the last forward ended.

        At least 0: one that takes longer than predicted is about to end.
        """
        if self._left is not None:
            return self._left(execution, elapsed_s)
        return max(self.predict(tokens) - since_s, 0.0)


def exact(solo: Solo) -> SoloPredictor:
    """What the engine will take for a prompt alone, and for the rest of an execution, on a GPU kept busy."""
    return SoloPredictor("exact", solo, lambda execution, elapsed_s: execution.timeline.duration_s - elapsed_s)


def cubic(solo: Solo) -> SoloPredictor:
    """The paper's: a cubic polynomial fitted to solo TTFT at 16 ... 256 and 512, 1024, ... 20480 tokens.

    Points with residual / largest residual > 0.4 are dropped and the rest is fitted again, once. Source: the released
    FlowPrefill code (commit 1ca0fec), `profiler/profiling_online.py`. Where fewer than four points would be left, which
    determine no cubic, the first fit stands.
    """
    coefficients = _coefficients(tuple([solo(size, 0) for size in FITTED_AT]))

    def polynomial(tokens: int) -> float:
        return float(sum(c * tokens**power for power, c in enumerate(coefficients)))

    def predicted(tokens: int, context: int) -> float:
        if tokens <= LONGEST_FITTED:
            return polynomial(tokens)
        chunks, rest = divmod(tokens, CHUNK_TOKENS)
        return chunks * (polynomial(CHUNK_TOKENS) + CHUNK_PENALTY_S) + (polynomial(rest) if rest else 0.0)

    return SoloPredictor("cubic", predicted)


@lru_cache(maxsize=64)
def _coefficients(seconds: tuple[float, ...]) -> list[float]:
    """Of the polynomial that `cubic` fits to these times of prompts of `FITTED_AT` tokens; a study asks in each run."""
    x, y = np.array(FITTED_AT), np.array(seconds)
    fitted = np.polynomial.Polynomial.fit(x, y, 3)
    residuals = np.abs(y - fitted(x))
    keep = residuals / (residuals.max() + 1e-12) <= OUTLIER
    if np.count_nonzero(keep) >= COEFFICIENTS:
        fitted = np.polynomial.Polynomial.fit(x[keep], y[keep], 3)
    coefficients: list[float] = fitted.convert().coef.tolist()
    return coefficients


def mistaken(name: str, base: Predictor, factor: Callable[[int], float]) -> SoloPredictor:
    """What `base` predicts, times `factor(tokens)`."""
    return SoloPredictor(
        name,
        lambda tokens, context: factor(tokens) * base.predict(tokens, context),
        lambda execution, elapsed_s: factor(execution.batch_tokens) * base.left(execution, elapsed_s, 0, 0.0),
    )


def noise(sigma: float, seed: int) -> Callable[[int], float]:
    """A lognormal factor of median 1 with this sigma, drawn once for each prompt length."""
    return lambda tokens: math.exp(sigma * float(np.random.default_rng((seed, tokens)).standard_normal()))


PREDICTORS = ("exact", "cubic", "biased:FACTOR", "noisy:SIGMA")


def make_predictor(spec: str, costs: PassCosts, seed: int = 0) -> SoloPredictor:
    """The predictor that `spec` names: exact, cubic (the paper's), biased:FACTOR or noisy:SIGMA.

    The last two are exact but for a factor: a constant one, or a lognormal one drawn for each prompt length.

    Args:
        spec: its name, and its number if it takes one.
        costs: what prompts take.
        seed: of noisy:SIGMA.

    Raises:
        InputError: an unknown name, or a number out of range.
    """
    name, number = parse_predictor(spec)
    if name in ("exact", "cubic"):
        return (exact if name == "exact" else cubic)(costs.solo_s)
    factor = noise(number, seed) if name == "noisy" else lambda tokens: number
    return mistaken(spec, exact(costs.solo_s), factor)


def parse_predictor(spec: str) -> tuple[str, float]:
    """The name of a predictor and its number, 1 if it takes none. InputError as `make_predictor` says."""
    name, _, text = spec.partition(":")
    if name not in {known.partition(":")[0] for known in PREDICTORS}:
        raise unknown("predictor", spec, PREDICTORS, where="predictor")
    if name in ("exact", "cubic"):
        if text:
            raise InputError("predictor", found=spec, expected=f"{name!r}, which takes no number")
        return name, 1.0
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    least, most = (0.0, 10.0) if name == "noisy" else (1e-3, 1e3)
    if not least <= number <= most:
        expected = f"{name}:NUMBER with a number from {least:g} to {most:g}"
        raise InputError("predictor", found=spec, expected=expected)
    return name, number
