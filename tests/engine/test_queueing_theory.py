"""The engine against closed forms of queueing theory.

Each test replays independent replications from seeds, so it is deterministic. The mean over replications has to lie
within Student's 99.9 % interval around it, and that interval has to be narrower than `WIDEST` of the closed form on
either side, so that a result that differs by a few per cent fails (`test_the_intervals_can_tell` shows it).

Service times are token counts: `service` costs one second per token, whatever else runs. Arrivals are Poisson.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import integrate, optimize, stats

from flowsim.core.order import Fixed
from flowsim.core.passes import Pass
from flowsim.core.request import Request
from flowsim.core.server import ServerOptions
from flowsim.policies.fcfs import FCFS
from support.costs import service
from support.timelines import replay_exactly

REPLICATIONS, REQUESTS, WARM_UP = 20, 5000, 500
CONFIDENCE, WIDEST = 0.999, 0.08
LAYERS = 1000  # preemptive disciplines are cut at the end of a layer: a thousandth of a service time

BY_CLASS = Fixed(lambda candidate: candidate.class_name)
BY_TIME_LEFT = Fixed(lambda candidate: candidate.predicted_s)


@dataclass(frozen=True)
class InOrder:
    """One request per pass, in a fixed order."""

    order: Fixed
    cut: Any
    wake: Any = "events"

    def choose(self, view: Any) -> Any:
        if self.cut == "none" and view.running is not None:
            return None
        head = view.first(self.order)
        return Pass.whole(head) if isinstance(head, Request) else head


Lengths = Callable[[np.random.Generator, NDArray[Any]], NDArray[Any]]
"""Draws one length for each of these classes."""


class Sample(NamedTuple):
    """The requests of a replication, warm-up left out: class, wait for the first launch, time in the system."""

    kind: NDArray[Any]
    wait_s: NDArray[Any]
    response_s: NDArray[Any]


@functools.cache
def replicate(
    policy: Any, gap_s: float, lengths: Lengths, shares: tuple[float, ...] = (1.0,), instances: int = 1
) -> list[Sample]:
    """Replications with this mean gap between arrivals, classes drawn by shares, and lengths drawn by class."""
    cost = service(layers=1 if policy.cut == "none" else LAYERS)
    samples = []
    for seed in range(REPLICATIONS):
        rng = np.random.default_rng([2024, seed])
        arrivals = np.cumsum(rng.exponential(gap_s, REQUESTS))
        kinds = rng.choice(len(shares), REQUESTS, p=shares)
        tokens = lengths(rng, kinds)
        rows = zip(arrivals.tolist(), tokens.tolist(), kinds.tolist(), strict=True)
        requests = [Request(i, at, n, 1e12, class_name=str(kind)) for i, (at, n, kind) in enumerate(rows)]
        server = ServerOptions(instances=instances, max_batched_tokens=1 << 40, slots=REQUESTS, kv_tokens=1 << 50)
        ledger = replay_exactly(requests, policy, cost, server).ledger
        wait_s, response_s = np.array(ledger.started_s) - arrivals, np.array(ledger.finished_s) - arrivals
        samples.append(Sample(kinds[WARM_UP:], wait_s[WARM_UP:], response_s[WARM_UP:]))
    return samples


def interval(means: Sequence[float]) -> tuple[float, float]:
    """Student's interval for the mean over replications: (centre, half width)."""
    half = stats.t.ppf((1 + CONFIDENCE) / 2, len(means) - 1) * np.std(means, ddof=1) / len(means) ** 0.5
    return float(np.mean(means)), float(half)


def check(means: Sequence[float], theory: float) -> None:
    centre, half = interval(means)
    assert half < WIDEST * theory, f"too wide to tell: {centre} +- {half}, theory {theory}"
    assert abs(centre - theory) < half, f"measured {centre} +- {half}, theory {theory}"


def of_class(samples: list[Sample], kind: int, column: str) -> list[float]:
    return [float(getattr(sample, column)[sample.kind == kind].mean()) for sample in samples]


def constant(rng: np.random.Generator, kinds: NDArray[Any]) -> NDArray[Any]:
    return np.full(len(kinds), 100)


SIZES, CHANCES = np.array([20, 50, 400]), np.array([0.5, 0.3, 0.2])


def mixed(rng: np.random.Generator, kinds: NDArray[Any]) -> NDArray[Any]:
    return rng.choice(SIZES, len(kinds), p=CHANCES)


def exponential(rng: np.random.Generator, kinds: NDArray[Any]) -> NDArray[Any]:
    """Mean 1000: so long that rounding to whole tokens does not matter."""
    return np.ceil(rng.exponential(1000.0, len(kinds))).astype(int)


def by_class(rng: np.random.Generator, kinds: NDArray[Any]) -> NDArray[Any]:
    return np.array([40, 100, 250])[kinds]


