"""The jitter of a frontend: the random part of the time until the scheduler has a request."""

from __future__ import annotations

import math

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from flowsim.errors import InputError, unknown

PARAMETERS = {"none": (), "exponential": ("MEAN",), "lognormal": ("MEDIAN", "SIGMA")}
"""The parameters of each distribution: seconds, but for SIGMA, the standard deviation of the logarithm."""


class Jitter(Struct, frozen=True):
    """A distribution of times.

    Attributes:
        kind: one of PARAMETERS.
        parameters: their values, >= 0.
    """

    kind: str = "none"
    parameters: tuple[float, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Jitter:
        """A distribution from text such as "exponential:0.002". InputError: an unknown one, or wrong parameters."""
        kind, *rest = text.split(":")
        if kind not in PARAMETERS:
            raise unknown("jitter", kind, PARAMETERS, where="jitter")
        try:
            values = tuple(float(value) for value in rest)
        except ValueError:
            values = ()
        if len(values) != len(PARAMETERS[kind]) or not all(0 <= value < math.inf for value in values):
            expected = ":".join((kind, *PARAMETERS[kind]))
            raise InputError(
                "jitter", found=text, expected=f"{expected}, numbers >= 0" if PARAMETERS[kind] else expected
            )
        return cls(kind, values)

    def draw(self, n: int, random: np.random.Generator) -> NDArray[np.float64]:
        """Independent times of n requests, seconds, shape [n]."""
        if self.kind == "exponential":
            return random.exponential(self.parameters[0], n)
        if self.kind == "lognormal":
            median_s, sigma = self.parameters
            return median_s * np.exp(sigma * random.standard_normal(n))
        return np.zeros(n)
