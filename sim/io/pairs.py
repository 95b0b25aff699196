"""Text such as "text=.7,search=.3": numbers by name."""

from __future__ import annotations

import math

from flowsim.errors import InputError


def numbers_by_name(text: str, where: str, expected: str) -> dict[str, float]:
    """The number of each name, in the order of the text.

    Args:
        text: NAME=NUMBER pairs with commas between; a name may hold "=" itself, as "<=1k" does.
        where: the option that the text is of, for errors.
        expected: what it should be: "CLASS=SECONDS pairs".

    Raises:
        InputError: a pair that is malformed, or a name that is given twice.
    """
    numbers: dict[str, float] = {}
    for pair in text.split(","):
        name, _, value = (part.strip() for part in pair.rpartition("="))
        number = _number(value)
        if math.isnan(number):
            raise InputError(where, found=pair.strip(), expected=expected)
        if not name or name in numbers:
            raise InputError(where, f"class {name!r} is {'repeated' if name else 'empty'}", expected=expected)
        numbers[name] = number
    return numbers


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
