"""Shortest job first: the fewest tokens left, alone or weighed against the time that a request has waited."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from flowsim.policies.parts.composed import Composed


@dataclass(frozen=True)
class SJF(Composed):
    """The fewest tokens left first, batched up to a token cap; with a `cut`, shortest remaining job first."""

    batch_tokens: int = 8192
    _: KW_ONLY
    order: str = "sjf"
    batching: str = "fill"


@dataclass(frozen=True, kw_only=True)
class VLLMSJF(Composed):
    """The best score of a short prompt and a long wait goes first, batched up to the first that does not fit.

    Score: s((w - 5) / 5) / 2 + s((32768 - N) / 32768) / 2, largest first: w the seconds since the arrival, N the tokens
    of the whole prompt, cached or not, s(x) = 1 / (1 + e^-x). Either part is half of its most at 5 s and at 32768
    tokens; from some three minutes on, longer waits are worth no more. Source: vLLM, pull request 29366 (closed), and
    its code (policy/normalized_scorer.py). There prompts share a token budget, and the heap of waiting requests is not
    sorted anew as scores change; here a pass takes whole prompts in the order of their scores.
    """

    order: str = "vllm-sjf"
    batching: str = "order"


@dataclass(frozen=True, kw_only=True)
class PrefillOnly(Composed):
    """The fewest uncached tokens, less 500 for each second of waiting, go first; one prompt a pass, never cut.

    Key: n - 500 (t - a), smallest first: n the tokens left after those cached now, t the time, a the arrival, seconds.
    The time is the same for all that are compared, so n + 500 a ranks them alike. Source: PrefillOnly (arXiv
    2505.07203), section 6 of the paper's text. As there, what is cached counts as of now, not as of the arrival, and
    tokens stand for the time that a prompt takes; `srpt` takes the prediction itself.
    """

    order: str = "prefillonly"
