import sys
from dataclasses import replace
from importlib import resources
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from flowsim.calibration.costs.models import EXPERTS
from flowsim.calibration.costs.provenance import Provenance
from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.costs.table_catalogue import (
    load_table,
    shipped_tables,
    table_folder,
    table_names,
    user_root,
    user_tables,
)
from flowsim.calibration.costs.table_rows import (
    ALL_REDUCE,
    GRAPH,
    GRAPH_RESTED,
    HOST_OPERATORS,
    OPTIONAL_HOST_OPERATORS,
    OperatorRow,
    PassRow,
)
from flowsim.core.operators import CHECKED_AFTER, LAYER_OPERATORS
from flowsim.errors import InputError
from support.calibration import undrawn

ROWS = (
    OperatorRow("attention", 64, 1024, 20.0, 19.0, 21.5, 6.0, 40, "flash"),
    OperatorRow("attention", 128, 0, 12.0, 11.0, 12.5, 5.0, 40, "cudnn"),
    OperatorRow("attention", 64, 0, 10.0, 9.0, 10.5, 5.5, 40, "cudnn"),
    OperatorRow("check", 0, 0, 0.0, 0.0, 0.0, 8.25, 600, "host"),
)
PASSES = (PassRow("operator", "300@0+700@16", 30000.125, 29000.0, 31000.0, 12),)
TABLE = OperatorTable(
    Provenance.of({"schema_version": 1, "gpu": "h200", "date": "2026-01-31", "notes": ["ü"]}), ROWS, PASSES
)


def test_a_table_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    TABLE.save(tmp_path / "deep" / "table")
    loaded = OperatorTable.load(tmp_path / "deep" / "table")
    assert loaded == TABLE
    assert loaded.digest() == TABLE.digest()
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["table"]


def test_the_files_are_plain(tmp_path: Path) -> None:
    TABLE.save(tmp_path / "table")
    assert (tmp_path / "table" / "passes.csv").read_text() == (
        "cut,slices,wall_us,wall_us_p10,wall_us_p90,repeats\noperator,300@0+700@16,30000.125,29000.0,31000.0,12\n"
    )
    assert (tmp_path / "table" / "operators.csv").read_text().splitlines()[:2] == [
        "operator,tokens,context,device_us,device_us_p10,device_us_p90,host_us,repeats,backend",
        "attention,64,1024,20.0,19.0,21.5,6.0,40,flash",
    ]


def test_saving_replaces_a_table_but_no_other_folder(tmp_path: Path) -> None:
    TABLE.save(tmp_path / "table")
    newer = replace(TABLE, passes=())
    newer.save(tmp_path / "table")
    assert OperatorTable.load(tmp_path / "table") == newer
    (tmp_path / "mine").mkdir()
    TABLE.save(tmp_path / "mine")  # which was empty
    assert OperatorTable.load(tmp_path / "mine") == TABLE
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").touch()
    with pytest.raises(InputError, match=r"other: holds notes\.txt; expected a new folder"):
        TABLE.save(tmp_path / "other")
    (tmp_path / "table" / ".DS_Store").touch()
    newer.save(tmp_path / "table")
    for folder in (tmp_path / "table", tmp_path / "new"):
        (folder / ".git").mkdir(parents=True)
        with pytest.raises(InputError, match=r": holds \.git; expected a new folder"):
            TABLE.save(folder)
        (folder / ".git").rmdir()
    (tmp_path / "table" / "evidence.json").touch()
    with pytest.raises(InputError, match=r"table: holds evidence\.json; expected a new folder"):
        TABLE.save(tmp_path / "table")


def test_a_failed_save_leaves_the_old_table(tmp_path: Path) -> None:
    TABLE.save(tmp_path / "table")
    with pytest.raises(Exception, match="cannot represent"):
        TABLE.stating(bad=object()).save(tmp_path / "table")
    assert OperatorTable.load(tmp_path / "table") == TABLE
    assert [p.name for p in tmp_path.iterdir()] == ["table"]


def test_a_table_is_read_again_when_a_file_of_it_has_changed(tmp_path: Path) -> None:
    TABLE.save(tmp_path)
    first = OperatorTable.load(tmp_path)
    assert OperatorTable.load(tmp_path) is first
    (tmp_path / "passes.csv").write_text("cut,slices,wall_us,wall_us_p10,wall_us_p90,repeats\n")
    assert OperatorTable.load(tmp_path) == replace(TABLE, passes=())
    (tmp_path / "operators.csv").unlink()
    with pytest.raises(InputError, match=r"operators\.csv: cannot be read: No such file or directory"):
        OperatorTable.load(tmp_path)


