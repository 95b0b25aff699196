"""The trade-off of chunks and cuts: what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

import flowsim
from flowsim.errors import InputError
from support.costs import pencil


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunks": [0]}, "chunks must be whole numbers >= 1, got 0"),
        ({"chunks": [256, -5]}, "chunks must be whole numbers >= 1, got -5"),
        ({"chunks": ["many"]}, "chunks must be whole numbers >= 1, got 'many'"),
        ({"tokens": 2**20, "chunks": [1]}, "chunks must be whole numbers >= 64, got 1"),
        ({"tokens": 10**11}, r"tokens must be a whole number from 1 to 1048576 \(2\^20\), got 100000000000"),
        ({"tokens": 1.5}, r"tokens must be a whole number from 1 to 1048576 \(2\^20\), got 1.5"),
        ({"cuts": ["x"]}, "unknown cut 'x'"),
        ({"chunks": 512}, "chunks must be a list, got 512"),
        ({"chunks": "512"}, "chunks must be a list, got '512'"),
        ({"cuts": 1.5}, "cuts must be a list, got 1.5"),
        ({"cuts": "operator"}, "cuts must be a list, got 'operator'"),
        ({"cuts": None}, "cuts must be a list, got nothing"),
        ({"samples": 0}, "samples must be a whole number >= 1, got 0"),
    ],
)
def test_sizes_that_no_prompt_has_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}"):
        flowsim.tradeoff(pencil(), **options)


@pytest.mark.parametrize("cost", [3, None, "h200", {}])
def test_costs_that_are_none_are_refused(cost: Any) -> None:
    with pytest.raises(InputError, match=r"^cost must be a cost model, as flowsim\.load_cost gives it, got "):
        flowsim.tradeoff(cost)
