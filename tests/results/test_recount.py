"""What is counted again from a table of requests is what a summary says."""

from __future__ import annotations

import numpy as np
import pytest

from flowsim.results.recount import COLUMNS, recount
from support.results import six


def test_six_requests_are_counted_by_hand() -> None:
    """Met, missed, met on the dot; rejected, unfinished; without SLO. One request a second, 5 of 6 with an SLO."""
    found = recount(six().requests[list(COLUMNS)], ["ghost"])
    assert [found[name] for name in ("requests", "counted", "finished", "rejected", "unfinished")] == [6, 5, 4, 1, 1]
    assert [found[name] for name in ("attainment", "offered_rps", "goodput_rps")] == pytest.approx([0.4, 1, 1 / 3])
    assert found["ttft_s"] == {"mean": None, "p50": 4.0, "p90": None, "p99": None, "max": None}
    assert found["service_s"] == pytest.approx({"mean": 1.5, "p50": 1.0, "p90": 2.6, "p99": 2.96, "max": 3.0})
    ghost, text = found["classes"]["ghost"], found["classes"]["text"]
    assert (ghost["requests"], ghost["attainment"], ghost["goodput_rps"], ghost["offered_rps"]) == (0, None, None, 0)
    assert (text["requests"], text["counted"], text["attainment"]) == (3, 3, 1 / 3)
    assert text["goodput_rps"] == pytest.approx(1 / 6)
    assert list(found["classes"]) == ["ghost", "file", "other", "text"]


def test_requests_of_one_instant_offer_no_rate() -> None:
    table = six().requests[list(COLUMNS)].assign(arrival_s=np.zeros(6))
    assert [recount(table, ())[name] for name in ("offered_rps", "goodput_rps")] == [None, None]


def test_an_empty_table_counts_nothing() -> None:
    found = recount(six().requests[list(COLUMNS)][:0], ())
    assert [found[name] for name in ("requests", "attainment", "offered_rps")] == [0, None, None]
