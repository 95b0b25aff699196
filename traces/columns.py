"""What the columns of a trace may hold: one rule for files and for columns built in memory."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from flowsim.errors import InputError

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]

LARGEST = 2**40
"""Of a length in tokens and of a time in seconds: what is larger must be in other units."""
SECONDS = "a finite number of seconds from 0 to 2**40"
LENGTH = "a whole number of tokens from 1 to 2**40"
LENGTH_OR_0 = "a whole number of tokens from 0 (unknown) to 2**40"
SURROGATE = re.compile("[\ud800-\udfff]")
"""Half of a character, which JSON can write and no file can hold."""
CLASS = "a non-empty string of Unicode characters, or none at all"


MOST_REQUESTS = 10**8
"""That are made at once: the arrays of more would be larger than most memories."""


def generator(seed: int, *place: int) -> np.random.Generator:
    """Random numbers that follow from a seed and, where there are several sequences, from the place of this one.

    Raises InputError for a negative seed.
    """
    if seed < 0:
        raise InputError(f"seed is {seed}; allowed: a whole number from 0")
    return np.random.default_rng((seed, *place) if place else seed)


def bad_seconds(values: Floats) -> Bools:
    """Which of these are not `SECONDS`."""
    good: Bools = (values >= 0) & (values <= LARGEST)
    return ~good


def bad_lengths_or_0(values: Floats) -> Bools:
    """Which of these are not `LENGTH_OR_0`."""
    whole: Bools = np.floor(values) == values
    bad: Bools = bad_seconds(values) | ~whole
    return bad


def bad_lengths(values: Floats) -> Bools:
    """Which of these are not `LENGTH`."""
    bad: Bools = bad_lengths_or_0(values) | (values == 0)
    return bad


def encode(classes: Iterable[object], codes: dict[str, int]) -> Ints:
    """Class names as numbers, None as -1. A name not yet in `codes` enters it with the next number.

    Raises InputError for a class that is neither None nor a non-empty string.
    """
    column = []
    for row, name in enumerate(classes):
        if name is None:
            column.append(-1)
        elif isinstance(name, str) and name and not SURROGATE.search(name):
            column.append(codes.setdefault(name, len(codes)))
        else:
            raise InputError(f"classes[{row}] is {name!r}; allowed: {CLASS}")
    return np.array(column, dtype=np.int64)
