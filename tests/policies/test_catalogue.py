"""What holds for every policy of the table."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowsim.policies.catalogue import TABLE
from support.timelines import ran, run

rows = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 12), st.integers(1, 40)), min_size=1, max_size=12)


@pytest.mark.parametrize("name", TABLE)
@settings(max_examples=50)  # for each of many policies
@given(rows=rows, clients=st.text("ab", min_size=12, max_size=12))
def test_each_request_is_served_or_rejected_and_no_time_is_lost(
    name: str, rows: list[tuple[int, int, int]], clients: str
) -> None:
    """Passes follow one another, one at a time; together they last as long as their prompts: a token takes a second."""
    rows = sorted(rows)
    outcome = run(name, *[(float(arrival), tokens, float(slo)) for arrival, tokens, slo in rows], clients=clients)
    rejected, stretches = outcome.ledger.rejected, ran(outcome)
    served = {i for *_, members, completed in stretches if completed for i in members}
    assert served == {i for i in range(len(rows)) if not rejected[i]}
    assert all(one[1] <= other[0] + 1e-9 for one, other in pairwise(stretches))  # slices of time are rounded
    assert sum(end - begin for begin, end, *_ in stretches) == pytest.approx(sum(rows[i][1] for i in served))
    assert all(begin >= rows[i][0] for begin, _, members, _ in stretches for i in members)
