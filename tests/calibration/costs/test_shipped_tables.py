"""The shipped tables: how much the fit differs from what was measured and not fitted, and that no curve ever falls."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from docs.written import accuracy
from flowsim.calibration.costs.accuracy import bias, leave_one_out, pass_errors, pass_residuals
from flowsim.calibration.costs.cost_model import CostModel
from flowsim.calibration.costs.fit import fit, fit_passes
from flowsim.calibration.costs.models import load_model
from flowsim.calibration.costs.pass_kinds import LONG_PROMPT
from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.costs.table_catalogue import load_table, shipped_tables
from flowsim.calibration.costs.table_rows import ALL_REDUCE
from flowsim.core.operators import CHECKED_AFTER, LAYER_OPERATORS
from support.places import DATA

WHOLE = [name for name in sorted(shipped_tables()) if name[2] == 1 or load_table(*name).has(ALL_REDUCE)]
"""All that a run can be costed with; the others are ranks that lack their all-reduces."""
ELSEWHERE = sorted((DATA / "passes").iterdir())
"""Whole passes of the same models that were measured apart from their tables, on other GPUs (`calibrate verify`)."""
FEW = ("h200-llama3-70b",)
"""Those of one or two sizes of each kind (`--quick`)."""
MOST_THERE = {
    ("h200-llama3-8b-fp8-2", "graph: whole prompt, below 1024 tokens"): 0.036,
    ("h200-llama3-70b-2", "checked at every operator, from 1024 tokens"): 0.027,
    ("h200-llama3-70b-2", "graph: whole prompt, below 1024 tokens"): 0.029,
    ("h200-llama3-8b-4", "graph: checked at every layer, below 1024 tokens"): 0.028,
}
"""The bars of GPUs, 1 to 2 % slower or faster than the tables, where four kinds of passes exceed MOST by a little."""
SLOW_HOST = {"h200-llama3-8b-fp8"}
"""Runs on a slow host, for which passes wait up to 2,500 tokens unless they are recorded: those prove nothing there."""
SLOWER = {"h200-llama3-8b-3": (0.026, 0.08)}
"""A calibration on that GPU: its bars of the median and of the largest difference."""

of_each, of_elsewhere = (
    pytest.mark.parametrize("name", WHOLE, ids=str),
    pytest.mark.parametrize("folder", ELSEWHERE, ids=lambda folder: folder.name),
)

MOST = {
    "whole prompt, from 1024 tokens": 0.02,
    "whole prompt, below 1024 tokens": 0.035,
    "chunk on context": 0.031,
    "packed prompts": 0.04,
    "checked at every layer, from 1024 tokens": 0.03,
    "checked at every layer, below 1024 tokens": 0.055,
    "checked at every block, from 1024 tokens": 0.026,
    "checked at every block, below 1024 tokens": 0.06,
    "checked at every operator, from 1024 tokens": 0.025,
    "checked at every operator, below 1024 tokens": 0.075,
    "graph: whole prompt, below 1024 tokens": 0.025,
    "graph: checked at every layer, below 1024 tokens": 0.026,
    "graph: checked at every block, below 1024 tokens": 0.04,
    "graph: checked at every operator, below 1024 tokens": 0.045,
}
"""Kind of pass -> the largest median error that a shipped table may have in a run of its own on another GPU."""
MOST_OF = {
    "h200": MOST,
    "h100": {
        **MOST,
        "chunk on context": 0.015,
        "checked at every block, below 1024 tokens": 0.065,
        "checked at every operator, below 1024 tokens": 0.09,
        "graph: whole prompt, below 1024 tokens": 0.035,
        "graph: checked at every layer, below 1024 tokens": 0.04,
        "graph: checked at every operator, below 1024 tokens": 0.075,
    },
}
"""GPU -> the same; that of the H100 had a busy host."""
ON_ANY_HOST = {
    "whole prompt, from 1024 tokens": 0.03,
    "whole prompt, below 1024 tokens": 0.12,
    "chunk on context": 0.055,
    "packed prompts": 0.1,
    "checked at every layer, from 1024 tokens": 0.11,
    "checked at every operator, from 1024 tokens": 0.16,
    "graph: whole prompt, below 1024 tokens": 0.025,
    "graph: checked at every operator, below 1024 tokens": 0.06,
}
"""Kind of pass -> the largest median error of any shipped table of one GPU; mixtures of experts wait for the host."""
MOST_ELSEWHERE, MOST_BESIDE = 0.06, 0.04
"""The largest error at a whole prompt from 1024 tokens, in a run of its own on another GPU of this kind, and what is
left of it with the GPU's speed taken off."""
ODD = {
    ("h200", "qwen3-32b"): (1100, 1500),
    ("h200", "qwen3-32b-fp8"): (1100,),
    ("h100", "llama3-8b"): (1100,),
}
"""GPU and model -> sizes that miss more than that, at most by 8 %."""

