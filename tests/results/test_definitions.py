"""Every entry and column of the files of runs and studies is defined, once, and nothing else is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import get_type_hints

import pandas as pd
import pytest
from click.testing import CliRunner

import flowsim
from flowsim.cli.main import main
from flowsim.core.summary import BoundSummary, GroupSummary, Inputs, Summary
from flowsim.results.definitions import (
    BOUND,
    CLASS,
    INPUTS,
    REQUESTS,
    RUNS,
    SUMMARY,
    Definition,
    compared,
    summary_columns,
    tables,
)
from flowsim.runs.options import is_option
from support.places import ROOT

STUDY = {
    "run": {"trace": "synthetic:qwen:60", "slo": "text=0.5,*=4", "bound": True},
    "axes": {"policy": ["fcfs", "sjf"]},
}


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> flowsim.RunResult:
    """Of a run with a prefix cache, priorities and clients, each of which adds a column."""
    row = '{"arrival_s": %d, "input_length": 1024, "hash_ids": [1, %d], "block_tokens": 512, "priority": 1, "client": '
    row += '"a"}'
    path = tmp_path_factory.mktemp("trace") / "blocks.jsonl"
    path.write_text("".join(f"{row % (9 * place, place % 3 + 2)}\n" for place in range(9)))
    return flowsim.run(path, "fcfs", prefix_cache="ideal")


def names(definitions: Iterable[Definition]) -> list[str]:
    return [of.name for of in definitions]


def test_the_types_of_a_summary_have_the_entries_that_are_defined() -> None:
    assert get_type_hints(Summary).keys() == set(names(SUMMARY))
    assert get_type_hints(BoundSummary).keys() == set(names(BOUND))
    assert get_type_hints(GroupSummary).keys() == set(names(CLASS))
    assert get_type_hints(Inputs).keys() <= set(names(INPUTS))


def test_every_entry_of_a_summary_is_defined(result: flowsim.RunResult) -> None:
    assert list(result.summary) == names(SUMMARY)
    assert list(result.summary["clients"]) == ["a"]
    for metrics in (*result.summary["classes"].values(), *result.summary["clients"].values()):
        assert list(metrics) == names(CLASS)
    assert list(result.summary["bound"] or ()) == names(BOUND)
    assert list(result.summary["inputs"]) == names(INPUTS)


def test_every_part_of_a_distribution_is_defined(result: flowsim.RunResult) -> None:
    for of in SUMMARY:
        value = result.summary[of.name]
        if of.name not in ("bound", "classes", "clients", "inputs"):
            assert of.parts == (tuple(value) if isinstance(value, dict) else ())
    for of in CLASS:
        value = next(iter(result.summary["classes"].values()))[of.name]
        assert of.parts == (tuple(value) if isinstance(value, dict) else ())


def test_every_column_of_the_requests_is_defined(result: flowsim.RunResult) -> None:
    assert result.cached.any()
    assert ["key", *result.requests.columns] == names(REQUESTS)


def test_every_column_of_a_comparison_is_defined() -> None:
    comparison = flowsim.compare("example", ["fcfs", "sjf"], limit=60)
    classes = next(iter(comparison.results.values())).slo.class_names
    assert list(comparison.table.columns) == list(compared(classes))


def known(column: str, classes: list[str]) -> bool:
    return column in names(RUNS) or column in summary_columns(classes) or is_option(column)


def test_every_column_of_the_runs_is_defined(tmp_path: Path) -> None:
    searched = flowsim.sweep(STUDY | {"capacity": {"target": 0.9}}).table
    table = flowsim.sweep(STUDY | {"requests": True}, tmp_path).table
    classes = [name.removeprefix("requests_") for name in table.columns if name.startswith("requests_")]
    assert set(classes) >= {"text"}
    assert [name for name in {*table.columns, *searched.columns} if not known(name, classes)] == []
    found = {*table.columns, *searched.columns}
    assert [name for name in (*names(RUNS), *summary_columns(classes)) if name not in found] == []
    kept = pd.read_parquet(next((tmp_path / "requests").glob("*.parquet")))
    assert set(kept.columns) == set(names(REQUESTS)) - {"cached_tokens", "priority", "client"}


def test_no_name_is_defined_twice_in_a_file() -> None:
    for title, definitions in tables().items():
        twice = [name for name, number in Counter(names(definitions)).items() if number > 1]
        assert not twice, title
        assert all(of.meaning for of in definitions)


def test_the_command_and_the_page_show_every_definition() -> None:
    shown = CliRunner().invoke(main, ["metrics"]).output
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    for definitions in tables().values():
        for of in definitions:
            assert of.name in shown
            assert f"| {of.label} | {of.meaning} | {of.formula} |" in page