def test_a_curve_is_sorted_and_in_seconds() -> None:
    curve = TABLE.samples("attention")
    assert curve.tokens.tolist() == [64, 128, 64]
    assert curve.context.tolist() == [0, 0, 1024]
    np.testing.assert_allclose(curve.device_s, [10e-6, 12e-6, 20e-6])
    np.testing.assert_allclose(curve.host_s, [5.5e-6, 5e-6, 6e-6])
    with pytest.raises(InputError, match="operators: no row of o_proj"):
        TABLE.samples("o_proj")


def test_the_digest_tells_contents_apart() -> None:
    assert TABLE.digest() != replace(TABLE, passes=()).digest()
    assert TABLE.digest() != replace(TABLE, operators=ROWS[1:]).digest()
    assert (
        TABLE.digest()
        == replace(TABLE, provenance=Provenance.of(dict(reversed(TABLE.provenance.stated.items())))).digest()
    )


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("operators.csv", "context,", "contexts,", "operators.csv: row 1: lacks the columns context"),
        ("operators.csv", "64,1024", "64,many", "row 2: context must be a whole number >= 0 and <= 10^12, got 'many'"),
        ("operators.csv", "20.0", "-20.0", "row 2: device_us must be a number >= 0 and <= 10^12, got '-20.0'"),
        ("operators.csv", "20.0", "nan", "row 2: device_us must be a number >= 0 and <= 10^12, got 'nan'"),
        ("operators.csv", "20.0", "", "row 2: device_us must be a number >= 0 and <= 10^12, got ''"),
        ("operators.csv", "check,0,0,0.0", "check,0", "row 5: has 7 fields; expected 9, as in row 1"),
        ("operators.csv", "check", "chek", "row 5: unknown operator 'chek'; did you mean 'check'?"),
        ("passes.csv", "operator,300", "op,300", "row 2: unknown cut 'op'"),
        (
            "passes.csv",
            "700@16",
            "700",
            "row 2: slices must be tokens@context joined by +, as in 512@0",
        ),
        (
            "provenance.yaml",
            "schema_version: 1",
            "schema_version: 9",
            "must be 1 (update flowsim), got 9",
        ),
        (
            "provenance.yaml",
            "schema_version: 1",
            "schema_version: 0",
            "must be 1 (measure the table again)",
        ),
        ("provenance.yaml", "gpu:", "gpu", "is not YAML"),
    ],
)
def test_a_wrong_file_is_one_clear_line(tmp_path: Path, file: str, old: str, new: str, message: str) -> None:
    TABLE.save(tmp_path / "table")
    path = tmp_path / "table" / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError) as error:
        OperatorTable.load(tmp_path / "table").digest()
    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("notes: 3", "notes must be a list (each item text), got 3"),
        ("notes: [1]", "notes[0] must be text, got 1"),
        (
            "leave_one_out: 3",
            "leave_one_out must be a mapping (each value a mapping of sizes, median, max), got 3",
        ),
        ("all_reduce: 3", "all_reduce must be a mapping of sha256, source, date, got 3"),
        ("cells: 5", "cells must be a mapping (each value a mapping (each value a whole number >= 0)), got 5"),
        ("gpu_id: [a]", "gpu_id must be text, got ['a']"),
        ("tp: 0", "tp must be >= 1, got 0"),
        ("model_spec: {}", "model_spec: lacks name, layers, hidden"),
        ("boost: {window_s: 1, threshold: 1, gain: []}", "boost.threshold must be < 1, got 1"),
        (
            "boost: {window_s: 1, threshold: 0, gain: []}",
            "boost.gain must be pairs of tokens, ascending, and a",
        ),
        ("notes: &a [*a]", "contains itself"),
        ("date: 2026-13-45", "is not YAML: month must be in 1..12"),
    ],
)
def test_what_is_used_of_a_provenance_is_checked(tmp_path: Path, line: str, message: str) -> None:
    TABLE.save(tmp_path)
    path = tmp_path / "provenance.yaml"
    path.write_text(f"schema_version: 1\n{line}\n")
    with pytest.raises(InputError) as error:
        OperatorTable.load(tmp_path)
    assert str(error.value).startswith(f"{path}: {message}")
    assert "\n" not in str(error.value)


