"""Synthetic traces: the same arguments give the same requests, and the published statistics come back."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsim.errors import InputError
from flowsim.traces import example_trace, read_trace, synthesize
from flowsim.traces.synthetic import PRESETS, PROBABILITIES
from support.places import SHARED_TRACES

STATISTICS = SHARED_TRACES / "qwen_trace_a/class_statistics.json"
TRACE = STATISTICS.with_name("first_2_minutes.jsonl")
KNOTS = ("min", "p10", "p25", "p50", "p75", "p90", "p99", "max")


def test_the_same_seed_gives_the_same_trace_and_another_seed_another():
    assert synthesize(50, 3.0, seed=1).sha256 == synthesize(50, 3.0, seed=1).sha256
    assert synthesize(50, 3.0, seed=1).sha256 != synthesize(50, 3.0, seed=2).sha256


def test_what_is_said_of_the_rate_is_so():
    even, rising = (synthesize(20_000, 4.0, profile=profile) for profile in ("constant", "ramp:1:3"))
    assert even.rate_rps == pytest.approx(4.0, rel=0.02)
    assert even.source.startswith("20000 requests at 4 req/s, seed 0, from")
    assert rising.rate_rps == pytest.approx(4.0 * 2, rel=0.02)  # twice the rate that is named, so the factors are too
    assert rising.source.startswith("20000 requests at 4 req/s times ramp:1:3 (poisson), seed 0, from")


@pytest.mark.skipif(not TRACE.exists(), reason="the production traces are not here")
def test_the_default_imitates_the_rate_of_its_trace():
    assert PRESETS["qwen"].rate_rps == pytest.approx(read_trace(TRACE).rate_rps, rel=0.005)


def test_the_example():
    trace = example_trace()
    assert repr(trace) == "Trace('example', 400 requests, 95.4553 s, 4.18 req/s)"
    assert trace.describe()["classes"] == {"text": 286, "image": 24, "search": 77, "file": 13}
    assert (trace.input_length[:4].tolist(), int(trace.input_length.max())) == ([2602, 1089, 394, 3858], 16478)
    assert trace.source == "example"  # so that it loads again
    assert "QwenTrace A (Alibaba, Apache-2.0)" in trace.notices[0]


def test_statistics_come_back():
    trace = synthesize(200_000, 5.0, seed=0)
    gaps = np.diff(trace.arrival_s)
    assert gaps.mean() == pytest.approx(0.2, rel=0.02)
    assert gaps.std() == pytest.approx(0.2, rel=0.02)  # exponential
    shares = np.bincount(trace.class_code) / len(trace)
    assert shares == pytest.approx(np.array([226, 24, 66, 11]) / 327, abs=0.005)
    for code, entry in enumerate(PRESETS["qwen"].classes.values()):
        mine = trace.input_length[trace.class_code == code]
        below = [np.mean(mine <= quantile) for quantile in entry.input_length]
        assert below[1:] == pytest.approx(PROBABILITIES[1:], abs=0.02)


@given(st.integers(1, 200), st.floats(0.01, 1e4), st.integers(0, 2**32))
def test_lengths_stay_within_the_published_extremes(n, rate_rps, seed):
    trace = synthesize(n, rate_rps, seed)
    classes = list(PRESETS["qwen"].classes.values())
    assert len(trace) == n
    assert trace.arrival_s[0] == 0
    for column in ("input_length", "output_length"):
        low, high = (np.array([getattr(entry, column)[end] for entry in classes]) for end in (0, -1))
        lengths = getattr(trace, column)
        assert (low[trace.class_code] <= lengths).all()
        assert (lengths <= high[trace.class_code]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1.0, 0), "the number of requests is 0; allowed: 1 to 100000000"),
        ((10**11, 1.0, 0), "the number of requests is 100000000000; allowed: 1 to 100000000"),
        ((5, 0.0, 0), "rate_rps is 0.0; allowed: a positive number of requests per second"),
        ((5, 1e-300, 0), "rate_rps is 1e-300; allowed: a positive number of requests per second (not too near 0)"),
        ((5, float("nan"), 0), "rate_rps is nan; allowed"),
        ((5, 1.0, 0, "qwn"), "unknown preset of synthetic traces 'qwn'; did you mean 'qwen'?"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(InputError) as error:
        synthesize(*arguments)
    assert message in str(error.value)


@pytest.mark.skipif(not STATISTICS.exists(), reason="the production traces are not here")
def test_the_table_is_the_published_one():
    published = json.loads(STATISTICS.read_text())
    for name, entry in PRESETS["qwen"].classes.items():
        for column, key in (("input_length", "input"), ("output_length", "output")):
            assert getattr(entry, column) == tuple(published[name][key][knot] for knot in KNOTS)
