"""What a prefix cache keeps: the option's text and its meaning."""

from __future__ import annotations

import math

from msgspec import Struct

from flowsim.errors import InputError, unknown

CACHES = "none, ideal or lru:BLOCKS with BLOCKS >= 1"


class Retention(Struct, frozen=True):
    """What an instance keeps of prefix blocks that no request of its holds any more.

    Attributes:
        blocks: the most that it keeps; then the least recently used leaves.
        in_memory: whether they live in the KV memory that requests do not hold, and leave when requests need it.
    """

    blocks: float
    in_memory: bool

    @classmethod
    def parse(cls, text: str) -> Retention | None:
        """What "ideal" (everything, outside the KV memory) or "lru:BLOCKS" mean; None for "none".

        Raises:
            InputError: any other text.
        """
        if text in ("none", "ideal"):
            return None if text == "none" else cls(math.inf, in_memory=False)
        name, _, number = text.partition(":")
        if name == "lru" and number.isdecimal() and int(number):
            return cls(int(number), in_memory=True)
        error = unknown("prefix cache", text, ("none", "ideal", "lru:BLOCKS"), where="prefix_cache")
        raise error if error.near and name != "lru" else InputError("prefix_cache", found=text, expected=CACHES)


class Prefixes(Struct, frozen=True):
    """A prefix cache.

    Attributes:
        retention: what it keeps.
        block_tokens: tokens of a prefix block.
    """

    retention: Retention
    block_tokens: int
