"""Synthetic traces: the same arguments give the same requests, and the published statistics come back."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsim.errors import InputError
from flowsim.traces import info, read_trace, synthesize
from flowsim.traces.statistics import trace_distances
from flowsim.traces.synthetic import PRESETS, PROBABILITIES, presets
from support.traces import AZURE, MOONCAKE, QWEN, needs_traces

STATISTICS = QWEN.with_name("class_statistics.json")
REAL = {"qwen-a": QWEN, "azure-conversation": AZURE, "mooncake-conversation": MOONCAKE}
KNOTS = ("min", "p10", "p25", "p50", "p75", "p90", "p99", "max")


def test_the_same_seed_gives_the_same_trace_and_another_seed_another():
    assert synthesize(50, 3.0, seed=1).sha256 == synthesize(50, 3.0, seed=1).sha256
    assert synthesize(50, 3.0, seed=1).sha256 != synthesize(50, 3.0, seed=2).sha256


def test_what_is_said_of_the_rate_is_so():
    even, rising = (synthesize(20_000, 4.0, profile=profile) for profile in ("constant", "ramp:1:3"))
    assert even.rate_rps == pytest.approx(4.0, rel=0.02)
    assert even.source.startswith("20,000 requests at 4 req/s, seed 0, from")
    assert rising.rate_rps == pytest.approx(4.0 * 2, rel=0.02)  # twice the rate that is named, so the factors are too
    assert rising.source.startswith("20,000 requests at 4 req/s times ramp:1:3 (poisson), seed 0, from")


@needs_traces
def test_the_default_imitates_the_rate_of_its_trace():
    assert PRESETS["qwen"].rate_rps == pytest.approx(read_trace(QWEN).rate_rps, rel=0.005)


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


RATE = "finite and > 0, with all times <= 2**40 s"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1.0, 0), "requests must be from 1 to 100000000, got 0"),
        ((10**11, 1.0, 0), "requests must be from 1 to 100000000, got 100000000000"),
        ((5, 0.0, 0), f"rate_rps must be {RATE}, got 0.0"),
        ((5, 1e-300, 0), f"rate_rps must be {RATE}, got 1e-300"),
        ((5, float("nan"), 0), f"rate_rps must be {RATE}, got nan"),
        ((5, 1.0, 0, "qwn"), "unknown preset 'qwn'; did you mean 'qwen'?"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(InputError) as error:
        synthesize(*arguments)
    assert message in str(error.value)


@needs_traces
def test_the_table_is_the_published_one():
    published = json.loads(STATISTICS.read_text())
    for name, entry in PRESETS["qwen"].classes.items():
        for column, key in (("input_length", "input"), ("output_length", "output")):
            assert getattr(entry, column) == tuple(published[name][key][knot] for knot in KNOTS)


def test_rank_correlations_come_back():
    lengths = info(synthesize(50_000, preset="qwen-a"))["lengths"]
    for name, entry in presets()["qwen-a"].classes.items():
        assert lengths[name]["rank_correlation"] == pytest.approx(entry.rank_correlation, abs=0.05)


@needs_traces
@pytest.mark.parametrize(
    ("preset", "most"), [("qwen-a", 0.03), ("azure-conversation", 0.01), ("mooncake-conversation", 0.01)]
)
def test_imitations_are_good(preset, most):
    real = read_trace(REAL[preset])
    far = trace_distances(synthesize(50_000, preset=preset), real)
    for name, of in far["ks"].items():
        if of["requests"][1] >= 60:
            assert max(of["input"], of["output"]) < most, name
    assert far["rate_rps"][0] == pytest.approx(far["rate_rps"][1], rel=0.02)
    assert far["gap_cv"][0] == pytest.approx(far["gap_cv"][1], rel=0.15)


@needs_traces
@pytest.mark.parametrize(("preset", "said"), [("azure-conversation", [1.3, 16]), ("mooncake-conversation", [1.1, 2.9])])
def test_imitations_have_no_bursts_as_the_readme_says(preset, said):
    real = read_trace(REAL[preset])
    assert trace_distances(synthesize(50_000, preset=preset), real)["dispersion"]["60"] == pytest.approx(said, rel=0.05)


def test_azure_code_has_the_published_medians():
    """Of the whole trace, 1,500 and 13 tokens (Splitwise, ISCA 2024, figure 3); the table is of an eighth of it."""
    facts = info(synthesize(50_000, preset="azure-code"))
    lengths = facts["lengths"]["all"]
    assert lengths["input"]["p50"] == pytest.approx(1500, rel=0.05)
    assert lengths["output"]["p50"] == 13
    assert facts["gap_cv"] == pytest.approx(12, rel=0.2)