TOKENS = np.unique(np.geomspace(1, 40000, 1500).astype(int)).tolist()
CONTEXT = [0, 1, *np.unique(np.geomspace(2, 100000, 150).astype(int)).tolist()]


@cache
def model(name: tuple[str, str, int]) -> CostModel:
    return fit(load_table(*name))


def rises(values: list[float]) -> bool:
    return all(a <= b * (1 + 1e-12) for a, b in pairwise(values))


@of_each
def test_it_says_what_was_measured_where_and_when(name: tuple[str, str, int]) -> None:
    about, (gpu, model_name, tp) = load_table(*name).provenance, name
    assert (about.gpu, about.model, about.tp) == (gpu, model_name, tp)
    assert load_model(model_name).layers == about.rank().spec.layers >= about.layers_of_passes()
    assert {
        "gpu_name",
        "torch",
        "cuda",
        "driver",
        "dtype",
        "date",
        "clocks_mhz",
        "power_w",
        "seed",
        "multiprocessors",
    } <= about.stated.keys()


@of_each
def test_prefills_bound_by_the_device_cost_what_was_measured(name: tuple[str, str, int]) -> None:
    assert model(name).provenance.error["whole prompt, from 1024 tokens"].median < 0.045


@pytest.mark.parametrize("name", [name for name in WHOLE if name[2] == 1], ids=str)
def test_the_stated_error_is_bounded_on_a_restless_host_too(name: tuple[str, str, int]) -> None:
    errors = model(name).provenance.error
    for kind, most in ON_ANY_HOST.items():
        assert errors[kind].median < most, kind


def test_ranks_wait_for_the_slowest_of_their_hosts() -> None:
    """Below 1024 tokens groups of two were 14 % slower (median) than one host launches."""
    groups = [name for name in WHOLE if name[2] == 2]
    errors = [model(name).provenance.error["whole prompt, below 1024 tokens"].median for name in groups]
    assert len(groups) == 6
    assert np.median(errors) < 0.06
    assert sorted(errors)[-2] < 0.115


def elsewhere(folder: Path) -> tuple[CostModel, OperatorTable]:
    """The passes of a run of its own, and the cost model that they are held against."""
    measured = OperatorTable.load(folder)
    about = measured.provenance
    assert about.gpu and about.model and about.tp
    return fit_passes(load_table(about.gpu, about.model, about.tp)), measured


@of_elsewhere
def test_the_error_is_small_in_a_run_of_its_own_on_another_gpu(folder: Path) -> None:
    cost, measured = elsewhere(folder)
    errors = pass_errors(cost, measured)
    for kind, most in MOST_OF[measured.provenance.gpu].items():
        waits = "checked" in kind or kind == "whole prompt, below 1024 tokens"
        if kind in errors and not (waits and folder.name in SLOW_HOST):
            most = MOST_THERE.get((folder.name, kind), 2.2 * most if folder.name in FEW else most)
            assert errors[kind].median < most, kind
    assert len(MOST.keys() - errors.keys()) in (0, 4)  # older runs are without recordings


