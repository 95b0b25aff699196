"""What is said of a trace, on traces made so that it is known; and how good the imitations are."""

import json

import numpy as np
import pytest

from flowsim.errors import InputError
from flowsim.traces import Trace, info, read_trace, synth, synthesize
from flowsim.traces.arrivals import arrivals
from flowsim.traces.servegen import synthesize_clients
from flowsim.traces.statistics import dispersion, distances, ks_distance
from flowsim.traces.synthetic import presets
from support.places import SHARED_TRACES

SHARED = SHARED_TRACES
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the production traces are not here")
REAL = {
    "qwen-a": "qwen_trace_a/first_2_minutes.jsonl",
    "azure-conversation": "azure_llm_2023/AzureLLMInferenceTrace_conv.csv.gz",
    "mooncake-conversation": "mooncake_fast25/conversation_trace.jsonl.gz",
}
CLIENTS = SHARED / "servegen/servegen_deepseek-r1_peak_window.json.gz"


@pytest.mark.parametrize(
    ("process", "cv"), [("poisson", 1.0), ("gamma:0.5", 0.5), ("gamma:2", 2.0), ("weibull:1.5", 1.5)]
)
def test_gaps_have_the_mean_and_the_variation_that_were_asked_for(process, cv):
    trace = synthesize(200_000, 5.0, arrivals=process)
    assert info(trace)["gap_cv"] == pytest.approx(cv, rel=0.03)
    assert trace.rate_rps == pytest.approx(5.0, rel=0.02)


def test_dispersion_of_even_and_of_bunched_arrivals():
    even = Trace.of(np.arange(1001) / 10, np.ones(1001))
    bunched = Trace.of(np.repeat(np.arange(101.0), 10), np.ones(1010))
    poisson = synthesize(100_000, 10.0)
    assert dispersion(even, 1.0) == pytest.approx(0, abs=0.01)
    assert dispersion(bunched, 0.5) == pytest.approx(5, rel=0.05)
    assert dispersion(poisson, 1.0) == pytest.approx(1, abs=0.05)
    assert dispersion(even, 60.0) is None


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


def test_rank_correlations_come_back():
    lengths = info(synthesize(50_000, preset="qwen-a"))["lengths"]
    for name, entry in presets()["qwen-a"].classes.items():
        assert lengths[name]["rank_correlation"] == pytest.approx(entry.rank_correlation, abs=0.05)


def test_ks_by_hand():
    assert ks_distance(np.array([1, 2]), np.array([1, 2, 1, 2])) == 0
    assert ks_distance(np.array([1, 2]), np.array([3, 4])) == 1
    assert ks_distance(np.array([1, 2, 3, 4]), np.array([2, 2, 3, 9])) == 0.25


def test_lengths_that_one_side_does_not_know_have_no_distance():
    known, unknown = Trace.of([0, 1], [5, 6], [7, 8]), Trace.of([0, 1], [5, 6])
    assert distances(known, known)["ks"]["all"]["output"] == 0
    for pair in ((known, unknown), (unknown, known), (unknown, unknown)):
        assert distances(*pair)["ks"]["all"]["output"] is None
        assert distances(*pair)["ks"]["all"]["input"] == 0


def test_an_output_of_0_is_no_length():
    trace = Trace.of([0, 1, 2, 3], [5, 6, 7, 8], [9, 0, 3, 0])
    facts = info(trace)["lengths"]["all"]
    assert (facts["output"]["mean"], facts["output"]["p10"], facts["rank_correlation"]) == (6, 3.6, pytest.approx(-1))
    assert distances(trace, Trace.of([0, 1], [5, 6], [3, 9]))["ks"]["all"]["output"] == 0


def test_classes_may_be_called_as_groups_are():
    trace = Trace.of([0, 1, 2], [5, 6, 7], classes=["all", "(none)", None])
    counts = {name: of["requests"] for name, of in info(trace)["lengths"].items()}
    assert counts == {"(all)": 3, "all": 1, "(none)": 1, "((none))": 1}


