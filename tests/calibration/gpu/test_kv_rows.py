"""Rows of the KV cache are taken and given back in stretches."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsim.calibration.gpu.kv_rows import CacheRows
from flowsim.errors import InputError


def test_cache_rows_are_taken_where_they_fit_best_and_joined_when_given_back() -> None:
    rows = CacheRows(100)
    assert [rows.take(n) for n in (40, 30, 30)] == [0, 40, 70]
    assert rows.longest == 0
    with pytest.raises(InputError, match=r"KV cache: no 1 contiguous rows are free; expected <= view.free_tokens"):
        rows.take(1)
    rows.give(0, 40)
    rows.give(70, 30)
    assert rows.longest == 40
    assert rows.take(30) == 70
    rows.give(40, 30)
    assert rows.take(70) == 0


@given(st.integers(1, 60), st.lists(st.tuples(st.booleans(), st.lists(st.integers(1, 20), max_size=4)), max_size=60))
def test_no_batch_that_the_longest_stretch_holds_is_without_rows(total: int, steps: list[Any]) -> None:
    rows, held = CacheRows(total), dict[int, int]()
    for give, batch in steps:
        if give and held:
            start = sorted(held)[sum(batch) % len(held)]
            rows.give(start, held.pop(start))
        elif sum(batch) <= rows.longest:
            for wanted in batch:
                held[rows.take(wanted)] = wanted
        taken = sorted(held.items())
        assert all(a + n <= b for (a, n), (b, _) in pairwise([*taken, (total, 0)]))
        ends = [0, *(start + n for start, n in taken)]
        gaps = [start - end for end, start in zip(ends, [*(start for start, _ in taken), total], strict=True)]
        assert rows.longest == max(gaps)
    for start, n in held.items():
        rows.give(start, n)
    assert rows.longest == total
