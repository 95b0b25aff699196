"""How evenly requests wait, by hand. A token takes a second."""

from __future__ import annotations

import numpy as np
import pytest

from flowsim.core.server import ServerOptions
from support.explained import explained


def test_fairness_by_hand() -> None:
    """Slowdowns: 1 and 11 / 3, 14 / 4, 8 / 2, 1."""
    slow = np.array([1, 11 / 3, 14 / 4, 4, 1])
    queue = ((0.0, 10, 100.0), (2.0, 3, 5.0), (3.0, 4, 9.0), (11.0, 2, 4.0), (30.0, 6, 5.0))
    fair = explained(queue, "edf:cut=none", clients=["b", "a", "b", "a", "b"]).fairness
    assert (fair.longest, fair.longest_s, fair.worst_class) == (2, pytest.approx(14), "text")
    assert fair.starved == 0
    assert fair.jain == pytest.approx(slow.sum() ** 2 / (5 * (slow**2).sum()))
    assert [*fair.clients] == ["a", "b"]
    assert fair.clients == pytest.approx({"a": slow[[1, 3]].mean(), "b": slow[[0, 2, 4]].mean()})


def test_who_waits_for_ten_slos_is_starved() -> None:
    """Request 1 waits for 9 s and takes 2, 2 waits for 11 s; 3 does not fit."""
    rows = [(0.0, 10, 100.0), (1.0, 2, 1.0), (1.0, 2, 2.0), (1.0, 30, 9.0)]
    why = explained(rows, "fcfs:batch_tokens=1", server=ServerOptions(block_tokens=1, kv_tokens=20))
    assert (why.fairness.starved, why.result.metrics.starved.tolist()) == (2, [False, True, False, True])