@of_elsewhere
def test_another_gpu_of_the_kind_is_some_per_cent_faster_or_slower(folder: Path) -> None:
    """And nothing else: with that taken off, whole prompts take what the table says."""
    cost, measured = elsewhere(folder)
    longer = bias(cost, measured)
    assert longer is not None
    assert abs(longer) < 0.02
    errors = {row.shape[0][0]: e for row, what, e in pass_residuals(cost, measured) if what == LONG_PROMPT}
    assert len(errors) == (2 if folder.name in FEW else 12)
    for tokens, error in errors.items():
        if tokens < 2500 and folder.name in SLOW_HOST:
            continue
        odd = tokens in ODD.get((measured.provenance.gpu, measured.provenance.model), ())
        assert abs(error) < (0.08 if odd else MOST_ELSEWHERE), tokens
        assert abs((1 + error) * (1 + longer) - 1) < (0.08 if odd else MOST_BESIDE), tokens


@pytest.mark.parametrize("model_name", accuracy.DENSE)
def test_another_calibration_of_another_run_says_the_same(model_name: str) -> None:
    found = accuracy.recalibrations("h200", model_name, 1)
    assert found
    for folder, _, times in found:
        median, largest = SLOWER.get(folder.name, (0.02, 0.065))
        assert abs(np.median(times) - 1) < median, folder
        assert max(abs(times_as_long - 1) for times_as_long in times) < largest, folder


@of_each
@pytest.mark.parametrize("operator", [*LAYER_OPERATORS, "embed", "head"])
def test_no_operator_gets_cheaper_with_more_tokens(name: tuple[str, str, int], operator: str) -> None:
    cost = model(name)
    if operator == "attention":
        assert all(rises([cost.attention(tokens, context) for tokens in TOKENS]) for context in (0, 100, 3000, 50000))
    elif operator in cost.device:
        assert rises([cost.device[operator](tokens) for tokens in TOKENS])


@of_each
@pytest.mark.parametrize("tokens", [1, 100, 1000, 8192])
def test_attention_never_gets_cheaper_with_more_context(name: tuple[str, str, int], tokens: int) -> None:
    assert rises([model(name).attention(tokens, context) for context in CONTEXT])


@of_each
@pytest.mark.parametrize("cut", CHECKED_AFTER)
def test_no_pass_gets_faster_with_more_tokens_or_context(name: tuple[str, str, int], cut: str) -> None:
    """But for what another attention kernel, chosen for the larger one, is launched faster."""
    cost = model(name)
    launches = [cost.attention_launch(tokens, context) for tokens in (1, 64, 512, 4096) for context in CONTEXT]
    spread_s = cost.layers * (max(launches) - min(launches) / 6)
    growing = [cost.forward_s(tokens, 0, cut) for tokens in TOKENS]
    deeper = [cost.forward_s(512, context, cut) for context in CONTEXT]
    assert all(a <= b + spread_s for values in (growing, deeper) for a, b in pairwise(values))


@of_each
def test_checks_cost_no_less_than_none_and_finer_ones_no_less_than_coarser(name: tuple[str, str, int]) -> None:
    cost = model(name)
    for tokens in (1, 64, 512, 2048, 16384):
        assert rises([cost.forward_s(tokens, 0, cut) for cut in ("none", "layer", "block", "operator")])


@of_each
def test_the_cache_holds_what_memory_leaves_beside_the_weights(name: tuple[str, str, int]) -> None:
    cost, about = model(name), load_table(*name).provenance
    rank = load_model(name[1]).shard(name[2])
    used = rank.weight_bytes + cost.kv_capacity_tokens * rank.kv_bytes_per_token
    room = 0.9 * about.rank().memory_bytes
    assert room - rank.kv_bytes_per_token < used <= max(room, rank.weight_bytes)


@of_each
def test_the_host_takes_a_moment_for_everything_it_does(name: tuple[str, str, int]) -> None:
    cost = model(name)
    for once_s in (cost.check_s, cost.acknowledge_s, cost.resume_s, cost.decision(1), cost.decision(1000)):
        assert 0 < once_s < 5e-3


@of_each
def test_the_stored_leave_one_out_errors_are_those_of_the_rows(name: tuple[str, str, int]) -> None:
    table = load_table(*name)
    computed = leave_one_out(table)
    for operator, stored in table.provenance.leave_one_out.items():
        assert stored == pytest.approx(computed[operator], abs=1e-6)
