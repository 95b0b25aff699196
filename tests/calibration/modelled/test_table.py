"""Modelled tables: from which measured ones they are scaled, what they hold, and what they say of themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from flowsim.calibration.costs.fit import fit
from flowsim.calibration.costs.gpus import catalogue
from flowsim.calibration.costs.models import EXPERT_OPERATORS, load_model
from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.costs.table_catalogue import load_table
from flowsim.calibration.gpu.machine import check_measurable
from flowsim.calibration.modelled.table import measured_tables, modelled_table, nearest
from flowsim.errors import InputError
from flowsim.rendering.costs_text import cost_line
from flowsim.runs.costs import described, sources_of

LLAMA, QWEN = load_model("llama3-8b"), load_model("qwen3-32b")


def names(tables: list[OperatorTable]) -> set[tuple[str | None, str | None]]:
    return {(table.provenance.gpu, table.provenance.model) for table in tables}


@pytest.fixture(autouse=True)
def no_tables_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWSIM_TABLES", str(tmp_path / "tables"))


def test_a_gpu_is_modelled_from_itself_or_from_the_one_with_most_tables() -> None:
    assert {gpu for gpu, _ in names(measured_tables(LLAMA, "h100"))} == {"h100"}
    assert {gpu for gpu, _ in names(measured_tables(LLAMA, "h20"))} == {"h200"}
    assert {gpu for gpu, _ in names(measured_tables(load_model("qwen3-30b-a3b"), "h100"))} == {"h200"}  # has experts


def test_the_user_names_a_gpu_or_one_of_its_models() -> None:
    assert {gpu for gpu, _ in names(measured_tables(LLAMA, "h200", "h100"))} == {"h100"}
    assert names(measured_tables(LLAMA, "h20", "h200/qwen3-8b")) == {("h200", "qwen3-8b")}
    with pytest.raises(
        InputError, match=r"--from: unknown measured GPU 'h300'; did you mean 'h200'\? \(known: h100, h2"
    ):
        measured_tables(LLAMA, "h20", "h300")


def test_the_nearest_table_has_the_model_or_the_most_similar_heads() -> None:
    tables = measured_tables(LLAMA, "h200")
    assert nearest(LLAMA, tables).provenance.rank().name == "h200/llama3-8b/tp1"
    like_70b = replace(load_model("llama3-70b"), name="mine")
    assert nearest(like_70b, tables).provenance.rank().name in ("h200/llama3-70b/tp1", "h200/qwen3-32b/tp1")
    with pytest.raises(
        InputError,
        match=r"qwen3-30b-a3b: no measured table of these is of a mixture of experts in bf16, .* other tables",
    ):
        nearest(load_model("qwen3-30b-a3b"), measured_tables(LLAMA, "h100"))
    mixture = replace(load_model("qwen3-30b-a3b"), name="mine")
    assert nearest(mixture, measured_tables(mixture, "l4")).provenance.rank().name == "h200/qwen3-30b-a3b/tp1"


def test_host_times_are_the_nearest_table_s_and_device_times_are_scaled(tmp_path: Path) -> None:
    own = load_table("h200", "llama3-8b")
    table = modelled_table(LLAMA, "h20", catalogue()["h20"], [own])
    table.save(tmp_path / "t")
    assert OperatorTable.load(tmp_path / "t") == table
    before = {(row.operator, row.tokens, row.context): row for row in own.operators}
    for row in table.operators:
        old = before[row.operator, row.tokens, row.context]
        assert (row.host_us, row.backend) == (old.host_us, old.backend)
        assert row.repeats == (old.repeats if not old.device_us else 0)
    assert {row.operator for row in own.operators} - {row.operator for row in table.operators} == {
        "graph", "graph_rested", "graph_check", "graph_prepare",
    }  # fmt: skip
    h20, h200 = fit(table), fit(own)
    assert 5 < h20.forward_s(8192) / h200.forward_s(8192) < 989.4 / 148


def test_a_table_says_what_it_was_modelled_from() -> None:
    costs = fit(modelled_table(QWEN, "b200", catalogue()["b200"], measured_tables(QWEN, "b200")))
    assert costs.provenance is not None
    about = costs.provenance.table
    assert (about.kind, about.modelled_from) == ("modelled", "h200/qwen3-32b/tp1")
    assert about.stated["datasheet"]["source"] == "NVIDIA HGX B200 datasheet (2024), per GPU"
    assert "h200/llama3-8b/tp2" in about.stated["efficiencies_of"]
    assert cost_line(described(costs)) == (
        "b200/qwen3-32b/tp1, modelled; tables modelled like it differed from prefills of >= 1024 tokens "
        "by up to 14.9 % (median), 17.4 % (max)"
    )
    assert sources_of(costs, 0)[0].startswith("operators scaled from h200/qwen3-32b/tp1 and tables like it")
    assert costs.provenance.leave_one_out == {}  # nothing was measured that could be left out


def test_a_rank_is_modelled_without_all_reduces() -> None:
    table = modelled_table(LLAMA, "h20", catalogue()["h20"], [load_table("h200", "llama3-8b")], tp=2)
    with pytest.raises(InputError, match="no row of all_reduce"):
        fit(table)
    with pytest.raises(InputError, match="tp must be a divisor of llama3-8b's heads, 32, got 3"):
        modelled_table(LLAMA, "h20", catalogue()["h20"], [load_table("h200", "llama3-8b")], tp=3)


def test_all_of_fp8_costs_what_static_scales_cost_and_its_error_is_not_known() -> None:
    static, blocks = (replace(load_model("llama3-8b-fp8"), weights=weights) for weights in ("fp8", "fp8_block"))
    measured = [measured_tables(spec, "h20") for spec in (static, blocks)]
    tables = [modelled_table(spec, "h20", catalogue()["h20"], measured[0]) for spec in (static, blocks)]
    assert measured[0] == measured[1]
    assert tables[0].operators == tables[1].operators
    costs = fit(tables[1])
    assert costs.provenance is not None
    assert costs.provenance.stated_error is None


def test_windows_shorten_long_prompts_and_norms_afterwards_double_norms() -> None:
    own = [load_table("h200", "llama3-8b")]
    windowed = replace(LLAMA, name="gemma", window=1024, windowed_layers=24, post_norms=True)
    tables = [modelled_table(spec, "h200", catalogue()["h200"], own) for spec in (LLAMA, windowed)]
    norms = [[row for row in table.operators if row.operator == "norm_mlp"] for table in tables]
    for one, two in zip(*norms, strict=True):
        assert (two.device_us, two.host_us) == (pytest.approx(2 * one.device_us, abs=2e-3), 2 * one.host_us)
    plain, short = map(fit, tables)
    assert short.attention(512, 0) == plain.attention(512, 0)
    assert 0.25 < short.attention(32768, 0) / plain.attention(32768, 0) < 0.35  # 8 of 32 layers see all
    assert short.provenance is not None
    assert short.provenance.stated_error is None  # no windowed model was compared
    with pytest.raises(InputError, match="gemma: has sliding windows and norms after the MLP, which are not measured"):
        check_measurable(windowed, "cuda")


def test_shared_experts_are_scaled_from_dense_models() -> None:
    spec = replace(load_model("qwen3-30b-a3b"), name="mine", shared_intermediate=2048)
    table = modelled_table(spec, "h200", catalogue()["h200"], measured_tables(spec, "h200"))
    assert {row.operator for row in table.operators} >= set(spec.operators)
    plain = modelled_table(
        replace(spec, shared_intermediate=0), "h200", catalogue()["h200"], measured_tables(spec, "h200")
    )
    more_s = fit(table).forward_s(8192) - fit(plain).forward_s(8192)
    computed_s = spec.layers * 8192 * 2 * 3 * 2048 * 2048 / 989.4e12
    assert 1.2 * computed_s < more_s < 2.5 * computed_s


def test_layers_without_experts_take_part_in_a_mean_layer() -> None:
    spec = replace(load_model("qwen3-30b-a3b"), name="mine", dense_layers=12, dense_intermediate=6144)
    (_, mixture), _ = spec.layer_kinds
    own = measured_tables(spec, "h200")
    mixed, whole = (modelled_table(one, "h200", catalogue()["h200"], own) for one in (spec, mixture))
    at = {(row.operator, row.tokens): row for row in whole.operators if not row.context}
    for row in mixed.operators:
        if row.operator in ("expert_down", "router"):
            times = 0.75 * at[row.operator, row.tokens].device_us, 0.75 * at[row.operator, row.tokens].host_us
            assert (row.device_us, row.host_us) == (pytest.approx(times[0], abs=2e-3), times[1])
        elif row.operator == "qkv_proj":
            assert row.device_us == at[row.operator, row.tokens].device_us
    computed_s = 12 * 8192 * 2 * 3 * 6144 * 2048 / 989.4e12
    saved_s = 0.25 * 48 * sum(at[name, 8192].device_us for name in EXPERT_OPERATORS[1:]) * 1e-6
    more_s = fit(mixed).forward_s(8192) - fit(whole).forward_s(8192) + saved_s
    assert 1.2 * computed_s < more_s < 2.5 * computed_s
    assert fit(mixed).provenance.stated_error is None  # type: ignore[union-attr]
    with pytest.raises(InputError, match="mine: has experts in some layers only, which are not measured"):
        check_measurable(spec, "cuda")


def test_a_notebook_shows_the_kind_and_the_stated_error() -> None:
    own = load_table("h200", "llama3-8b")
    measured, modelled = fit(own), fit(modelled_table(LLAMA, "h20", catalogue()["h20"], [own]))
    assert "<b>h200/llama3-8b/tp1</b>, measured, stated error 1.1 %<table>" in measured._repr_html_()
    assert "<b>h20/llama3-8b/tp1</b>, modelled, error not known<table>" in modelled._repr_html_()