def test_bursts_are_compared():
    even, bunched = (Trace.of(times, np.ones(1010)) for times in (np.arange(1010) / 10, np.arange(1010) // 10))
    pairs = distances(even, bunched)["dispersion"]
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


@needs_shared
@pytest.mark.parametrize(
    ("preset", "most"), [("qwen-a", 0.03), ("azure-conversation", 0.01), ("mooncake-conversation", 0.01)]
)
def test_imitations_are_good(preset, most):
    real = read_trace(SHARED / REAL[preset])
    far = distances(synthesize(50_000, preset=preset), real)
    for name, of in far["ks"].items():
        if of["requests"][1] >= 60:
            assert max(of["input"], of["output"]) < most, name
    assert far["rate_rps"][0] == pytest.approx(far["rate_rps"][1], rel=0.02)
    assert far["gap_cv"][0] == pytest.approx(far["gap_cv"][1], rel=0.15)


@needs_shared
@pytest.mark.parametrize(("preset", "said"), [("azure-conversation", [1.3, 16]), ("mooncake-conversation", [1.1, 2.9])])
def test_imitations_have_no_bursts_as_the_readme_says(preset, said):
    real = read_trace(SHARED / REAL[preset])
    assert distances(synthesize(50_000, preset=preset), real)["dispersion"]["60"] == pytest.approx(said, rel=0.05)


def test_azure_code_has_the_published_medians():
    """Of the whole trace, 1,500 and 13 tokens (Splitwise, ISCA 2024, figure 3); the table is of an eighth of it."""
    facts = info(synthesize(50_000, preset="azure-code"))
    lengths = facts["lengths"]["all"]
    assert lengths["input"]["p50"] == pytest.approx(1500, rel=0.05)
    assert lengths["output"]["p50"] == 13
    assert facts["gap_cv"] == pytest.approx(12, rel=0.2)


@needs_shared
def test_mooncakes_prefixes():
    facts = info(read_trace(SHARED / REAL["mooncake-conversation"]))["prefix"]
    assert (facts["block_tokens"], facts["blocks"], facts["different_blocks"]) == (512, 288_500, 182_790)
    assert facts["tokens_share"] == pytest.approx(0.373, abs=0.001)


@needs_shared
def test_servegen_clients():
    trace = synthesize_clients(CLIENTS)
    assert trace.rate_rps == pytest.approx(42.52, rel=0.03)
    assert trace.span_s == pytest.approx(600, abs=1)
    assert synth(CLIENTS, rate_rps=5.0).rate_rps == pytest.approx(5.0)
    assert synthesize_clients(CLIENTS).sha256 == trace.sha256


CLIENT = {"rate": 1, "shape": 1, "scale": 1, "family": "Gamma", "input_pdf": {"5": 1}, "output_pdf": {"7": 1}}


def test_arguments_of_clients_and_of_presets_are_kept_apart(tmp_path):
    path = tmp_path / "clients.json"
    path.write_text(json.dumps({"clients": [CLIENT]}))
    assert synth(path).span_s == pytest.approx(600, abs=20)
    assert synth(path, duration_s=100, rate_rps=2).rate_rps == pytest.approx(2)
    assert len(synth("qwen")) == 1000
    for arguments in ({"requests": 50}, {"arrivals": "poisson"}, {"profile": "constant"}):
        with pytest.raises(InputError, match=rf"ServeGen clients, for which {next(iter(arguments))} .* no meaning"):
            synth(path, **arguments)
    with pytest.raises(InputError, match=r"qwen is no file of ServeGen clients, for which duration_s \(600"):
        synth("qwen", duration_s=600)
    with pytest.raises(InputError, match=r"the duration is -1 s"):
        synth(path, duration_s=-1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "no ServeGen specification"),
        ('{"clients": [{"rate": -1}]}', "client 1: rate is -1; allowed"),
        ('{"clients": [{"rate": 1, "shape": 1, "scale": 1, "family": "Normal"}]}', "client 1: family 'Normal'"),
        (
            '{"clients": [{"rate": 1, "shape": 1, "scale": 1, "family": "Gamma", "input_pdf": {"0": 1}}]}',
            "client 1: input_pdf is no table",
        ),
        ('{"clients": [{"rate": 0}]}', "no client has a request"),
        (
            '{"clients": [{"rate": 1, "shape": 1e-9, "scale": 1, "family": "Gamma"}]}',
            "allowed: Gamma or Weibull, shape",
        ),
        (
            '{"clients": [{"rate": 1, "shape": 1, "scale": 1e-9, "family": "Gamma"}]}',
            r"6e\+11 requests in 600 s; allowed",
        ),
    ],
)
def test_bad_specifications_of_clients(tmp_path, text, message):
    path = tmp_path / "clients.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        synthesize_clients(path)
