"""What is said of a trace, on traces made so that it is known; and how good the imitations are."""

import numpy as np
import pytest

from flowsim.traces import Trace, info, read_trace, synthesize
from flowsim.traces.statistics import dispersion, ks_distance, trace_distances
from support.traces import MOONCAKE, needs_traces


def test_dispersion_of_even_and_of_bunched_arrivals():
    even = Trace.of(np.arange(1001) / 10, np.ones(1001))
    bunched = Trace.of(np.repeat(np.arange(101.0), 10), np.ones(1010))
    poisson = synthesize(100_000, 10.0)
    assert dispersion(even, 1.0) == pytest.approx(0, abs=0.01)
    assert dispersion(bunched, 0.5) == pytest.approx(5, rel=0.05)
    assert dispersion(poisson, 1.0) == pytest.approx(1, abs=0.05)
    assert dispersion(even, 60.0) is None


def test_ks_by_hand():
    assert ks_distance(np.array([1, 2]), np.array([1, 2, 1, 2])) == 0
    assert ks_distance(np.array([1, 2]), np.array([3, 4])) == 1
    assert ks_distance(np.array([1, 2, 3, 4]), np.array([2, 2, 3, 9])) == 0.25


def test_lengths_that_one_side_does_not_know_have_no_distance():
    known, unknown = Trace.of([0, 1], [5, 6], [7, 8]), Trace.of([0, 1], [5, 6])
    assert trace_distances(known, known)["ks"]["all"]["output"] == 0
    for pair in ((known, unknown), (unknown, known), (unknown, unknown)):
        assert trace_distances(*pair)["ks"]["all"]["output"] is None
        assert trace_distances(*pair)["ks"]["all"]["input"] == 0


def test_an_output_of_0_is_no_length():
    trace = Trace.of([0, 1, 2, 3], [5, 6, 7, 8], [9, 0, 3, 0])
    facts = info(trace)["lengths"]["all"]
    assert (facts["output"]["mean"], facts["output"]["p10"], facts["rank_correlation"]) == (6, 3.6, pytest.approx(-1))
    assert trace_distances(trace, Trace.of([0, 1], [5, 6], [3, 9]))["ks"]["all"]["output"] == 0


def test_classes_may_be_called_as_groups_are():
    trace = Trace.of([0, 1, 2], [5, 6, 7], classes=["all", "(none)", None])
    counts = {name: of["requests"] for name, of in info(trace)["lengths"].items()}
    assert counts == {"(all)": 3, "all": 1, "(none)": 1, "((none))": 1}


def test_bursts_are_compared():
    even, bunched = (Trace.of(times, np.ones(1010)) for times in (np.arange(1010) / 10, np.arange(1010) // 10))
    pairs = trace_distances(even, bunched)["dispersion"]
    assert pairs == {window: [info(trace)["dispersion"][window] for trace in (even, bunched)] for window in pairs}
    assert list(pairs) == ["1", "10", "60"] and pairs["60"] == [None, None]


def test_pauses_of_centuries_take_no_memory():
    bunch = np.arange(100.0) % 10
    trace = Trace.of(np.append(bunch, 1e12 + bunch), np.ones(200))
    assert dispersion(trace, 1.0) == pytest.approx(10, rel=1e-3)  # windows of 10 arrivals, and countless of none
    assert info(trace)["span_s"] == 1e12 + 9


def test_one_request_can_be_described():
    facts = info(Trace.of([0], [5]))
    assert facts["gap_cv"] is None and facts["rate"]["rps"] == []
    assert facts["lengths"]["all"]["output"] is None


@needs_traces
def test_mooncakes_prefixes():
    facts = info(read_trace(MOONCAKE))["prefix"]
    assert (facts["block_tokens"], facts["blocks"], facts["different_blocks"]) == (512, 288_500, 182_790)
    assert facts["tokens_share"] == pytest.approx(0.373, abs=0.001)


@pytest.mark.parametrize("requests", [5, 101])
def test_requests_a_second_apart_have_one_request_a_second_everywhere(requests):
    """Case W_uniform_1rps: gaps / span, in the mean and in each bin."""
    facts = info(Trace.of(np.arange(requests), np.full(requests, 500)))
    assert facts["rate_rps"] == 1
    assert facts["rate"]["rps"] == pytest.approx(np.ones(max(requests // 10, 1)))


def test_the_rates_of_the_bins_have_the_mean_rate():
    facts = info(synthesize(5000, 7.0))
    assert np.mean(facts["rate"]["rps"]) == pytest.approx(facts["rate_rps"])


def test_what_a_trace_gives_its_requests():
    trace = Trace.of(
        [0, 1, 2, 3], [5] * 4, slo_s=[0.5, np.nan, 6, 2], priority=[1, 0, 1, -2], clients=["a", "b", "a", None]
    )
    facts = info(trace)
    assert facts["slo"] == {"requests": 3, "least_s": 0.5, "most_s": 6}
    assert facts["priority"] == {-2: 1, 0: 1, 1: 2}
    assert facts["clients"] == {"clients": 2, "largest_share": 0.5}
    plain = info(Trace.of([0, 1], [5, 6]))
    assert [plain[name] for name in ("slo", "priority", "clients")] == [None] * 3
