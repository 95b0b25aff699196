"""Every column of runs.parquet is defined, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

import flowsim
from flowsim.results.definitions.requests_parquet import REQUESTS
from flowsim.results.definitions.runs_parquet import OF_CLASSES, RUNS
from flowsim.results.definitions.summary_json import summary_columns
from flowsim.runs.options import is_option
from support.results import names

STUDY = {
    "run": {"trace": "synthetic:qwen:60", "slo": "text=0.5,*=4", "bound": True},
    "axes": {"policy": ["fcfs", "sjf"]},
}


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


def test_no_name_of_a_class_makes_another_column() -> None:
    assert [name for name in (*names(RUNS), *summary_columns([])) if name.startswith(OF_CLASSES)] == []
