"""Fitting: each fact of a cost model comes from its own rows of the table."""

from dataclasses import replace

import pytest

from flowsim.calibration.fit import fit
from flowsim.calibration.table import HOST_OPERATORS, OperatorRow, OperatorTable
from flowsim.errors import InputError
from flowsim.forward import LAYER_OPERATORS, Slice

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
    return OperatorTable(ABOUT, tuple(rows))


def test_every_fact_comes_from_its_own_rows() -> None:
    model = fit(table())
    assert (model.name, model.layers, model.tp) == ("pencil/tiny/tp1", 2, 1)
    assert HOST_OPERATORS == ("prepare", "check", "resume", "acknowledge", "decision")
    assert [model.check_s, model.resume_s, model.acknowledge_s] == [2e-3, 3e-3, 4e-3]
    assert [round(model.decision(queue), 9) for queue in (1, 11, 101)] == [5e-6, 55e-6, 505e-6]


def test_an_operator_is_as_many_calls_as_were_counted() -> None:
    counted = replace(table(), provenance={**ABOUT, "calls": {"rope_kv": 5, "head": 4, "pencil": 3}})
    _, layer, head, _ = fit(counted).launches([Slice(51, 0), Slice(2, 0)])
    calls = dict(zip(LAYER_OPERATORS, (launch.calls for launch in layer), strict=True))
    assert {name: n for name, n in calls.items() if n != 1} == {"rope_kv": 5, "attention": 6}
    assert head.calls == 4


@pytest.mark.parametrize("calls", [{"qkv_proj": 0}, {"qkv_proj": 1.5}, [2], "two"])
def test_calls_are_counted_from_one(calls: object) -> None:
    with pytest.raises(InputError, match="provenance, calls: found"):
        fit(replace(table(), provenance={**ABOUT, "calls": calls}))


def test_a_boost_is_what_the_provenance_states_and_else_there_is_none() -> None:
    assert fit(table()).boost is None
    stated = {"window_s": 0.04, "threshold": 0.7, "gain": [[256, 0.01], [1024, 0.08]]}
    model = fit(replace(table(), provenance={**ABOUT, "boost": stated}))
    assert model.boost is not None
    assert (model.boost.window_s, model.boost.gain(1024)) == (0.04, 0.08)
    assert model.solo_s(1024) == fit(table()).solo_s(1024)  # a cost model tells what a busy GPU takes
    with pytest.raises(InputError, match=r"provenance, boost: found 0\.08; allowed: "):
        fit(replace(table(), provenance={**ABOUT, "boost": 0.08}))


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
