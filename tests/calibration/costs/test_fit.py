"""Fitting: each fact of a cost model comes from its own rows of the table."""

import re
from dataclasses import replace
from typing import Any

import pytest

from flowsim.calibration.costs.accuracy import pass_errors
from flowsim.calibration.costs.fit import fit
from flowsim.calibration.costs.host_times import proceed_of_h200
from flowsim.calibration.costs.models import EXPERTS
from flowsim.calibration.costs.pass_costs import PassCosts
from flowsim.calibration.costs.provenance import Provenance
from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.costs.table_rows import HOST_OPERATORS, OperatorRow, PassRow
from flowsim.core.operators import LAYER_OPERATORS
from flowsim.core.pass_timeline import Slice
from flowsim.core.server import ServerOptions
from flowsim.errors import InputError

SPEC = {
    "name": "tiny", "layers": 2, "hidden": 64, "heads": 4, "kv_heads": 2, "head_dim": 16, "intermediate": 128,
    "vocab": 256, "max_context": 2048, "rope_theta": 1e4, "norm_eps": 1e-5,
}  # fmt: skip
ABOUT = {
    "schema_version": 1, "gpu": "pencil", "model": "tiny", "model_spec": SPEC, "tp": 1, "memory_bytes": 10_000_000,
    "pass_layers": 2,
}  # fmt: skip

DENSE = (
    *("norm_attn", "qkv_proj", "rope_kv", "attention", "o_proj"),
    *("norm_mlp", "gate_up_proj", "activation", "down_proj"),
)


def row(operator: str, tokens: int, device_us: float, host_us: float) -> OperatorRow:
    return OperatorRow(operator, tokens, 0, device_us, device_us, device_us, host_us, 10, "pencil")


def table() -> OperatorTable:
    """Operator number k takes 100 k us at 1 token and twice that at 101; the host launches each in k us."""
    names = (*DENSE, "embed", "head")
    rows = [row(n, t, 100.0 * k * f, 1.0 * k) for k, n in enumerate(names, 1) for t, f in ((1, 1), (101, 2))]
    rows += [row(name, 1, 0.0, 1000.0 * k) for k, name in enumerate(HOST_OPERATORS, 1) if name != "decision"]
    rows += [row("decision", queue, 0.0, 5.0 * queue) for queue in (1, 101)]
    return OperatorTable(Provenance.of(ABOUT), tuple(rows))


def test_every_fact_comes_from_its_own_rows() -> None:
    model = fit(table())
    assert (model.name, model.layers, model.tp) == ("pencil/tiny/tp1", 2, 1)
    assert HOST_OPERATORS == ("prepare", "check", "resume", "acknowledge", "decision")
    assert [model.check_s, model.resume_s, model.acknowledge_s] == [2e-3, 3e-3, 4e-3]
    assert [round(model.decision(queue), 9) for queue in (1, 11, 101)] == [5e-6, 55e-6, 505e-6]


def test_what_a_pass_takes_to_proceed_at_a_cut_is_measured_or_that_of_an_h200() -> None:
    rows = row("proceed", 1, 0.0, 50.0), row("proceed", 101, 0.0, 150.0)
    measured = fit(replace(table(), operators=(*table().operators, *rows))).proceed
    assumed = fit(table()).proceed
    assert measured and [round(measured(tokens), 9) for tokens in (1, 51, 101)] == [50e-6, 100e-6, 150e-6]
    assert assumed is proceed_of_h200


def test_an_operator_is_as_many_calls_as_were_counted() -> None:
    counted = table().stating(calls={"rope_kv": 5, "head": 4, "pencil": 3})
    _, layer, head, _ = fit(counted).launches([Slice(51, 0), Slice(2, 0)])
    calls = dict(zip(LAYER_OPERATORS, (launch.calls for launch in layer), strict=True))
    assert {name: n for name, n in calls.items() if n != 1} == {"rope_kv": 5, "attention": 6}
    assert head.calls == 4


def test_the_host_takes_what_is_usual_over_all_sizes() -> None:
    more = [row("norm_attn", tokens, 1e3, us) for tokens, us in ((3, 1.2), (5, 1.3), (7, 4.0), (9, 4.5))]
    _, layer, *_ = fit(replace(table(), operators=(*table().operators, *more))).launches([Slice(51, 0)])
    assert layer[0].host_s == pytest.approx(1.1e-6)  # of 1, 1, 1.2, 1.3, 4 and 4.5 us


