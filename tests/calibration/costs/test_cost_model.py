"""The arithmetic of cost models: timelines against stepping through the operators, and the curves of a fit."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsim.calibration.costs.attention.waves import Waves
from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.curves import AttentionCurve, query_key_pairs
from flowsim.calibration.costs.pass_costs import PassCosts
from flowsim.core.operators import ATTENTION, CHECKED_AFTER, LAYER_OPERATORS
from flowsim.core.pass_timeline import Launch, Slice
from flowsim.core.server import ServerOptions
from support.costs import pencil
from support.reference.passes import issued, walk

seconds = st.one_of(st.just(0.0), st.floats(0.0, 4.0))


pairs = st.tuples(seconds, seconds)


slices = st.lists(st.builds(Slice, st.integers(1, 20), st.integers(0, 20)), min_size=1, max_size=4)


@st.composite
def cost_models(draw: st.DrawFn) -> CostModel:
    """Every operator with a host and a device time of its own, fixed or growing with the tokens."""
    names = (*LAYER_OPERATORS, "prepare", "embed", "head")
    host, device = ({name: draw(pairs) for name in names} for _ in range(2))
    device["down_proj"] = (1.0, 1.0)  # layers that take no time have no cuts to find
    launch, attention = draw(pairs), draw(pairs)
    return CostModel(
        "drawn",
        draw(st.integers(1, 5)),
        {name: lambda n, ab=ab: ab[0] + ab[1] * n for name, ab in device.items()},
        lambda tokens, context: attention[0] + attention[1] * query_key_pairs(tokens, context),
        {name: lambda n, ab=ab: ab[0] + ab[1] * n for name, ab in host.items()},
        attention_launch=lambda tokens, context: launch[0] + launch[1] * (context > 0),
        check_s=draw(seconds),
    )


@given(cost_models(), slices, st.sampled_from(sorted(CHECKED_AFTER)), st.integers(1, 60))
def test_arithmetic_equals_stepping(cost: CostModel, parts: list[Slice], cut: str, max_batched_tokens: int) -> None:
    timeline = PassCosts(cost, ServerOptions(max_batched_tokens=max_batched_tokens), cut).timeline(parts)
    steps = issued(cost, parts, max_batched_tokens)
    checks, unchecked_s = walk(cost, steps, cut), walk(cost, steps, "none")[-1].at_s
    # Relative to the whole pass: times are sums of many numbers, in another order.
    assert timeline.duration_s == pytest.approx(checks[-1].at_s, rel=1e-12)
    assert timeline.overhead_s == pytest.approx(checks[-1].at_s - unchecked_s, abs=1e-11 * checks[-1].at_s)
    if cut == "none":
        assert timeline.next_cut(0.0) is None
        return
    assert [timeline.cut_s(i) for i in range(len(checks) - 1)] == pytest.approx(
        [check.at_s for check in checks[:-1]], rel=1e-11
    )
    assert timeline.next_cut(0.0, passed=len(checks) - 2) is None


@given(cost_models(), slices)
def test_a_checked_pass_takes_no_less_time(cost: CostModel, parts: list[Slice]) -> None:
    times = [cost.forward(parts, cut).duration_s for cut in ("none", "chunk", "layer", "block", "operator")]
    assert times[0] == times[1]
    assert all(a <= b * (1 + 1e-12) for a, b in pairwise(times))


@given(cost_models(), slices)
def test_batching_shares_what_does_not_grow_with_tokens(cost: CostModel, parts: list[Slice]) -> None:
    together = cost.forward(parts, "none").duration_s
    apart = sum(cost.forward([part], "none").duration_s for part in parts)
    assert together <= apart * (1 + 1e-12)


@pytest.mark.parametrize(
    ("proceed_us", "known_us", "expected_us"),
    [
        (None, 40.0, (100.0, 70.0, 70.0)),
        (30.0, 30.0, (0.0, 0.0, 180.0)),
        (60.0, 40.0, (20.0, 0.0, 150.0)),
        (180.0, 40.0, (100.0, 40.0, 70.0)),
    ],
)
def test_a_stop_at_a_cut_takes_less_if_the_same_pass_proceeds(
    proceed_us: float | None, known_us: float, expected_us: tuple[float, ...]
) -> None:
    """Elsewhere 40 us until the stop is known, 100 us of decision and 70 us until another pass begins."""
    proceed = proceed_us and (lambda tokens: proceed_us * 1e-6)
    options: Any = {"acknowledge_s": 40e-6, "resume_s": 70e-6, "decision": lambda seen: 50e-6 * seen}
    cost = CostModel("by hand", 1, {}, lambda tokens, context: 0.0, proceed=proceed or None, **options)
    assert cost.known_at_cut_s(64) * 1e6 == pytest.approx(known_us)
    assert [1e6 * of_s for of_s in cost.stop_times(64, 2)] == pytest.approx(expected_us)


def test_launches_name_every_operator_on_both_clocks() -> None:
    cost = CostModel(
        "by hand",
        3,
        {"embed": lambda n: 0.5 * n, "qkv_proj": lambda n: 2.0 * n, "head": lambda n: 7.0 * n},
        lambda tokens, context: tokens * 100.0 + context,
        {"prepare": lambda n: 9.0, "qkv_proj": lambda n: 0.25, "head": lambda n: 0.125},
        attention_launch=lambda tokens, context: 3.0,
    )
    lead, layer, tail, check_s = cost.launches([Slice(2, 0), Slice(4, 10)])
    assert lead == [Launch(9.0, 0.0), Launch(0.0, 3.0)]
    assert layer[LAYER_OPERATORS.index("qkv_proj")] == Launch(0.25, 12.0)
    assert layer[ATTENTION] == Launch(6.0, 610.0, 2)  # a call for each slice
    assert tail == Launch(0.125, 14.0)
    assert check_s == cost.check_s


def test_times_written_out() -> None:
    """Two layers of qkv (1 s launch, 3 s run) and down (1 s, 0.5 s), a head of (1 s, 1 s), checks of 0.25 s."""
    cost = CostModel(
        "by hand",
        2,
        {"qkv_proj": lambda n: 3.0, "down_proj": lambda n: 0.5, "head": lambda n: 1.0},
        lambda tokens, context: 0.0,
        {name: lambda n: 1.0 for name in ("qkv_proj", "down_proj", "head")},
        check_s=0.25,
    )
    # Unchecked, the device runs 1-4-4.5, 4.5-7.5-8, 8-9, and the read-out checks once.
    assert cost.forward_s(5) == 9.25
    # Checked at layers: 1-4-4.5 and a check; then the same again from 4.75; then 1 + 1 + 0.25 for the head.
    timeline = PassCosts(cost, ServerOptions(), "layer").timeline([Slice(5, 0)])
    assert [timeline.cut_s(0), timeline.cut_s(1), timeline.duration_s] == [4.75, 9.5, 11.75]
    # At operators, five checks a layer: 1 + 3, three of nothing, 1 + 0.5, each with its check.
    timeline = PassCosts(cost, ServerOptions(), "operator").timeline([Slice(5, 0)])
    assert [timeline.cut_s(i) for i in range(5)] == [4.25, 4.5, 4.75, 5.0, 6.75]


def test_an_operator_of_several_calls_begins_before_it_is_launched_whole() -> None:
    """One layer of rope in 4 calls (4 s to launch, 8 s to run), then attention in 2 (6 s to launch, 1 s to run)."""
    cost = CostModel(
        "by hand",
        1,
        {"rope_kv": lambda n: 8.0},
        lambda tokens, context: 1.0,
        {"rope_kv": lambda n: 4.0},
        attention_launch=lambda tokens, context: 6.0,
        calls={"rope_kv": 4},
        attention_calls=lambda tokens, context: 2,
    )
    # Rope runs from 1 to 9; attention's calls are through at 7 and 10 and run 9-9.5 and 10-10.5.
    assert cost.forward_s(1) == 10.5
    # A check behind each operator: rope and attention are one segment at this cut.
    timeline = PassCosts(cost, ServerOptions(), "operator").timeline([Slice(1, 0)])
    assert [timeline.cut_s(i) for i in range(2)] == [0.0, 10.5]


def test_prompts_alone_are_computed_once() -> None:
    asked = []
    cost = CostModel("counted", 2, {"down_proj": lambda n: asked.append(n) or 1.0}, lambda tokens, context: 0.0)
    for _ in range(3):
        costs = PassCosts(cost, ServerOptions(), "layer")
        costs.solo_s(7, 3)
        costs.timeline([Slice(7, 3)])
    assert asked == [7]


def test_a_model_shows_its_name() -> None:
    assert repr(pencil()) == "CostModel(pencil: 2048 tokens alone 2048000.0 ms)"


def test_work_counts_query_key_pairs() -> None:
    assert query_key_pairs(1, 0) == 1
    assert query_key_pairs(4, 0) == 1 + 2 + 3 + 4
    assert query_key_pairs(3, 10) == 11 + 12 + 13


GRID = [(tokens, context) for context in (0, 512, 4096) for tokens in (16, 128, 1024, 8192)]


@given(st.floats(0.0, 1e-3), st.floats(1e-12, 1e-9), st.integers(1, 20000), st.integers(0, 20000))
def test_attention_is_exact_for_a_fixed_cost_plus_one_by_work(a: float, b: float, tokens: int, context: int) -> None:
    sizes, contexts = (np.array(column) for column in zip(*GRID, strict=True))
    curve = AttentionCurve(sizes, contexts, a + b * query_key_pairs(sizes, contexts))
    assert curve(tokens, context) == pytest.approx(a + b * query_key_pairs(tokens, context), rel=1e-9)
    assert curve(0, context) == 0.0


@st.composite
def measured_attention(draw: st.DrawFn) -> AttentionCurve:
    """Any costs, at any sizes on any contexts, with waves or without."""
    rows = []
    for context in sorted(draw(st.sets(st.integers(0, 9000), min_size=1, max_size=4))):
        tokens = sorted(draw(st.sets(st.integers(1, 20000), min_size=1, max_size=5)))
        rows += [(size, context, draw(st.floats(1e-6, 1.0))) for size in tokens]
    waves = draw(st.none() | st.builds(Waves, st.integers(1, 64), st.integers(1, 200)))
    sizes, contexts, values = (np.array(column) for column in zip(*rows, strict=True))
    return AttentionCurve(sizes, contexts, values, waves)


@given(measured_attention(), st.data())
def test_attention_never_falls(curve: AttentionCurve, data: st.DataObject) -> None:
    tokens = sorted(data.draw(st.lists(st.integers(1, 30000), min_size=2, max_size=2)))
    context = sorted(data.draw(st.lists(st.integers(0, 12000), min_size=2, max_size=2)))
    assert curve(tokens[0], context[0]) <= curve(tokens[1], context[0]) * (1 + 1e-9)
    assert curve(tokens[0], context[0]) <= curve(tokens[0], context[1]) * (1 + 1e-9)


def test_attention_measured_without_context_goes_by_work_alone() -> None:
    curve = AttentionCurve(np.array([10, 20]), np.array([0, 0]), np.array([55.0, 210.0]))
    assert [curve(10, 0), curve(15, 0), curve(10, 10)] == pytest.approx([55.0, 120.0, 155.0])
