"""The greedy walk against a linear program, against an exact mixed-integer program, and on jobs done by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import coo_array, hstack

import flowsim.clairvoyant.schedulable as schedulable
from flowsim.clairvoyant.schedulable import Jobs, all_fit, all_in_time, most_in_time


def jobs(*rows: tuple[float, float, float]) -> Jobs:
    """Jobs of (release, deadline, work)."""
    return Jobs(*np.array(sorted(rows), float).reshape(-1, 3).T)


@pytest.mark.parametrize(
    ("rows", "most", "accepted"),
    [
        ([(0, 10, 4), (0, 10, 6)], 2, 2),  # just fit
        ([(0, 10, 4), (0, 10, 8)], 1.75, 1),  # 6 of 8
        ([(0, 10, 8), (2, 5, 3)], 1.875, 1),  # the urgent one is the shorter: 7 of 8
        ([(0, 4, 2), (0, 4, 2), (1, 4, 2)], 2, 2),
        ([(0, 1, 1), (5, 6, 1), (0, 6, 4)], 3, 3),  # the gap between two urgent ones is used
        ([(0, 1, 1), (5, 6, 1), (0, 6, 5)], 2.8, 2),
        ([(0, 5, 0), (0, 5, 5)], 2, 2),  # a job that needs nothing is always in time
        ([], 0, 0),
    ],
)
def test_jobs_by_hand(rows: list[tuple[float, float, float]], most: float, accepted: int) -> None:
    assert most_in_time(jobs(*rows)) == pytest.approx(most)
    assert all_in_time(jobs(*rows)).sum() == accepted


def slots(some: Jobs) -> tuple[np.ndarray, coo_array, coo_array]:
    """The time-indexed formulation: slot lengths, work of each slot, work of each job (rows) by (job, slot) pairs."""
    times = np.unique([*some.release_s, *some.deadline_s])
    pairs = [
        (job, slot)
        for job in range(len(some))
        for slot in range(times.size - 1)
        if some.release_s[job] <= times[slot] and times[slot + 1] <= some.deadline_s[job]
    ]
    ones, columns = np.ones(len(pairs)), np.arange(len(pairs))
    in_slot = coo_array((ones, ([slot for _, slot in pairs], columns)), shape=(times.size - 1, len(pairs)))
    in_job = coo_array((ones, ([job for job, _ in pairs], columns)), shape=(len(some), len(pairs)))
    return np.diff(times), in_slot, in_job


def linear_program(some: Jobs) -> float:
    """The most shares of jobs in time."""
    lengths, in_slot, in_job = slots(some)
    values = in_job.T @ (1 / some.work_s)
    found = linprog(
        -values,
        A_ub=np.vstack([in_slot.toarray(), in_job.toarray()]),
        b_ub=np.concatenate([lengths, some.work_s]),
        method="highs",
    )
    return -float(found.fun)


def exact(some: Jobs) -> int:
    """The most jobs in time, preemptively."""
    lengths, in_slot, in_job = slots(some)
    n, work = in_job.shape[1], coo_array(np.diag(-some.work_s))
    found = milp(
        np.concatenate([np.zeros(n), -np.ones(len(some))]),
        constraints=[
            LinearConstraint(hstack([in_slot, coo_array((lengths.size, len(some)))]), ub=lengths),
            LinearConstraint(hstack([in_job, work]), lb=0, ub=0),
        ],
        integrality=np.concatenate([np.zeros(n), np.ones(len(some))]),
        bounds=Bounds(0, np.concatenate([np.full(n, np.inf), np.ones(len(some))])),
    )
    return round(-float(found.fun))


def drawn(seed: int, n: int) -> Jobs:
    """Jobs that overload the machine now and then, all of which could be done alone."""
    rng = np.random.default_rng(seed)
    release_s = np.cumsum(rng.exponential(1, n)).round(rng.integers(0, 4))
    work_s = rng.lognormal(-0.3, 1, n) * rng.uniform(0.4, 2)
    return jobs(*zip(release_s, release_s + work_s * rng.uniform(1, 8, n), work_s, strict=True))


@pytest.mark.parametrize("seed", range(40))
def test_the_walk_is_the_linear_program_and_the_optimum_lies_between(seed: int) -> None:
    some = drawn(seed, n=24)
    most, least = most_in_time(some), int(all_in_time(some).sum())
    assert most == pytest.approx(linear_program(some), abs=1e-6)
    assert least <= exact(some) <= most + 1e-6


@pytest.mark.parametrize("gap_s", [0.0, 5.0, 100.0])
def test_the_linear_program_of_many_jobs_in_one_busy_period_or_several(gap_s: float) -> None:
    some = drawn(7, n=150)
    later_s = gap_s * (np.arange(150) // 50)
    some = Jobs(some.release_s + later_s, some.deadline_s + later_s, some.work_s)
    assert most_in_time(some) == pytest.approx(linear_program(some), abs=1e-6)


def edf_lateness_s(some: Jobs) -> float:
    """The largest lateness of preemptive earliest deadline first, by a walk through time."""
    left_s, now_s, latest_s = some.work_s.copy(), 0.0, -np.inf
    while (left_s > 1e-12).any():
        ready = np.flatnonzero((some.release_s <= now_s + 1e-12) & (left_s > 1e-12))
        coming = some.release_s[some.release_s > now_s + 1e-12]
        until_s = coming.min() if coming.size else np.inf
        if not ready.size:
            now_s = float(until_s)
            continue
        job = ready[np.argmin(some.deadline_s[ready])]
        step_s = min(left_s[job], until_s - now_s)
        left_s[job] -= step_s
        now_s += float(step_s)
        latest_s = max(latest_s, now_s - some.deadline_s[job])
    return float(latest_s)


@given(st.integers(0, 10_000), st.integers(1, 12))
def test_jobs_fit_if_earliest_deadline_first_has_none_late(seed: int, n: int) -> None:
    some = drawn(seed, n)
    assert all_fit(some) == (edf_lateness_s(some) <= 1e-9)


@given(st.integers(0, 10_000), st.integers(1, 30))
def test_accepted_jobs_are_all_in_time_under_edf(seed: int, n: int) -> None:
    some = drawn(seed, n)
    accepted = some.part(all_in_time(some))
    assert not len(accepted) or edf_lateness_s(accepted) <= 1e-6


@given(st.integers(0, 10_000), st.floats(1, 10))
def test_wider_gaps_between_releases_lose_no_job(seed: int, factor: float) -> None:
    some = drawn(seed, 30)
    wider = Jobs(factor * some.release_s, factor * some.release_s + (some.deadline_s - some.release_s), some.work_s)
    assert most_in_time(wider) >= most_in_time(some) - 1e-6


@given(st.integers(0, 10_000))
def test_blocks_only_loosen(seed: int) -> None:
    some = drawn(seed, n=60)
    whole = most_in_time(some)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedulable, "BLOCK_JOBS", 16)
        patch.setattr(schedulable, "BLOCK_SEARCH", 6)
        assert whole - 1e-6 <= most_in_time(some) <= len(some) + 1e-9