def test_ranks_launch_as_slowly_as_the_slowest_of_their_hosts() -> None:
    rows = *table().operators, row("all_reduce", 1, 50.0, 30.0), row("all_reduce", 101, 50.0, 30.0)
    ranks = replace(table(), operators=rows).stating(tp=2)
    alone, together = (fit(one).launches([Slice(51, 0)]) for one in (table(), ranks))
    for place, launch in enumerate(together.layer):
        expected = 36e-6 if "reduce" in LAYER_OPERATORS[place] else 1.2 * alone.layer[place].host_s
        assert launch.host_s == pytest.approx(expected)
    assert together.lead[0] == alone.lead[0]


def test_the_host_takes_its_own_pace_where_it_was_busy_for_most_of_the_table() -> None:
    names = [name for name in LAYER_OPERATORS if "reduce" not in name]
    times = ((3, 100.0), (5, 104.0), (7, 200.0), (9, 205.0), (11, 210.0), (13, 215.0))
    kept = [r for r in table().operators if r.operator not in names or r.context]
    more = [row(name, tokens, 1e3, us) for name in names for tokens, us in times]
    _, layer, *_ = fit(replace(table(), operators=(*kept, *more))).launches([Slice(51, 0)])
    assert layer[0].host_s == pytest.approx(102e-6)


def test_the_host_s_part_of_recordings_is_that_of_short_ones() -> None:
    rows = [row("graph", tokens, 1e5, 0.0) for tokens in (64, 1024)]
    for name, of_short, of_long in (("graph_prepare", 50.0, 90.0), ("graph_check", 10.0, 15.0)):
        rows += [row(name, tokens, 0.0, of_short if tokens == 64 else of_long) for tokens in (64, 512, 1024)]
    for least in (64, 512):  # without a short one the smallest counts
        kept = [r for r in rows if r.tokens >= least or r.operator == "graph"]
        graph = fit(replace(table(), operators=(*table().operators, *kept))).graph
        assert graph is not None
        took = (graph.prepare(64), graph.check(1024))
        assert took == pytest.approx((50e-6, 10e-6) if least == 64 else (90e-6, 15e-6))


@pytest.mark.parametrize("calls", [{"qkv_proj": 0}, {"qkv_proj": 1.5}, [2], "two"])
def test_calls_are_counted_from_one(calls: object) -> None:
    with pytest.raises(InputError, match="calls"):
        fit(table().stating(calls=calls))


def test_a_boost_is_what_the_provenance_states_and_else_there_is_none() -> None:
    assert fit(table()).boost is None
    stated = {"window_s": 0.04, "threshold": 0.7, "gain": [[256, 0.01], [1024, 0.08]]}
    model = fit(table().stating(boost=stated))
    assert model.boost is not None
    assert (model.boost.window_s, model.boost.gain(1024)) == (0.04, 0.08)
    assert model.forward_s(1024) == fit(table()).forward_s(1024)  # a cost model tells what a busy GPU takes
    with pytest.raises(InputError, match=r"boost must be a mapping of window_s, threshold, gain, got 0\.08"):
        fit(table().stating(boost=0.08))


def test_recordings_timed_on_a_idle_gpu_have_a_gain_of_their_own() -> None:
    stated = {"window_s": 1e6, "threshold": 0.7, "gain": [[64, 0.5]]}
    source = recorded().stating(boost=stated)
    unknown = fit(source).boost
    assert unknown is not None
    assert unknown.recorded_gain is None
    faster = [row("graph_rested", n, us, 0.0) for n, us in ((64, 2700.0 / 1.08), (192, 1.0))]
    with pytest.raises(InputError, match="operators: graph_rested at 192 tokens has no row of graph at that size"):
        fit(replace(source, operators=(*source.operators, *faster)))
    faster = faster[:1]
    known = fit(replace(source, operators=(*source.operators, *faster))).boost
    assert known is not None
    assert known.recorded_gain is not None
    assert [known.recorded_gain(n) for n in (64, 128)] == pytest.approx([0.08, 0.08])
    assert known.gain(64) == 0.5


