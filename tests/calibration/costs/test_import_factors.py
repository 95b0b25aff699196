"""By how much imported tables are fast, and their correction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flowsim.calibration.costs.curves import query_key_pairs
from flowsim.calibration.costs.fit import fit
from flowsim.calibration.costs.import_factors import SIZES, ImportFactors, corrected, known_factors
from flowsim.calibration.costs.provenance import Provenance
from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.costs.table_catalogue import load_table, shipped_tables
from flowsim.calibration.costs.table_rows import OperatorRow
from flowsim.errors import InputError


def imported(model: str = "llama3-8b", framework: str | None = "vllm") -> OperatorTable:
    """A table with the rows of a measured one that says that it was imported."""
    return load_table("h200", model).stating(source="a page", framework=framework)


def test_a_table_says_of_what_kind_it_is() -> None:
    kinds = [Provenance.of(about).kind for about in ({}, {"source": "a page"}, {"modelled_from": "h200/x/tp1"})]
    assert kinds == ["measured", "imported", "modelled"]
    assert {load_table(*name).provenance.kind for name in shipped_tables()} == {"measured"}


def test_the_factors_are_those_of_the_two_gpus_that_have_both_tables() -> None:
    """As first found: measured over imported time of llama3-8b, from 512 tokens to the most, H200 and H100."""
    known = {(one.gpu, one.model): one.factors for one in known_factors() if one.framework == "vllm"}
    assert known["h200", "llama3-8b"][0] == pytest.approx(1.26, abs=0.005)
    assert min(known["h200", "llama3-8b"]) == pytest.approx(1.16, abs=0.005)
    assert known["h100", "llama3-8b"][0] == pytest.approx(1.33, abs=0.005)
    assert known["h100", "llama3-8b"][-1] == pytest.approx(1.17, abs=0.005)


def test_the_factor_of_a_kind_is_the_median_and_its_spread_the_error() -> None:
    kind = ("vllm", False, "bf16")
    dense = np.array([one.factors for one in known_factors() if (one.framework, one.experts, one.weights) == kind])
    assert dense.shape == (10, len(SIZES))
    factors = ImportFactors.of(imported().provenance)
    assert factors is not None
    assert factors.compared == 10
    assert factors.median == pytest.approx(np.median(dense, axis=0))
    assert factors.error == pytest.approx(dense.max() - 1)
    told = ImportFactors.of(corrected(imported()).provenance)
    assert told is not None
    left_out = [np.abs(dense[n] / np.median(np.delete(dense, n, axis=0), axis=0) - 1).max() for n in range(10)]
    assert told.error == pytest.approx(max(left_out))
    experts = ImportFactors.of(imported("qwen3-30b-a3b").provenance)
    assert experts is not None
    assert experts.compared == 2 and experts.error is not None
    few = ImportFactors.of(corrected(imported("qwen3-30b-a3b")).provenance)
    assert few is not None and few.error is None


def test_a_factor_lies_between_those_of_its_neighbours() -> None:
    factors = ImportFactors(1, (512, 1024), (1.4, 1.2), (1.4, 1.2), (1.4, 1.2))
    assert [factors.at(tokens) for tokens in (1, 512, 640, 1024, 9999)] == pytest.approx([1.4, 1.4, 1.35, 1.2, 1.2])


def test_a_corrected_table_has_each_device_time_multiplied_and_host_times_as_they_were() -> None:
    table = imported()
    row = OperatorRow("all_reduce", 1024, 0, 10.0, 9.0, 11.0, 2.0, 5, "NCCL")
    table = replace(table, operators=(*table.operators, row))
    factors = ImportFactors.of(table.provenance)
    assert factors is not None
    for before, after in zip(table.operators, corrected(table).operators, strict=True):
        tokens = (2 * query_key_pairs(before.tokens, before.context)) ** 0.5 if before.context else before.tokens
        times = 1.0 if before.operator == "all_reduce" else factors.at(tokens)
        assert after.device_us == pytest.approx(before.device_us * times, abs=1e-3)
        assert after.host_us == before.host_us


@pytest.mark.parametrize("tokens", [1024, 4096, 16384])
def test_a_whole_prompt_takes_longer_by_the_factor_of_its_tokens(tokens: int) -> None:
    table = imported()
    factors = ImportFactors.of(table.provenance)
    assert factors is not None
    before_s, after_s = (fit(one).forward_s(tokens) for one in (table, corrected(table)))
    assert after_s / before_s == pytest.approx(factors.at(tokens), rel=0.01)


def test_only_an_imported_table_is_corrected() -> None:
    with pytest.raises(InputError, match=r"^correct: h200/llama3-8b/tp1 is a measured table; expected an imported one"):
        corrected(load_table("h200", "llama3-8b"))
    with pytest.raises(InputError, match=r"^correct: no measured table tells how fast imports of a page in bf16 are$"):
        corrected(imported(framework=None))
    assert ImportFactors.of(imported(framework=None).provenance) is None
    assert fit(load_table("h200", "llama3-8b")).provenance.factors is None
