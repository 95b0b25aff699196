"""Random numbers from a seed: the same seed gives the same numbers."""

from __future__ import annotations

import numpy as np

from flowsim.errors import InputError

MOST_REQUESTS = 10**8
"""Most requests that are drawn at once: the arrays of more would exceed most memories."""


def generator(seed: int, *stream: int) -> np.random.Generator:
    """A generator that depends only on the seed and, where one seed feeds several streams, on the stream's number.

    Raises:
        InputError: the seed is negative.
    """
    if seed < 0:
        raise InputError("seed", found=seed, expected=">= 0")
    return np.random.default_rng((seed, *stream) if stream else seed)
