"""The costs of a run: which table they come from."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from flowsim.calibration.costs.table_catalogue import load_table
from flowsim.errors import InputError
from flowsim.runs.costs import cost_of, load_cost
from flowsim.runs.options import RunOptions


def test_loading_costs_names_what_a_table_lacks(tmp_path: Path) -> None:
    load_table("h200", "llama3-8b").save(tmp_path / "table")
    about = tmp_path / "table" / "provenance.yaml"
    values = yaml.safe_load(about.read_text())
    about.write_text(yaml.safe_dump(values | {"tp": 0}))
    with pytest.raises(InputError, match=r"table/provenance\.yaml: tp must be >= 1, got 0"):
        load_cost(tmp_path / "table")


def test_a_link_to_nothing_among_the_files_of_a_table_is_no_matter(tmp_path: Path) -> None:
    load_table("h200", "llama3-8b").save(tmp_path)
    (tmp_path / "notes").symlink_to(tmp_path / "gone")
    assert cost_of(RunOptions(trace="example", cost=str(tmp_path))).name == "h200/llama3-8b/tp1"


def test_costs_are_fitted_once_for_as_long_as_their_table_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = load_table("h200", "llama3-8b")
    named = RunOptions(trace="example")
    assert cost_of(named) is cost_of(named)
    monkeypatch.setenv("FLOWSIM_TABLES", str(tmp_path))
    table.stating(seed=-1).save(tmp_path / "h200" / "llama3-8b" / "tp1")
    stated = cost_of(named)
    assert stated.provenance is not None and stated.provenance.table.stated["seed"] == -1
    table.stating(seed=-2).save(tmp_path / "h200" / "llama3-8b" / "tp1")
    stated = cost_of(named)
    assert stated.provenance is not None and stated.provenance.table.stated["seed"] == -2
