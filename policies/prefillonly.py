"""PrefillOnly's order: the fewest uncached tokens, less what a request has earned by waiting."""

from __future__ import annotations

from dataclasses import dataclass

from flowsim.policies.parts.composed import Composed


@dataclass(frozen=True, kw_only=True)
class PrefillOnly(Composed):
    """The fewest uncached tokens, less 500 for each second of waiting, go first; one prompt a pass, never cut.

    Key: n - 500 (t - a), smallest first: n the tokens left after those cached now, t the time, a the arrival, seconds.
    The time is the same for all that are compared, so n + 500 a ranks them alike. Source: PrefillOnly (arXiv
    2505.07203), section 6 of the paper's text. As there, what is cached counts as of now, not as of the arrival, and
    tokens stand for the time that a prompt takes; `srpt` takes the prediction itself.
    """

    order: str = "prefillonly"
