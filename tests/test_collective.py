from dataclasses import replace

import pytest

from flowsim.calibration.collective import WIDTH, join, measure_all_reduce
from flowsim.calibration.fit import fit
from flowsim.calibration.table import ALL_REDUCE, OperatorRow, OperatorTable, load_table
from flowsim.calibration.timing import Limits
from flowsim.errors import InputError

ROWS = tuple(OperatorRow(ALL_REDUCE, n, 0, 10.0 + n, 9.0 + n, 11.0 + n, 4.0, 48, "nccl") for n in (1, 1024, 65536))
COLLECTIVE = OperatorTable({"schema_version": 1, "gpu": "h200", "model": ALL_REDUCE, "width": 8192, "tp": 2}, ROWS)


def shard() -> OperatorTable:
    whole = load_table("h200", "llama3-8b")
    return replace(whole, provenance={**whole.provenance, "tp": 2})


def test_a_rank_joined_with_its_all_reduces_costs_two_a_layer() -> None:
    table = join(shard(), COLLECTIVE)
    cost, alone = fit(table), fit(load_table("h200", "llama3-8b"))
    # 2048 tokens 4096 wide have the bytes of 1024 tokens 8192 wide.
    assert cost.device["all_reduce_attn"](2048) == cost.device["all_reduce_mlp"](2048) == pytest.approx(1034e-6)
    more = 2 * 32 * 1034e-6
    assert cost.solo_s(2048) == pytest.approx(alone.solo_s(2048) + more, rel=1e-3)
    assert cost.tp == 2
    assert table.provenance[ALL_REDUCE]["sha256"] == COLLECTIVE.digest()
    assert join(table, COLLECTIVE).operators == table.operators
    # Passes were measured on one rank without all-reduces; they are held against the same.
    assert cost.provenance["error"] == alone.provenance["error"]


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(InputError, match="llama3-8b/tp2: found a rank without all_reduce rows; allowed:"):
        fit(shard())
    with pytest.raises(InputError, match="tp of the all-reduce: found 2; allowed: 1"):
        join(load_table("h200", "llama3-8b"), COLLECTIVE)
    with pytest.raises(InputError, match="join: allowed: the table of a model, then one made by"):
        join(COLLECTIVE, shard())


def test_two_processes_reduce_on_the_cpu() -> None:
    pytest.importorskip("torch")
    table = measure_all_reduce(2, device="cpu", tokens=(1, 64), limits=Limits(2, 3, 0.1, 0.0))
    assert [(r.operator, r.tokens, r.backend) for r in table.operators] == [
        (ALL_REDUCE, 1, "gloo"),
        (ALL_REDUCE, 64, "gloo"),
    ]
    assert all(r.device_us > 0 and r.repeats >= 12 for r in table.operators)
    assert {k: table.provenance[k] for k in ("gpu", "tp", "width", "backend")} == {
        "gpu": "cpu", "tp": 2, "width": WIDTH, "backend": "gloo",
    }  # fmt: skip


def test_it_takes_two() -> None:
    pytest.importorskip("torch")
    with pytest.raises(InputError, match="tp: found 1; allowed: 2 or more"):
        measure_all_reduce(1, device="cpu")
