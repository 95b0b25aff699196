"""Numbers of things in words."""

from __future__ import annotations


def number_of(number: int, what: str, plural: str = "") -> str:
    """A number of things: "1 request", "1,200 requests", "2 queries"; the plural takes an s unless it is given."""
    return f"{number:,} {what if number == 1 else plural or f'{what}s'}"
