"""The costs of a run: which table they come from."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from flowsim.calibration.costs.table_catalogue import load_table
from flowsim.errors import InputError
from flowsim.runs.costs import load_cost


def test_loading_costs_names_what_a_table_lacks(tmp_path: Path) -> None:
    load_table("h200", "llama3-8b").save(tmp_path / "table")
    about = tmp_path / "table" / "provenance.yaml"
    values = yaml.safe_load(about.read_text())
    about.write_text(yaml.safe_dump(values | {"tp": 0}))
    with pytest.raises(InputError, match=r"table/provenance\.yaml: tp must be >= 1, got 0"):
        load_cost(tmp_path / "table")
