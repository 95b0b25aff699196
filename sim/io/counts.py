"""Numbers of things and shares in words."""

from __future__ import annotations

import math


def number_of(number: int, what: str, plural: str = "") -> str:
    """A number of things: "1 request", "1,200 requests", "2 queries"; the plural takes an s unless it is given."""
    return f"{number:,} {what if number == 1 else plural or f'{what}s'}"


def percent(share: float | None, digits: int = 1, sign: str = "") -> str:
    """A share as text: "93.4 %", with a plus if `sign` is "+"; "-" if it is not known."""
    return "-" if share is None or math.isnan(share) else f"{100 * share:{sign}.{digits}f} %"