@pytest.mark.parametrize("load", [0.3, 0.6])
def test_m_d_1_wait(load: float) -> None:
    """Pollaczek-Khinchine, constant service: rho s / (2 (1 - rho))."""
    samples = replicate(FCFS(batch_tokens=1), 100 / load, constant)
    check(of_class(samples, 0, "wait_s"), load * 100 / (2 * (1 - load)))


def test_m_g_1_wait() -> None:
    """Pollaczek-Khinchine: lambda E[S^2] / (2 (1 - rho))."""
    load, mean = 0.5, float(CHANCES @ SIZES)
    samples = replicate(FCFS(batch_tokens=1), mean / load, mixed)
    check(of_class(samples, 0, "wait_s"), load / mean * float(CHANCES @ SIZES**2) / (2 * (1 - load)))


def test_round_robin_makes_each_of_two_instances_a_gi_m_1_queue() -> None:
    """Every second Poisson arrival: Erlang-2 gaps. s solves s = A*(mu (1 - s)); wait s / (mu (1 - s))."""
    load, mean = 0.5, 1000.0
    rate = 2 * load / mean  # of all arrivals
    samples = replicate(FCFS(batch_tokens=1), 1 / rate, exponential, instances=2)
    root = optimize.brentq(lambda s: s - (rate / (rate + (1 - s) / mean)) ** 2, 0.0, 0.999)
    check(of_class(samples, 0, "wait_s"), root * mean / (1 - root))


SHARES = (0.5, 0.3, 0.2)
CLASS_SIZES = np.array([40.0, 100.0, 250.0])
GAP_S = float(np.dot(SHARES, CLASS_SIZES)) / 0.6
NON_PREEMPTIVE = (InOrder(BY_CLASS, "none"), GAP_S, by_class, SHARES)
PREEMPTIVE = (InOrder(BY_CLASS, "layer"), GAP_S, by_class, SHARES)
RATES = np.array(SHARES) / GAP_S
RESIDUAL = float(RATES @ CLASS_SIZES**2) / 2
SIGMA = [0.0, *np.cumsum(RATES * CLASS_SIZES)]


def test_non_preemptive_priorities() -> None:
    """Cobham 1954: W_k = R / ((1 - sigma_(k-1)) (1 - sigma_k)), R = sum of lambda E[S^2] / 2 over all classes."""
    for kind in range(len(SHARES)):
        theory = RESIDUAL / ((1 - SIGMA[kind]) * (1 - SIGMA[kind + 1]))
        check(of_class(replicate(*NON_PREEMPTIVE), kind, "wait_s"), theory)


def test_preemptive_priorities() -> None:
    """T_k = s_k / (1 - sigma_(k-1)) + R_k / ((1 - sigma_(k-1)) (1 - sigma_k)), R_k over the classes up to k."""
    for kind in range(len(SHARES)):
        residual = float(RATES[: kind + 1] @ CLASS_SIZES[: kind + 1] ** 2) / 2
        theory = CLASS_SIZES[kind] / (1 - SIGMA[kind]) + residual / ((1 - SIGMA[kind]) * (1 - SIGMA[kind + 1]))
        check(of_class(replicate(*PREEMPTIVE), kind, "response_s"), theory)


def test_shortest_remaining_time_first() -> None:
    """Schrage and Miller 1966, exponential service, integrated numerically over sizes x (in units of the mean):
    l (int_0^x t^2 dF + x^2 (1 - F(x))) / (2 (1 - rho(x))^2) + int_0^x dt / (1 - rho(t))."""
    load = 0.6
    samples = replicate(InOrder(BY_TIME_LEFT, "layer"), 1000.0 / load, exponential)
    x = np.linspace(0.0, 40.0, 200_001)
    density, above = np.exp(-x), np.exp(-x)
    rho = load * integrate.cumulative_trapezoid(x * density, x, initial=0)
    second = integrate.cumulative_trapezoid(x**2 * density, x, initial=0)
    residence = integrate.cumulative_trapezoid(1 / (1 - rho), x, initial=0)
    response = load * (second + x**2 * above) / (2 * (1 - rho) ** 2) + residence
    theory = 1000.0 * float(integrate.trapezoid(response * density, x))
    assert theory < 1000.0 / (1 - load) / 1.5  # well below the 1 / (mu - lambda) of M/M/1 in order of arrival
    check(of_class(samples, 0, "response_s"), theory)


def test_the_intervals_can_tell() -> None:
    """A load only a twentieth higher, or the other kind of priority, is rejected."""
    samples = replicate(FCFS(batch_tokens=1), 100 / 0.6, constant)
    with pytest.raises(AssertionError, match="measured"):
        check(of_class(samples, 0, "wait_s"), 0.63 * 100 / (2 * (1 - 0.63)))
    preemptive_s = CLASS_SIZES[0] + RATES[0] * CLASS_SIZES[0] ** 2 / 2 / (1 - SIGMA[1])
    samples = replicate(*NON_PREEMPTIVE)
    with pytest.raises(AssertionError, match="measured"):
        check(of_class(samples, 0, "response_s"), preemptive_s)