def test_what_is_only_shown_may_be_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flowsim.calibration.published.report import calibration_page

    undrawn(monkeypatch)
    table = load_table("h200", "llama3-8b")
    absurd = {"clocks_mhz": "x", "date": None, "first_call_us": [1]}
    small = replace(table, operators=tuple(row for row in table.operators if row.tokens < 64), passes=())
    small.stating(**absurd).save(tmp_path)
    assert "<dt>clocks_mhz</dt><dd>x</dd>" in calibration_page(OperatorTable.load(tmp_path))


@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_followed(tmp_path: Path, there: bool) -> None:
    link, target = tmp_path / "link", tmp_path / "deep" / "target"
    if there:
        TABLE.save(target)
    link.symlink_to(target)
    replace(TABLE, passes=()).save(link)
    assert link.is_symlink()
    assert OperatorTable.load(target).passes == ()


def test_a_missing_table(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="absent: is not a folder; expected an operator table"):
        OperatorTable.load(tmp_path / "absent")


def test_every_shipped_table_loads_and_holds_every_operator() -> None:
    for name, folder in shipped_tables().items():
        table = OperatorTable.load(folder)
        assert (table.provenance.gpu, table.provenance.model, table.provenance.tp) == name
        spec = table.provenance.rank().spec
        wanted = {*spec.operators, *HOST_OPERATORS}
        if table.has("experts"):
            wanted = wanted - {*EXPERTS} | {"experts"}
        optional = {ALL_REDUCE, GRAPH, GRAPH_RESTED, *OPTIONAL_HOST_OPERATORS}
        assert {r.operator for r in table.operators} - optional == wanted
        of_group = table.provenance.is_of_group
        assert {r.cut for r in table.passes} == {"none", "layer", "operator"} | (set() if of_group else {"block"})


def test_an_unknown_table_names_those_that_exist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    TABLE.save(tmp_path / "h200" / "llama3-8b" / "tp1")
    monkeypatch.setattr("flowsim.calibration.costs.table_catalogue.shipped_tables", dict)
    monkeypatch.setenv("FLOWSIM_TABLES", str(tmp_path))
    assert table_names() == [("h200", "llama3-8b", 1)]
    assert load_table("h200", "llama3-8b") == TABLE
    with pytest.raises(InputError) as error:
        load_table("h20", "llama3-8b")
    measured, modelled = "--model llama3-8b --out DIR", "model --gpu h20 --model llama3-8b"
    hint = "expected one of them, or a table measured on that GPU "
    hint += f"(flowsim calibrate {measured}) or modelled (flowsim calibrate {modelled})"
    assert str(error.value) == f"gpu: there is no table of h20 (known: h200); {hint}"
    with pytest.raises(InputError, match=r"unknown model 'qwen' on h200 \(known: llama3-8b\).* --model config.json"):
        load_table("h200", "qwen")
    shape = (resources.files("flowsim.calibration") / "data" / "models" / "qwen3-8b.yaml").read_text()
    (tmp_path / "own.yaml").write_text(shape.replace("qwen3-8b", "own"))
    with pytest.raises(InputError, match=rf"calibrate model --gpu h200 --model {tmp_path}/own.yaml\)"):
        load_table("h200", str(tmp_path / "own.yaml"))
    with pytest.raises(InputError, match=r"unknown tp '2' of llama3-8b on h200 \(known: 1\)"):
        load_table("h200", "llama3-8b", 2)


def test_the_user_s_tables_are_told_from_shipped_ones_and_come_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FLOWSIM_TABLES", str(tmp_path))
    assert user_tables() == {}
    for name in (("h200", "llama3-8b", 1), ("mine", "tiny", 2)):
        TABLE.save(table_folder(*name))
    assert set(user_tables()) == {("h200", "llama3-8b", 1), ("mine", "tiny", 2)}
    shipped_tables.cache_clear()
    shipped = shipped_tables()
    assert ("mine", "tiny", 2) not in shipped
    assert set(table_names()) == set(shipped) | {("mine", "tiny", 2)}
    assert load_table("h200", "llama3-8b") == TABLE


def test_the_user_s_tables_are_where_the_system_keeps_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FLOWSIM_TABLES", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    if sys.platform.startswith("linux"):
        assert user_root() == tmp_path / "flowsim" / "tables"
        monkeypatch.delenv("XDG_DATA_HOME")
        assert user_root() == Path.home() / ".local" / "share" / "flowsim" / "tables"


def test_a_finer_cut_checks_wherever_a_coarser_one_does() -> None:
    cuts = [set(CHECKED_AFTER[cut]) for cut in ("none", "layer", "block", "operator")]
    assert all(a < b for a, b in pairwise(cuts))
    assert cuts[-1] < set(LAYER_OPERATORS)
