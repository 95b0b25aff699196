"""Arrival times: processes have the variation, and profiles the rates, that were asked for."""

import numpy as np
import pytest

from flowsim.errors import InputError
from flowsim.traces import info, synthesize
from flowsim.traces.arrivals import arrivals


@pytest.mark.parametrize(
    ("process", "cv"), [("poisson", 1.0), ("gamma:0.5", 0.5), ("gamma:2", 2.0), ("weibull:1.5", 1.5)]
)
def test_gaps_have_the_mean_and_the_variation_that_were_asked_for(process, cv):
    trace = synthesize(200_000, 5.0, arrivals=process)
    assert info(trace)["gap_cv"] == pytest.approx(cv, rel=0.03)
    assert trace.rate_rps == pytest.approx(5.0, rel=0.02)


@pytest.mark.parametrize(
    ("profile", "factors"),
    [
        ("ramp:1:3", [1.5, 2.5]),
        ("step:5000=3", [1.0, 3.0]),
        ("daily:0.5", [1 + 1 / np.pi, 1 - 1 / np.pi]),
    ],
)
def test_rates_follow_their_profile(profile, factors):
    n = {"r": 40_000, "s": 40_000, "d": 86_400}[profile[0]]
    rate = 1.0 if profile[0] == "d" else 2.0
    times = arrivals(n, rate, "poisson", profile, np.random.default_rng(0))
    middle = {"r": times[-1] / 2, "s": 5000.0, "d": 43_200.0}[profile[0]]
    halves = [(times < middle).sum() / middle, (times >= middle).sum() / (times[-1] - middle)]
    assert np.array(halves) / rate == pytest.approx(factors, rel=0.03)


@pytest.mark.parametrize(
    "profile", ["ramp", "ramp:0:1", "daily:2", "step:5", "step:5=0", "step:9=1,5=1", "weekly", "step:"]
)
def test_bad_profiles(profile):
    with pytest.raises(InputError, match="rate profile"):
        synthesize(10, 1.0, profile=profile)


@pytest.mark.parametrize(
    "process", ["gamma", "gamma:0", "poisson:2", "weibull:99", "gamma:31", "gamma:1e-200", "gama:1", "gamma:inf"]
)
def test_bad_processes(process):
    with pytest.raises(InputError, match="arrival process"):
        synthesize(10, 1.0, arrivals=process)
