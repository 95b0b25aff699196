"""Distances between a simulation and real runs, computed by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import flowsim
from flowsim.core.ledger import Log
from flowsim.validation.distance import Distance, distances, request_error
from support.results import by_hand

ARRIVAL_S = [0.3 * i for i in range(12)]


def all_after(ttft_s: float) -> flowsim.RunResult:
    """Twelve requests with an SLO of 0.1 s, each of which takes this long; one preemption takes a tenth of it."""
    logs = [Log(blocking_s=[ttft_s / 10])]
    return by_hand(ARRIVAL_S, [arrival_s + ttft_s for arrival_s in ARRIVAL_S], [0.1] * 12, logs=logs)


def by_measure(simulated: flowsim.RunResult, *real: flowsim.RunResult) -> dict[str, Distance]:
    return {distance.measure: distance for distance in distances(simulated, real)}


def test_distances_by_hand() -> None:
    found = by_measure(all_after(0.104), all_after(0.099), all_after(0.102))
    p50 = found["TTFT p50"]
    assert (p50.simulated, *p50.real) == pytest.approx((0.104, 0.099, 0.102))
    assert p50.off == pytest.approx((5 / 99 + 2 / 102) / 2)
    assert p50.floor == pytest.approx(3 / 100.5)
    assert p50.good is True
    assert p50.near is True
    assert found["attainment"].off == pytest.approx(0.5)  # an SLO of 0.1 s: late, in time, late
    assert found["attainment"].floor == pytest.approx(1.0)
    assert found["attainment"].good is True  # not within a point, but real runs differ by more
    assert [name for name, distance in found.items() if distance.apart] == ["attainment"]
    assert found["blocking mean"].off == pytest.approx(p50.off)
    assert found["per request"].ratio == pytest.approx(p50.off / p50.floor)


def test_what_is_further_than_the_bar_is_a_miss() -> None:
    far = by_measure(all_after(0.110), all_after(0.099), all_after(0.102))
    assert far["TTFT p50"].good is False
    assert far["TTFT p50"].near is False


def test_the_order_of_the_real_runs_does_not_matter() -> None:
    floors = [d.floor for d in by_measure(all_after(0.110), all_after(0.099), all_after(0.102)).values()]
    turned = [d.floor for d in by_measure(all_after(0.110), all_after(0.102), all_after(0.099)).values()]
    assert turned == pytest.approx(floors, nan_ok=True)


def test_the_error_of_a_request_is_a_share_of_its_ttft() -> None:
    assert request_error(np.array([0.11]), np.array([0.10]), np.array([0.10])) == pytest.approx(0.1)
    assert request_error(np.array([np.nan]), np.array([0.10]), np.array([0.10])) is None


def test_what_only_the_simulation_or_only_reality_has_is_a_miss() -> None:
    blocked = all_after(0.1)
    never = replace(blocked, outcome=replace(blocked.outcome, logs=[Log()]))
    for simulated, real in ((never, [blocked, blocked]), (blocked, [never, never]), (blocked, [never, blocked])):
        assert by_measure(simulated, *real)["blocking mean"].good is False
    assert by_measure(never, never, never)["blocking mean"].good is None
