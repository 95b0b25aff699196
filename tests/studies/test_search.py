"""The search for the highest rates, by both rules."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

import flowsim
from flowsim.errors import InputError
from flowsim.studies.goodput_rules import RULES, Rule, lacks
from flowsim.studies.intervals import Interval, t_interval
from flowsim.studies.point import Point, prepared, run_point
from flowsim.studies.search import Highest, Rates, Search, check_searchable, full_rps, highest_rates
from support.costs import service
from support.places import SHARED_TRACES

TRACES = SHARED_TRACES


OPTIONS = {"trace": "synthetic:qwen:600", "warmup": 0.1}


POINT = Point.of(OPTIONS)


def point(**options: Any) -> Point:
    return Point.of({**OPTIONS, **options})


def sustained_rps(of: Point, root: str = ".") -> float:
    """The highest rate by this rule alone, without the runs that the other needs."""
    ready = prepared(of, root)

    def judge(rate_rps: float) -> Mapping[Rule, str]:
        return lacks(run_point(of.at_rate(rate_rps), root), 0.9)

    return Rates(full_rps(ready), 0.02, len(ready.trace), judge).highest("sustained").rate_rps


STEP = 2 ** (1 / 128)


def rates(
    full_rps: float, curve: Callable[[float], tuple[str, str]], tolerance: float = 0.01, requests: int = 1000
) -> Rates:
    """A search over a made-up curve of what is lacking at a rate, by both rules."""
    return Rates(full_rps, tolerance, requests, lambda rate_rps: dict(zip(RULES, curve(rate_rps), strict=True)))


def steps(found: Highest) -> list[float]:
    """The rates as steps of the logarithm from 1 req/s."""
    values = (found.rate_rps, found.fails_at_rps, found.dips_at_rps, found.returns_at_rps)
    return [128 * math.log2(value) for value in values if not math.isnan(value)]


def falls_at(attainment_rps: float, queue_rps: float = math.inf) -> Callable[[float], tuple[str, str]]:
    """Attainment misses its target above one rate, and the queue grows above another."""

    def curve(rate_rps: float) -> tuple[str, str]:
        missed = "attainment" if rate_rps > attainment_rps else ""
        return missed, missed or "queue" * (rate_rps > queue_rps)

    return curve


@pytest.mark.parametrize("full_rps", [0.05, 3.0, 20.0, 5000.0])
def test_a_curve_that_falls_once_is_bracketed_by_one_step(full_rps: float) -> None:
    search = rates(full_rps, falls_at(20.0, 11.0))
    attainment, sustained = (search.highest(rule) for rule in RULES)
    assert steps(attainment) == pytest.approx([553, 554])  # 20 = 2^(553.2 / 128)
    assert steps(sustained) == pytest.approx([442, 443])  # 11 = 2^(442.8 / 128)
    assert (attainment.limited_by, sustained.limited_by) == ("attainment", "queue")
    assert math.isnan(sustained.dips_at_rps) and math.isnan(sustained.returns_at_rps)


def test_both_rules_share_their_runs() -> None:
    apart = [rates(16.0, falls_at(20.0, 11.0)) for _ in RULES]
    for search, rule in zip(apart, RULES, strict=True):
        search.highest(rule)
    both = rates(16.0, falls_at(20.0, 11.0))
    for rule in RULES:
        both.highest(rule)
    # 16 and 32 (or 8), 7 halvings, and of the rates ahead the 5 that these have not tried; both know 16
    assert [len(search.tried) for search in (*apart, both)] == [14, 14, 27]
    alike = rates(16.0, falls_at(20.0))
    for rule in RULES:
        alike.highest(rule)
    assert len(alike.tried) == 14


@pytest.mark.parametrize(
    ("returns", "found"),
    [
        (set(), [645, 646]),
        ({649}, [649, 650, 646, 649]),  # 2.2 % above
        ({649, 657}, [657, 658, 646, 649]),  # and from there
        ({653}, [653, 654, 646, 653]),  # 4.4 % above, the last rate that is tried
        ({654}, [645, 646]),  # a return farther above is not found
        ({649, 650, 651}, [651, 652, 646, 649]),
    ],
)
def test_a_dip_does_not_end_the_search(returns: set[int], found: list[int]) -> None:
    def curve(rate_rps: float) -> tuple[str, str]:
        step = round(128 * math.log2(rate_rps))
        missed = "" if step <= 645 or step in returns else "attainment"
        return missed, missed

    search = rates(32.0, curve)
    assert steps(search.highest("attainment")) == pytest.approx(found)
    assert search.highest("sustained") == search.highest("attainment")


def test_a_dip_in_the_queue_alone_is_of_the_sustained_rule() -> None:
    def curve(rate_rps: float) -> tuple[str, str]:
        step = round(128 * math.log2(rate_rps))
        missed = "attainment" * (step > 700)
        return missed, missed or "queue" * (step > 640 and step != 645)

    search = rates(32.0, curve)
    assert steps(search.highest("attainment")) == pytest.approx([700, 701])
    assert steps(search.highest("sustained")) == pytest.approx([645, 646, 641, 645])
    assert search.highest("sustained").limited_by == "queue"


@given(st.sets(st.integers(520, 680), max_size=12), st.sets(st.integers(520, 680), max_size=12))
def test_highest_rates_by_both_rules_agree_with_every_rate_tried(attains: set[int], empties: set[int]) -> None:
    """Attainment and the queue each change between failing and holding at the steps drawn."""

    def curve(rate_rps: float) -> tuple[str, str]:
        step = round(128 * math.log2(rate_rps))
        missed = "attainment" * (sum(change <= step for change in attains) % 2)
        return missed, missed or "queue" * (sum(change <= step for change in empties) % 2)

    search = rates(32.0, curve, requests=4)
    found = search.of_both_rules()
    assert found["sustained"].rate_rps <= found["attainment"].rate_rps
    for rule, of in found.items():
        holds = {2.0 ** (step / 128): not lacking[rule] for step, lacking in sorted(search.tried.items())}
        assert of.rate_rps == max((rate for rate, held in holds.items() if held), default=0.0)
        assert of.fails_at_rps == min((rate for rate in holds if rate > of.rate_rps), default=math.inf)
        dips = [rate for rate, held in holds.items() if not held and rate < of.rate_rps]
        returns = [rate for rate, held in holds.items() if held and dips and rate > dips[0]]
        assert [of.dips_at_rps, of.returns_at_rps] == pytest.approx(
            [*dips, math.nan][:1] + [*returns, math.nan][:1], nan_ok=True
        )


def test_a_coarse_search_looks_ahead_no_finer_than_its_steps() -> None:
    search = rates(32.0, falls_at(40.0), tolerance=1.0)
    assert search.highest("attainment") == Highest(32.0, 64.0, "attainment", math.nan, math.nan)
    assert sorted(search.tried) == [5, 6]
    finer = rates(32.0, falls_at(40.0), tolerance=0.0001)
    found = finer.highest("attainment")
    assert found.rate_rps <= 40.0 < found.fails_at_rps <= 1.0001 * found.rate_rps
    ahead = [found.rate_rps * STEP**k for k in range(1, 9)]
    tried = np.array([2.0 ** (step / finer.octave) for step in finer.tried])
    assert all(np.isclose(tried, rate_rps, rtol=1e-4).any() for rate_rps in ahead)


def test_what_nothing_limits_and_what_nothing_serves_end() -> None:
    endless = rates(10.0, falls_at(math.inf, 11.0), requests=33)
    attainment = endless.highest("attainment")
    assert (attainment.rate_rps, attainment.fails_at_rps, attainment.limited_by) == (8 * 2.0**6, math.inf, "nothing")
    assert steps(endless.highest("sustained")) == pytest.approx([442, 443])
    hopeless = rates(10.0, falls_at(0.0)).highest("attainment")
    assert (hopeless.rate_rps, hopeless.fails_at_rps, hopeless.limited_by) == (0.0, 8 * 2.0**-12, "attainment")


def md1_wait(load: float, services: float) -> float:
    """The share of customers of M/D/1 that wait at most this many service times (Erlang 1909, Crommelin 1932)."""
    terms = [
        (load * (k - services)) ** k / math.factorial(k) * math.exp(load * (services - k))
        for k in range(math.floor(services) + 1)
    ]
    return (1 - load) * sum(terms)


def md1_rate(seed: int, slo: float, rule: Rule) -> float:
    """The highest rate of Poisson arrivals at one server that takes a second for each."""
    gaps_s = np.random.default_rng(seed).exponential(size=2000)
    trace = flowsim.Trace.of(np.cumsum(gaps_s), [1] * gaps_s.size)

    def judge(rate_rps: float) -> Mapping[Rule, str]:
        scale = rate_rps / trace.rate_rps
        options: dict[str, Any] = {"slo": str(slo), "predictor": "exact", "rate_scale": scale}
        return lacks(flowsim.run(trace, "fcfs:1", cost=service(), **options), 0.9)

    return Rates(1.0, 0.02, len(trace), judge).highest(rule).rate_rps


def test_the_highest_rates_of_a_deterministic_server_are_those_of_theory() -> None:
    slo = 4.0  # three service times to wait, and one to be served
    load = optimize.brentq(lambda load: md1_wait(load, slo - 1) - 0.9, 0.1, 0.99)
    found = t_interval([md1_rate(seed, slo, "attainment") for seed in range(5)])
    assert found.low <= load <= found.high and found.high - found.low < 0.1 * load
    # with an SLO that nobody misses, the server keeps up until it is full at one request a second
    full = t_interval([md1_rate(seed, 1e6, "sustained") for seed in range(3)])
    assert 0.95 < full.mean < 1.03


def test_the_bracket_is_what_it_says() -> None:
    found = highest_rates(POINT, ".", Search(0.9, tolerance=0.02))
    for rule in RULES:
        of = found.highest[rule]
        assert 0 < of.rate_rps < of.fails_at_rps <= 1.02 * of.rate_rps
        assert not lacks(run_point(POINT.at_rate(of.rate_rps), "."), 0.9)[rule]
        assert lacks(run_point(POINT.at_rate(of.fails_at_rps), "."), 0.9)[rule] == of.limited_by
        assert found.row[f"max_rate_{rule}_rps"] == of.rate_rps
    assert found.highest["sustained"].rate_rps <= found.highest["attainment"].rate_rps
    assert found.result is not None
    assert found.result.trace.rate_rps == pytest.approx(found.highest["sustained"].rate_rps)


def test_all_policies_are_asked_about_the_same_rates() -> None:
    fcfs, flowprefill = (highest_rates(point(policy=name), ".", Search()).highest for name in ("fcfs", "flowprefill"))
    assert fcfs["sustained"].rate_rps < 0.8 * flowprefill["sustained"].rate_rps
    tried = [of.rate_rps for found in (fcfs, flowprefill) for of in found.values()]
    assert 128 * np.log2(tried) == pytest.approx(np.round(128 * np.log2(tried)), abs=1e-6)


def test_a_longer_horizon_moves_the_sustained_rate_by_no_more_than_its_interval() -> None:
    def interval(n: int) -> Interval:
        points = (point(trace=f"synthetic:qwen:{n}", seed=seed) for seed in range(4))
        return t_interval([sustained_rps(point) for point in points])

    short, long = interval(300), interval(1200)
    assert short.low <= long.mean <= short.high


@pytest.mark.skipif(not TRACES.is_dir(), reason="the production traces are not here")
@pytest.mark.parametrize(
    "trace",
    ["azure_llm_2023/AzureLLMInferenceTrace_conv.csv.gz", "mooncake_fast25/conversation_trace.jsonl.gz"],
)
@pytest.mark.parametrize("policy", ["fcfs", "flowprefill"])
def test_a_longer_window_of_real_traffic_moves_the_answer_by_no_more_than_its_interval(trace: str, policy: str) -> None:
    def rate(start_s: float, end_s: float) -> float:
        window = Point.of({"trace": trace, "policy": policy, "warmup": 0.1, "workload.window": [start_s, end_s]})
        return sustained_rps(window, str(TRACES))

    short = t_interval([rate(start_s, start_s + 250) for start_s in (0, 250, 500, 750)])
    assert short.low <= rate(0, 1000) <= short.high


def test_rates_of_an_slo_mix_give_way_to_the_rate_that_is_tried(tmp_path: Path) -> None:
    (tmp_path / "mix.yaml").write_text("{ttft_s: {text: 0.25, '*': 4}, rates: {text: 3, search: 1}}")
    values = {"trace": "synthetic:qwen:400", "slo": "mix.yaml", "workload.rate_rps": 10}
    result = run_point(Point.of(values), str(tmp_path))
    assert result.trace.rate_rps == pytest.approx(10)
    assert result.summary["classes"]["text"]["requests"] == 300
    twice = run_point(Point.of({**values, "workload.rate_rps": None, "workload.rate_scale": 2}), str(tmp_path))
    assert twice.trace.rate_rps == pytest.approx(8)


def test_an_slo_that_no_rate_meets_ends_at_nothing() -> None:
    found = highest_rates(point(slo="0.0001"), ".", Search())
    assert [(of.rate_rps, of.limited_by) for of in found.highest.values()] == [(0.0, "attainment")] * 2
    assert found.result is None


def test_a_loose_slo_is_bound_by_the_queue_alone() -> None:
    found = highest_rates(point(slo="100000"), ".", Search(tolerance=0.1)).highest
    assert [of.limited_by for of in found.values()] == ["nothing", "queue"]


def test_targets_of_classes_bind_each_alone() -> None:
    def limits(target: Any) -> tuple[float, str]:
        found = highest_rates(point(policy="flowprefill"), ".", Search(target, tolerance=0.05)).highest["attainment"]
        return found.rate_rps, found.limited_by

    whole, text, search = (limits(target) for target in (0.9, "text=.9", "search=.9"))
    assert (whole[1], text[1], search[1]) == ("attainment", "attainment of text", "attainment of search")
    assert search[0] < whole[0] < text[0]  # who pays under FlowPrefill are the long ones
    assert limits({"text": 0.9, "search": 0.9}) == min(text, search)
    assert limits("*=.9")[0] <= search[0]


def test_weights_move_the_rate_towards_that_of_the_class_that_counts() -> None:
    def rate(**asked: Any) -> float:
        search = Search(tolerance=0.05, **asked)
        return highest_rates(point(policy="flowprefill"), ".", search).highest["attainment"].rate_rps

    assert rate(weights="text=1,*=0") == rate(target="text=.9")
    assert rate(weights="search=20") < rate() < rate(weights="text=20")
    assert rate(weights="*=3") == rate()


@pytest.mark.parametrize("asked", [{"target": "tex=.9"}, {"weights": {"tex": 2}}])
def test_a_class_that_the_trace_lacks_is_an_error_with_the_nearest(asked: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"unknown class 'tex' of synthetic-qwen; did you mean 'text'\?"):
        highest_rates(POINT, ".", Search(**asked))
    with pytest.raises(InputError, match=r"unknown class 'tex' of .*example.*; did you mean 'text'\?"):
        flowsim.capacity("example", ["fcfs"], workers=1, **asked)


@pytest.mark.parametrize("asked", [{"target": "rare=.9"}, {"target": "often=.9,rare=.9"}, {"weights": "rare=2"}])
@pytest.mark.parametrize("options", [{"slo": "5"}, {"slo": "often=5", "warmup": 0.0}])
def test_a_class_of_which_no_request_counts_is_refused(
    tmp_path: Path, asked: dict[str, Any], options: dict[str, Any]
) -> None:
    """Its only request falls into the warm-up, or the class has no SLO: any rate would meet its target."""
    classes = ["rare"] + ["often"] * 39
    trace = flowsim.Trace.of(np.arange(40.0), [100] * 40, classes=classes)
    flowsim.traces.write_trace(trace, tmp_path / "rare.jsonl")
    with pytest.raises(InputError, match=r"names rare, but no request of that class in .*rare\.jsonl counts; expected"):
        flowsim.capacity(tmp_path / "rare.jsonl", ["fcfs"], replications=1, workers=1, **asked, **options)
    met = {"target": "often=.9"} if "target" in asked else {"weights": "rare=0,often=2"}
    found = flowsim.capacity(
        tmp_path / "rare.jsonl", ["fcfs"], replications=1, workers=1, tolerance=1, **met, **options
    )
    assert found.failed.empty


def test_each_other_class_must_be_some_class() -> None:
    ready = prepared(point(policy="fcfs"), ".")
    classes = sorted(set(ready.trace.class_names))
    every = ",".join(f"{name}=.9" for name in classes)
    check_searchable(ready, Search(f"{classes[0]}=.9,*=.9"))
    check_searchable(ready, Search("*=.9"))
    with pytest.raises(InputError) as refused:
        check_searchable(ready, Search(f"{every},*=.9"))
    assert str(refused.value).startswith("target: names * for each other class, but no request of another class in ")
    assert str(refused.value).endswith(f"counts; expected no *, beside {', '.join(classes)}")


def test_the_name_of_a_class_may_hold_an_equals_sign() -> None:
    assert Search("<=1k=.99,text=.9").target == {"<=1k": 0.99, "text": 0.9}


def test_the_order_and_the_spelling_of_targets_make_no_other_search() -> None:
    mapped = Search({"text": 0.99, "search": 0.9})
    assert Search("search=.9, text=.99") == mapped and list(mapped.target) == ["search", "text"]  # type: ignore[arg-type]
    assert mapped.target_text == "search=0.9,text=0.99"
    assert Search("0.9") == Search(0.9)
    assert Search(weights="text=2").target_text == "0.9 (weights text=2)"


def test_a_trace_too_short_to_judge_is_refused() -> None:
    with pytest.raises(InputError, match="has 29 requests; expected >= 30 requests for a search"):
        highest_rates(point(**{"workload.limit": 29}), ".", Search())


def test_many_instances_need_many_requests_for_a_queue_to_grow() -> None:
    options = {"trace": "synthetic:qwen:60", "server.instances": 3, "slo": "100000"}
    with pytest.raises(InputError, match=r"has 60 requests; expected >= 90 requests for a search \(30 per instance\)"):
        highest_rates(point(**options), ".", Search())
    found = highest_rates(point(**{**options, "trace": "synthetic:qwen:90"}), ".", Search(tolerance=0.5))
    assert found.highest["sustained"].limited_by == "queue"


def test_requests_that_all_arrive_at_once_have_no_rate_to_search(tmp_path: Path) -> None:
    flowsim.traces.write_trace(flowsim.Trace.of(np.zeros(40), [100] * 40), tmp_path / "burst.jsonl")
    with pytest.raises(
        InputError, match=r"burst(.jsonl)?: all requests arrive at one instant; expected a trace that spans"
    ):
        flowsim.capacity(tmp_path / "burst.jsonl", replications=1, workers=1)