def test_operators_cost_what_the_rows_say() -> None:
    lead, layer, head, _ = fit(table()).launches([Slice(51, 0)])
    device_us = [round(launch.device_s * 1e6, 6) for launch in layer]
    at = [LAYER_OPERATORS.index(name) for name in DENSE]
    linear = [150.0 * k for k in range(1, 10)]
    assert [device_us[at[k]] for k in range(9) if k != 3] == [us for k, us in enumerate(linear) if k != 3]
    # Attention goes with the work: 51 tokens are 1326 of the 1 to 5151 pairs of the two rows.
    assert device_us[3] == round(400 + 400 * (1326 - 1) / (5151 - 1), 6)
    assert [round(layer[k].host_s * 1e6, 6) for k in at] == [float(k) for k in range(1, 10)]
    assert {layer[k] for k in range(len(layer)) if k not in at} == {(0.0, 0.0, 1)}  # what a dense layer lacks
    assert [round(launch.host_s * 1e6, 6) for launch in (*lead, head)] == [1000.0, 10.0, 11.0]
    assert [round(launch.device_s * 1e6, 6) for launch in (*lead, head)] == [0.0, 1500.0, 1100.0]


def recorded() -> OperatorTable:
    """With recordings of 64 and 128 tokens: a layer takes twice as long at 128; nothing else costs anything."""
    ends = 1100.0 + 1000.0  # embed and head, of which the row of a whole forward holds one each
    graphs = [row("graph", 64, ends + 2 * 300.0, 0.0), row("graph", 128, ends + 2 * 600.0, 0.0)]
    hosts = [row(name, n, 0.0, us) for name, us in (("graph_prepare", 20.0), ("graph_check", 10.0)) for n in (64, 128)]
    flat = [replace(r, device_us=1100.0 if r.operator == "head" else 1000.0) for r in table().operators]
    return replace(table(), operators=(*flat, *graphs, *hosts, row("complete", 1, 0.0, 7000.0)))


def test_a_recorded_forward_takes_what_was_measured_of_it_and_no_launches() -> None:
    model = fit(recorded())
    assert (model.acknowledge_s, model.complete_s) == (4e-3, pytest.approx(7e-3))
    whole_us = {1: 20 + 1000 + 600 + 1100 + 10, 64: 2730, 65: 20 + 1000 + 1200 + 1100 + 10}
    costs = PassCosts(model, ServerOptions(graph_tokens=128), "none")
    assert {n: round(costs.solo_s(n) * 1e6, 6) for n in whole_us} == whole_us
    checked = model.forward([Slice(64, 0)], "layer", recorded=True)
    assert round(checked.duration_s * 1e6, 6) == 2730 + 2 * 10
    assert round(checked.unchecked_s * 1e6, 6) == 2730
    for slices in ([Slice(129, 0)], [Slice(5, 3)], [Slice(5, 0), Slice(6, 0)]):
        assert costs.timeline(slices).duration_s == model.forward(slices, "none").duration_s


@pytest.mark.parametrize(
    ("source", "tokens", "message"),
    [
        (table, 64, "graph_tokens: pencil/tiny/tp1 was measured without recorded forwards; expected 0"),
        (recorded, 192, "graph_tokens must be <= 128 (the most measured for pencil/tiny/tp1), got 192"),
    ],
)
def test_recordings_that_were_not_measured_are_refused(source: Any, tokens: int, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        PassCosts(fit(source()), ServerOptions(graph_tokens=tokens), "none")


def test_passes_that_were_graphs_are_held_against_models_that_know_graphs_only() -> None:
    passes = (PassRow("none", "5@0", 5000.0, 5000.0, 5000.0, 3, 128), PassRow("none", "5@0", 9e3, 9e3, 9e3, 3))
    measured = replace(recorded(), passes=passes)
    assert set(pass_errors(fit(recorded()), measured)) == {
        "graph: whole prompt, below 1024 tokens",
        "whole prompt, below 1024 tokens",
    }
    assert set(pass_errors(fit(table()), measured)) == {"whole prompt, below 1024 tokens"}


def test_experts_in_one_operator_or_in_five() -> None:
    spec = SPEC | {"experts": 4, "experts_per_token": 2}
    about = {**ABOUT, "model_spec": spec}
    kept = [r for r in table().operators if r.operator not in ("gate_up_proj", "activation", "down_proj")]
    of = lambda names: [row(name, n, 100.0, 1.0) for name in ("router", *names) for n in (1, 101)]  # noqa: E731
    five = fit(OperatorTable(Provenance.of(about), (*kept, *of(EXPERTS))))
    one = fit(OperatorTable(Provenance.of(about), (*kept, *of(["experts"]))))
    assert [five.device[name](50) for name in EXPERTS] == [pytest.approx(1e-4)] * 5
    assert one.device["experts"](50) == pytest.approx(1e-4)
    assert five.forward_s(50) == pytest.approx(one.forward_s(50) + 2 * 4e-4)
