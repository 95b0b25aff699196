"""What the prefix cache keeps, as text."""

from __future__ import annotations

import pytest

from flowsim.core.prefix_cache import Retention
from flowsim.errors import InputError


@pytest.mark.parametrize("text", ["lru", "lru:0", "lru:x", "ideel", "none:3"])
def test_bad_caches(text: str) -> None:
    expected = (
        rf"prefix_cache(: unknown prefix cache| must be none, ideal or lru:BLOCKS with BLOCKS >= 1, got) '{text}'"
    )
    with pytest.raises(InputError, match=expected):
        Retention.parse(text)
