"""Predictors: exact, the paper's cubic, biased and noisy, and what they say of executions under way."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.pass_costs import PassCosts
from flowsim.calibration.costs.predictor import FITTED_AT, SoloPredictor, make_predictor, noise
from flowsim.core.pass_timeline import Slice
from flowsim.core.passes import Execution
from flowsim.core.request import Request
from flowsim.core.server import ServerOptions
from flowsim.errors import InputError
from support.costs import pencil


def costing(solo: object, **device: object) -> CostModel:
    """One layer whose time is a given function of the tokens."""
    return CostModel("given", 1, {"down_proj": solo, **device}, lambda tokens, context: 0.0)  # type: ignore[dict-item]


def costs(cost: CostModel, cut: str = "operator", max_batched_tokens: int = 8192) -> PassCosts:
    return PassCosts(cost, ServerOptions(max_batched_tokens=max_batched_tokens), cut)


def execution(cost: CostModel, tokens: int, cut: str = "operator", max_batched_tokens: int = 8192) -> Execution:
    request = Request(0, 0.0, tokens, 9.0)
    return Execution.of(((request, tokens),), costs(cost, cut, max_batched_tokens).timeline([Slice(tokens, 0)]))


def test_exact_is_what_the_engine_will_take() -> None:
    cost = CostModel("by hand", 2, {"o_proj": lambda n: n}, lambda tokens, context: context, check_s=0.5)
    predictor = make_predictor("exact", costs(cost, "layer", 4))
    # Forwards of 4, 4 and 2 tokens on 0, 4 and 8: two layers each, a check a layer and one at the end.
    assert predictor.predict(10) == 2 * (4 + 4 + 2) + 2 * (0 + 4 + 8) + 3 * 1.5
    assert predictor.predict(4, 100) == 2 * 4 + 2 * 100 + 1.5
    running = execution(cost, 10, "layer", 4)
    assert predictor.left(running, 7.0, 10, 7.0) == running.timeline.duration_s - 7.0


def test_cubic_fits_solo_times_as_the_paper_does() -> None:
    cost = costing(lambda n: 0.01 + 2e-5 * n + 1e-9 * n**2 + 1e-14 * n**3)
    predictor = make_predictor("cubic", costs(cost, "operator", 1 << 20))
    for tokens in (1, 100, 3000, 20480):
        assert predictor.predict(tokens) == pytest.approx(cost.forward_s(tokens), rel=1e-6)
    assert predictor.predict(100, 5000) == predictor.predict(100)  # it does not look at the context


def test_cubic_goes_on_by_chunks_beyond_what_was_fitted() -> None:
    predictor = make_predictor("cubic", costs(costing(lambda n: 1e-4 * n), "none", 1 << 20))
    assert predictor.predict(20481) == pytest.approx(2 * (0.8192 + 0.010) + 0.4097, rel=1e-6)
    assert predictor.predict(24576) == pytest.approx(3 * (0.8192 + 0.010), rel=1e-6)


def test_cubic_leaves_outliers_out_of_its_second_fit() -> None:
    odd = {4096: 3.0, 10240: 0.0}
    predictor = make_predictor("cubic", costs(costing(lambda n: odd.get(n, 1e-4 * n)), "none", 1 << 20))
    assert predictor.predict(4096) == pytest.approx(0.4096, rel=1e-3)
    assert predictor.predict(16384) == pytest.approx(1.6384, rel=1e-3)


def test_cubic_keeps_points_within_two_fifths_of_the_largest_residual() -> None:
    """Residuals of the first fit: 2.4 s at 4096 tokens, 0.6 s at 10240 (0.24 of it), less elsewhere. One is dropped."""
    odd = {4096: 3.0, 10240: 1.7}
    times = {tokens: odd.get(tokens, 1e-4 * tokens) for tokens in FITTED_AT}
    first = np.polyfit([*times], [*times.values()], 3)
    residuals = {tokens: abs(seconds - np.polyval(first, tokens)) for tokens, seconds in times.items()}
    assert [tokens for tokens in times if residuals[tokens] > 0.4 * residuals[4096]] == [4096]
    assert 0.2 * residuals[4096] < residuals[10240]
    del times[4096]
    second = np.polyfit([*times], [*times.values()], 3)
    predictor = make_predictor("cubic", costs(costing(lambda n: odd.get(n, 1e-4 * n)), "none", 1 << 20))
    for tokens in (100, 4096, 10240, 20000):
        assert predictor.predict(tokens) == pytest.approx(np.polyval(second, tokens), rel=1e-6)
    assert predictor.predict(10240) - 1.024 > 0.02  # bent towards the odd point, which was kept


def test_cubic_stands_by_its_first_fit_where_too_few_points_are_near_it() -> None:
    times = {tokens: 2.0 + (-1) ** i for i, tokens in enumerate(FITTED_AT)}
    first = np.polyfit([*times], [*times.values()], 3)
    predictor = make_predictor("cubic", costs(costing(lambda n: times[n]), "none", 1 << 20))
    assert predictor.predict(3000) == pytest.approx(np.polyval(first, 3000), rel=1e-6)


def test_cubic_predicts_the_rest_of_an_execution_from_its_tokens_left() -> None:
    """A batch is taken for one sequence, the context computed before is ignored (flowprefill's released code)."""
    predictor = make_predictor("cubic", costs(costing(lambda n: 1e-4 * n)))
    running = execution(pencil(), 3000)
    assert predictor.left(running, 5.0, 3000, 0.25) == predictor.predict(3000) - 0.25
    assert predictor.left(running, 5.0, 1000, 0.0) == predictor.predict(1000)
    assert predictor.left(running, 5.0, 3000, 1e9) == 0.0


def test_biased_is_exact_but_for_a_factor() -> None:
    cost = pencil()
    predictor = make_predictor("biased:1.5", costs(cost))
    assert predictor.predict(10) == 15.0
    assert predictor.left(execution(cost, 10), 4.0, 10, 4.0) == 9.0


def test_noisy_draws_a_factor_for_each_length() -> None:
    cost = pencil()
    predictor = make_predictor("noisy:0.5", costs(cost), seed=3)
    assert predictor.predict(10) == make_predictor("noisy:0.5", costs(cost), seed=3).predict(10)
    assert predictor.predict(10) != make_predictor("noisy:0.5", costs(cost), seed=4).predict(10)
    assert predictor.predict(20) != pytest.approx(2 * predictor.predict(10))
    share = predictor.predict(10) / 10
    assert predictor.left(execution(cost, 10), 4.0, 10, 4.0) == pytest.approx(6.0 * share)


def test_noise_is_lognormal_with_median_one() -> None:
    factors = [noise(0.5, seed=0)(tokens) for tokens in range(1, 2001)]
    logs = [statistics.NormalDist().cdf(2 * x) for x in map(math.log, factors)]
    # Uniform under the stated law: mean 1/2 and standard deviation 1/sqrt(12), four standard errors.
    assert statistics.mean(logs) == pytest.approx(0.5, abs=4 * 12**-0.5 / 2000**0.5)
    assert statistics.pstdev(logs) == pytest.approx(12**-0.5, abs=0.01)


@given(st.integers(1, 10**6), st.integers(0, 10**6))
def test_a_question_is_answered_once(tokens: int, context: int) -> None:
    asked: list[tuple[int, int]] = []

    def solo(*question: int) -> float:
        asked.append(question)  # type: ignore[arg-type]
        return 1.0

    predictor = SoloPredictor("counted", solo)
    assert [predictor.predict(tokens, context) for _ in range(3)] == [1.0] * 3
    assert asked == [(tokens, context)]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "exakt",
            "predictor: unknown predictor 'exakt'; did you mean 'exact'? "
            "(known: biased:FACTOR, cubic, exact, noisy:SIGMA)",
        ),
        ("cubic:3", "predictor must be 'cubic', which takes no number, got 'cubic:3'"),
        ("biased", "predictor must be biased:NUMBER with a number from 0.001 to 1000, got 'biased'"),
        ("biased:much", "predictor must be biased:NUMBER with a number from 0.001 to 1000, got 'biased:much'"),
        ("biased:0", "predictor must be biased:NUMBER with a number from 0.001 to 1000, got 'biased:0'"),
        ("noisy:-1", "predictor must be noisy:NUMBER with a number from 0 to 10, got 'noisy:-1'"),
        ("noisy:nan", "predictor must be noisy:NUMBER with a number from 0 to 10, got 'noisy:nan'"),
        ("noisy:inf", "predictor must be noisy:NUMBER with a number from 0 to 10, got 'noisy:inf'"),
    ],
)
def test_a_wrong_specification_is_refused_in_one_line(spec: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        make_predictor(spec, costs(pencil()))
    assert str(error.value) == message
