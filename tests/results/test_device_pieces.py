"""The time of a device in pieces."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flowsim.core.events import Arrived, Completed, Launched, Resumed, Signalled, Stopped, Thought
from flowsim.core.server import ServerOptions
from flowsim.results.device_pieces import HOST, IDLE, PASS, Piece, device_pieces
from support.costs import random_cost
from support.explained import Row, drawn_rows, explained, specs


def test_a_device_in_pieces() -> None:
    """Decides until 1, begins at 2; told to stop at 4, stops at 5, as known at 6; goes on from 7 to 8."""
    kept = [
        Arrived(0.5, 0),
        Thought(0.5, 0.5),
        Launched(1.0, 0, (0,), (4,)),
        Signalled(4.0, 0),
        Stopped(6.0, 0, (0,), 2.0, 5.0),
        Resumed(6.5, 0),
        Completed(8.0, 0, (0,), (0,), 7.0, 8.0, 4.0, 0.0, None),
    ]
    found = [piece[:4] + piece[5:6] for piece in device_pieces(kept, 9.0)]
    assert found == [
        (0.0, 0.5, IDLE, (), False),
        (0.5, 1.0, HOST, (), False),
        (1.0, 2.0, HOST, (), False),
        (2.0, 4.0, PASS, (0,), False),
        (4.0, 5.0, PASS, (0,), True),
        (5.0, 6.0, HOST, (), False),
        (6.0, 6.5, IDLE, (), False),
        (6.5, 7.0, HOST, (), False),
        (7.0, 8.0, PASS, (0,), False),
        (8.0, 9.0, IDLE, (), False),
    ]
    assert [piece.ordered_s for piece in device_pieces(kept, 9.0) if piece.kind == PASS] == [1.0, 1.0, 6.5]


@settings(max_examples=40, deadline=None)
@given(specs, drawn_rows, st.integers(0, 2**32))
def test_pieces_leave_no_gap(spec: str, drawn: list[Row], seed: int) -> None:
    arrivals = np.cumsum([row[0] for row in drawn]).tolist()
    rows = [(at, tokens, 0.1) for at, (_, tokens, _) in zip(arrivals, drawn, strict=True)]
    server = ServerOptions(block_tokens=1, max_batched_tokens=32, kv_tokens=1000)
    result = explained(rows, spec, cost=random_cost(np.random.default_rng(seed)), server=server).result
    did: list[Piece] = list(device_pieces(result.events[0], result.outcome.stopped_s))
    assert all(one.ended_s == next.began_s for one, next in pairwise(did))
    assert all(piece.ended_s > piece.began_s for piece in did)
    assert (did[0].began_s, did[-1].ended_s) == (0.0, result.outcome.stopped_s)
